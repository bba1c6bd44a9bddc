"""Publishes Great Expectations' Data Docs: results of the gate in, a site with the newest of every table out."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from millrace.domain import names
from millrace.domain.quality import QualityFact
from millrace.lake.store import Lake
from millrace.quality.docs import pages, write_style
from millrace.quality.page import Checked, quality_page
from millrace.quality.render import render
from tasks.context import open_lake, open_warehouse
from tasks.model.site import upload_site
from tasks.retries import uncached_task

SITE = "quality"
PREFIX = f"{names.SITE}{SITE}/"


@dataclass(frozen=True)
class DocsPage:
    """A page of the Data Docs: `validations/<suite>/…` has results, `expectations/<suite>.html` the suite itself."""

    path: str

    @property
    def suite(self) -> str:
        """Return the suite of the page, '' for the index."""
        parts = PurePosixPath(self.path).parts
        return parts[1].removesuffix(".html") if len(parts) > 1 else ""

    @property
    def has_results(self) -> bool:
        """Return True for a page of results."""
        return self.path.startswith("validations/")


@uncached_task(task_run_name="render data docs", retries=1)
def render_data_docs(results: Sequence[str]) -> None:
    """Publish pages of the gate's kept results, with an index of the newest results of every suite; delete the results.

    `results` are objects in the order of time. Pages of other suites stay.
    """
    lake, warehouse = open_lake(), open_warehouse()
    with tempfile.TemporaryDirectory() as folder:
        docs = Path(folder)
        render([lake.read(name) for name in results], docs)
        publish_docs(lake, docs, warehouse.newest_quality())
    for name in results:
        lake.delete(name)


def publish_docs(lake: Lake, docs: Path, newest: Sequence[QualityFact]) -> None:
    """Upload rendered pages with an index of the newest results, and keep the published pages of their other suites."""
    rendered = pages(docs)
    older = {fact.result.suite for fact in newest} - set(rendered)
    published = [DocsPage(obj.name.removeprefix(PREFIX)) for obj in lake.list(PREFIX)]
    current = [page for page in published if page.suite in older]
    result_pages = {page.suite: page.path for page in current if page.has_results} | rendered
    checked = [Checked(fact.at, fact.result) for fact in newest]
    write_style(docs)
    (docs / "index.html").write_text(quality_page(checked, result_pages))
    upload_site(lake, docs, SITE, [PREFIX + page.path for page in current])
