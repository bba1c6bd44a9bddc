"""Names of Dataflow jobs: valid, and distinct for distinct batches, however long the stream's name is."""

import hashlib
import re

from hypothesis import given
from hypothesis import strategies as st

from beam_job.engines.options import MOST_NAME, job_name

VALID = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,60}", fullmatch=True)
DIGESTS = st.binary(min_size=1, max_size=8).map(lambda data: hashlib.sha256(data).hexdigest()[:12])
BATCHES = st.tuples(NAMES, NAMES, DIGESTS)


def batch_id(parts: tuple[str, str, str]) -> str:
    return "-".join(parts)


@given(parts=BATCHES)
def test_job_name_is_valid_and_keeps_the_digest(parts: tuple[str, str, str]) -> None:
    name = job_name(batch_id(parts))
    assert VALID.fullmatch(name)
    assert len(name) <= MOST_NAME
    assert name.endswith(f"-{parts[2]}")
    assert "--" not in name[-14:]


@given(first=BATCHES, second=BATCHES)
def test_batches_of_two_digests_have_two_names(first: tuple[str, str, str], second: tuple[str, str, str]) -> None:
    if first[2] != second[2]:
        assert job_name(batch_id(first)) != job_name(batch_id(second))


def test_streams_with_a_long_common_name_differ() -> None:
    stream = "salesforce_production_emea-opportunity_line_item_history_archive"
    first, second = job_name(f"{stream}-0123456789ab"), job_name(f"{stream}_v2-ba9876543210")
    assert first == "merge-salesforce-production-emea-opportunity-line-0123456789ab"
    assert second == "merge-salesforce-production-emea-opportunity-line-ba9876543210"


def test_short_name_is_kept_whole() -> None:
    assert job_name("shop-orders-0123456789ab") == "merge-shop-orders-0123456789ab"
