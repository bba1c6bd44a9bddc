"""Publishes what people look at after a model run: documentation, Data Docs, files, charts and the status page."""

from millrace.domain import names
from tasks.flow import millrace_flow
from tasks.model.data_docs import render_data_docs
from tasks.model.document_marts import document_marts
from tasks.model.draw_dashboards import draw_dashboards
from tasks.model.export_marts import export_marts
from tasks.model.shown import Unshown, find_unshown, note_shown, raise_unshown
from tasks.name_run import name_run, quantity
from tasks.reconcile.attempt import Attempts
from tasks.show_status import show_status
from tasks.slots import slot


@millrace_flow(flow_run_name="show", shows_failure=True)
def show() -> list[str]:
    """Publish pages and files of the newest marts and of the gate's results; returns the publications that are shown.

    No reader of the marts waits for it. A part that fails does not stop the others; the run fails and names it. One
    run is active at a time: a second one renders the status page only, as the active one looks again before it ends.
    """
    attempt, shown, tried = Attempts(), list[str](), list[Unshown]()
    while (work := find_unshown()) not in tried:
        with slot(names.SHOW_SLOT) as acquired:
            if not acquired:
                break
            tried += [work, Unshown()]  # the first pass renders the index of the results even when all else is shown
            parts = [attempt.succeeds(render_data_docs, work.results)]
            if work.publication:
                parts += [attempt.succeeds(part) for part in (document_marts, export_marts, draw_dashboards)]
                if all(parts) and attempt.succeeds(note_shown, work.publication):
                    shown.append(work.publication)
    if shown:
        name_run(quantity(len(shown), "publication"))
    show_status(return_state=True)  # a failure to render the page must not hide those before
    raise_unshown(attempt.failed)
    return shown
