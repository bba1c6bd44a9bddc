"""Builds candidates of the marts from merged rows, validates them, and publishes those that pass."""

from millrace.domain import names
from millrace.domain.errors import BuildFailed, QualityFailed
from tasks.flow import millrace_flow
from tasks.model.announce_marts import announce_marts
from tasks.model.build_candidates import build_candidates
from tasks.model.find_merges import find_merges
from tasks.model.publish_marts import publish_marts
from tasks.model.refuse import Refusal, refusal, refuse
from tasks.model.validate_candidates import validate_candidates
from tasks.name_run import name_run, quantity, tag_run
from tasks.slots import slot


@millrace_flow(flow_run_name="model", shows_failure=True)
def model(full: bool = False) -> int | Refusal:
    """Build, validate and publish the marts when they lack merges; returns the number of batches that they gained.

    dbt builds what the merges affect as candidates that no reader sees; Great Expectations validates them; those that
    pass replace the marts. Of the independent parts of the dbt project each passes by itself: a refused part keeps its
    marts, the others are published, the run ends as Refused, and the next one includes the merges that were refused.
    One model run is active at a time: a second one ends, and the active one looks for merges again before it ends. Its
    end starts `show`, which publishes what people look at.

    Args:
        full: check all rows and build every mart from them, even if the marts are up to date.
    """
    batches, tried = 0, frozenset[str]()
    error: QualityFailed | BuildFailed | None = None
    while work := find_merges(full, tried):
        with slot(names.MODEL_SLOT) as acquired:
            if not acquired:
                break
            tried, full = tried | work.pieces, False
            try:
                tag_run(*work.streams)
                built = validate_candidates(build_candidates(work))
            except (QualityFailed, BuildFailed) as refused:
                error = refused
                continue
            marts = publish_marts(built)
            batches += len(built.work.batches)
            error = refusal(built.candidate, built.refused) if built.refused else None
            name_run(quantity(batches, "batch"), quantity(len(marts), "mart"), quantity(sum(marts.values()), "row"))
    announce_marts()
    return refuse(error) if error else batches
