"""A batch that fits one machine in, its staging files and reports out; the steps run in order without Beam."""

import tempfile
from collections import defaultdict

from beam_job.steps.read import read_keys
from beam_job.steps.spill import fetch, park
from beam_job.steps.winners import pick_winners
from beam_job.steps.work import Work
from beam_job.steps.write import write_winners


def run_steps(work: Work, shards: int, rejected: dict[int, str]) -> None:
    """Read keys, pick winners and write their rows; tables between the steps are on disk."""
    with tempfile.TemporaryDirectory(prefix="millrace-") as folder:
        by_shard, by_unit = defaultdict(list), defaultdict(list)
        for unit in work.units:
            for shard, keys in read_keys(work, unit, shards, rejected):
                by_shard[shard].append(park(keys, folder))
        for shard, parcels in sorted(by_shard.items()):
            for number, rows in pick_winners(work, shard, fetch(parcels, folder)):
                by_unit[number].append(park(rows, folder))
        for number, parcels in sorted(by_unit.items()):
            write_winners(work, work.units[number], fetch(parcels, folder))
