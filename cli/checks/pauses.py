"""Check of pauses: each is shown, so that none is forgotten."""

from collections.abc import Iterator

from cli.checks.finding import Finding, Target, good, look
from millrace.domain.remedies import Remedy
from millrace.lake.open import open_lake
from millrace.lake.pauses import read_pauses


def pauses(target: Target) -> Iterator[Finding]:
    """Show what is paused, with the command that ends each pause."""
    lake = target.settings.lake
    paused = read_pauses(open_lake(lake.url, lake.endpoint))
    for pause in paused:
        yield look("pauses", pause.sentence, target.remedy(Remedy.RESUME, name=pause.id))
    if not paused:
        yield good("pauses", "nothing is paused")
