"""Publishes Great Expectations' Data Docs: pages of one run in, a site with the newest results of every table out."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath

from millrace.domain import names
from millrace.domain.quality import QualityFact, QualityResult
from millrace.lake.store import Lake
from millrace.quality.docs import pages
from millrace.quality.page import Checked, quality_page
from tasks.model.site import upload_site

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


def publish_docs(
    lake: Lake, docs: Path, results: Sequence[QualityResult], older: Sequence[QualityFact], at: datetime
) -> None:
    """Upload a run's pages with an index of all results, and keep the published pages of `older` suites."""
    suites = {fact.result.suite for fact in older}
    published = [DocsPage(obj.name.removeprefix(PREFIX)) for obj in lake.list(PREFIX)]
    current = [page for page in published if page.suite in suites]
    result_pages = {page.suite: page.path for page in current if page.has_results} | pages(docs)
    checked = [Checked(at, result) for result in results] + [Checked(fact.at, fact.result) for fact in older]
    (docs / "index.html").write_text(quality_page(checked, result_pages))
    upload_site(lake, docs, SITE, [PREFIX + page.path for page in current])
