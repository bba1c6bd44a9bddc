"""Builds the marts from what was merged, validates them, and only then publishes them."""

from prefect import flow

from blocks.names import RESULT_STORAGE
from millrace.domain import names
from millrace.domain.errors import QualityFailed
from tasks.model.announce_marts import announce_marts
from tasks.model.build_candidates import build_candidates
from tasks.model.document_marts import document_marts
from tasks.model.draw_dashboards import draw_dashboards
from tasks.model.find_merges import find_merges
from tasks.model.publish_marts import publish_marts
from tasks.model.refuse import Refusal, refused
from tasks.model.validate_candidates import validate_candidates
from tasks.say_done import many, say_about, say_done
from tasks.show_status import show_failure, show_status
from tasks.slots import slot
from tasks.tell import tell_failure, tell_recovery


@flow(
    flow_run_name="model",
    persist_result=True,
    result_storage=RESULT_STORAGE,
    on_failure=[tell_failure, show_failure],
    on_completion=[tell_recovery],
)
def model(full: bool = False) -> int | Refusal:
    """Build, validate and publish the marts when merges are not in them yet; returns the number of batches taken.

    dbt builds what the merges affect, as candidates that no reader sees; Great Expectations validates them; those that
    pass replace the marts. A run that the gate refuses ends as Refused, and the next one takes its merges too.
    One model run works at a time; a second one hands over to it, and that one looks again when it is done.

    Args:
        full: build every mart from all merges, even if the marts are up to date.
    """
    batches = 0
    while work := find_merges(full):
        with slot(names.MODEL_SLOT) as acquired:
            if not acquired:
                break
            try:
                say_about(*work.streams)
                built = build_candidates(work)
                validate_candidates(built)
            except QualityFailed as why:
                return refused(why)
            document_marts(built.candidate, return_state=True)  # missing documentation holds no marts back
            marts = publish_marts(built)
            batches += len(built.work.batches)
            full = False
            say_done(many(batches, "batch"), many(len(marts), "mart"), many(sum(marts.values()), "row"))
    announce_marts()
    if batches:
        draw_dashboards(return_state=True)  # missing pictures hold nothing back
        show_status(return_state=True)  # a page that is missing holds nothing back
    return batches
