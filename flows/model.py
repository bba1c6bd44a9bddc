"""Builds candidates of the marts from merged rows, validates them, and publishes those that pass."""

from millrace.domain import names
from millrace.domain.errors import QualityFailed
from tasks.flow import millrace_flow
from tasks.model.announce_marts import announce_marts
from tasks.model.build_candidates import build_candidates
from tasks.model.document_marts import document_marts
from tasks.model.draw_dashboards import draw_dashboards
from tasks.model.find_merges import find_merges
from tasks.model.publish_marts import publish_marts
from tasks.model.refuse import Refusal, refuse
from tasks.model.validate_candidates import validate_candidates
from tasks.name_run import name_run, quantity, tag_run
from tasks.show_status import show_status
from tasks.slots import slot


@millrace_flow(flow_run_name="model", shows_failure=True)
def model(full: bool = False) -> int | Refusal:
    """Build, validate and publish the marts when they lack merges; returns the number of batches that they gained.

    dbt builds what the merges affect as candidates that no reader sees; Great Expectations validates them; those that
    pass replace the marts. A run that the gate refuses ends as Refused, and the next one includes its merges.
    One model run is active at a time: a second one ends, and the active one looks for merges again before it ends.

    Args:
        full: build every mart from all merges, even if the marts are up to date.
    """
    batches = 0
    while work := find_merges(full):
        with slot(names.MODEL_SLOT) as acquired:
            if not acquired:
                break
            try:
                tag_run(*work.streams)
                built = build_candidates(work)
                validate_candidates(built)
            except QualityFailed as error:
                return refuse(error)
            document_marts(built.candidate, return_state=True)  # a failure to document must not fail the run
            marts = publish_marts(built)
            batches += len(built.work.batches)
            full = False
            name_run(quantity(batches, "batch"), quantity(len(marts), "mart"), quantity(sum(marts.values()), "row"))
    announce_marts()
    if batches:
        draw_dashboards(return_state=True)  # nor must a failure to draw,
        show_status(return_state=True)  # nor one to render the page
    return batches
