"""The scenarios of the benchmark: a batch, the table it is merged into, and the peers that merge it."""

from dataclasses import dataclass
from fnmatch import fnmatchcase

from bench.merge.peers import DEFAULT, DLT, ELEMENT, OURS, RAW
from bench.merge.table import BY_DAY, BY_ID
from bench.merge.workload import Batch

TWO, THREE, ALL = (OURS, RAW), (OURS, RAW, DEFAULT, DLT), (OURS, RAW, DEFAULT, DLT, ELEMENT)
K, M = 1_000, 1_000_000
QUICK = "quick"


@dataclass(frozen=True)
class Scenario:
    """A batch, the key by which it is merged, and who merges it; late rows only where dlt is left out."""

    name: str
    batch: Batch
    peers: tuple[str, ...] = THREE
    key: tuple[str, ...] = BY_ID

    @property
    def text(self) -> str:
        """In words."""
        b = self.batch
        files = f"{b.files:,} {'file' if b.files == 1 else 'files'} of {b.format.capitalize()}"
        kind = {"spread": "", "recent": f", key ({', '.join(self.key)}), last days only", "hot": ", one key"}[b.keys]
        late = f", {b.late:.0%} late" if b.late else ""
        return f"{short(b.rows)} rows in {files} into {short(b.target)}{kind}{late}"


SCENARIOS = (
    Scenario("100k-into-1M", Batch(100 * K, M)),
    Scenario("1M-into-1M", Batch(M, M)),
    Scenario("10M-into-1M", Batch(10 * M, M, 100)),
    Scenario("100k-into-10M", Batch(100 * K, 10 * M), ALL),
    Scenario("1M-into-10M", Batch(M, 10 * M), ALL),
    Scenario("10M-into-10M", Batch(10 * M, 10 * M, 100), ALL),
    Scenario("1000-files", Batch(M, 10 * M, 1000)),
    Scenario("avro", Batch(M, 10 * M, format="avro")),
    Scenario("hot-key", Batch(M, M, keys="hot"), TWO),
    Scenario("10000-files", Batch(M, M, 10_000, late=0.1), TWO),
    Scenario("2GB-file", Batch(11 * M, M, 1, late=0.1), TWO),
    Scenario("recent-into-1M", Batch(100 * K, M, keys="recent"), TWO, BY_DAY),
    Scenario("recent-into-10M", Batch(100 * K, 10 * M, keys="recent"), TWO, BY_DAY),
    Scenario(QUICK, Batch(20 * K, 100 * K), ALL),
    Scenario(f"{QUICK}-avro", Batch(20 * K, 100 * K, format="avro")),
    Scenario(f"{QUICK}-recent", Batch(20 * K, 100 * K, keys="recent", late=0.1), TWO, BY_DAY),
)


def choose(patterns: list[str]) -> list[Scenario]:
    """Scenarios whose names fit a pattern.

    Raises:
        ValueError: a pattern fits none.
    """
    for pattern in patterns:
        if not any(fnmatchcase(s.name, pattern) for s in SCENARIOS):
            raise ValueError(f"no scenario is called {pattern!r}; there are {', '.join(s.name for s in SCENARIOS)}")
    return [s for s in SCENARIOS if any(fnmatchcase(s.name, pattern) for pattern in patterns)]


def short(count: int) -> str:
    """1000000 as 1M."""
    for unit, letter in ((M, "M"), (K, "k")):
        if count % unit == 0 and count:
            return f"{count // unit}{letter}"
    return f"{count:,}"
