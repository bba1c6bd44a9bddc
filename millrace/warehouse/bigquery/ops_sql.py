"""SQL of the platform's own tables in BigQuery, as this version creates them; `redrives` is created last."""

import re

LEDGER_SCHEMA = """kind STRING NOT NULL, batch_id STRING NOT NULL, source STRING NOT NULL, stream STRING NOT NULL,
  run_id STRING NOT NULL, `at` TIMESTAMP NOT NULL, rows_in INT64 NOT NULL, merged INT64 NOT NULL,
  superseded INT64 NOT NULL, stale INT64 NOT NULL, quarantined INT64 NOT NULL, tombstoned_by_absence INT64 NOT NULL,
  detail STRING NOT NULL, written_at TIMESTAMP NOT NULL, place INT64 NOT NULL"""
LEDGER_LAYOUT = "PARTITION BY DATE(`at`) CLUSTER BY source, stream, kind OPTIONS (require_partition_filter = TRUE)"
OPS = (
    f"""
CREATE TABLE IF NOT EXISTS {{ledger}} ({LEDGER_SCHEMA}) {LEDGER_LAYOUT};
"""
    + """
CREATE TABLE IF NOT EXISTS {erased} (
  batch_id STRING NOT NULL, source STRING NOT NULL, stream STRING NOT NULL, merged INT64 NOT NULL)
AS SELECT batch_id, source, stream, merged FROM {ledger} WHERE kind = 'erased' AND `at` >= TIMESTAMP '0001-01-01';
CREATE TABLE IF NOT EXISTS {settled} (before TIMESTAMP NOT NULL, written_at TIMESTAMP NOT NULL);
CREATE TABLE IF NOT EXISTS {ledger_objects} (
  batch_id STRING NOT NULL, source STRING NOT NULL, stream STRING NOT NULL, object STRING NOT NULL,
  generation INT64 NOT NULL, job_id INT64 NOT NULL, `rows` INT64, merged_at TIMESTAMP)
  PARTITION BY TIMESTAMP_TRUNC(merged_at, MONTH) CLUSTER BY source, stream, object;
CREATE TABLE IF NOT EXISTS {quarantine} (
  batch_id STRING NOT NULL, source STRING NOT NULL, stream STRING NOT NULL, reason STRING NOT NULL,
  object STRING NOT NULL, generation INT64 NOT NULL, `row` INT64, `rows` INT64 NOT NULL, detail STRING NOT NULL,
  attempts INT64 NOT NULL, `at` TIMESTAMP NOT NULL) CLUSTER BY source, stream;
CREATE TABLE IF NOT EXISTS {publications} (
  candidate STRING NOT NULL, mart STRING NOT NULL, place INT64 NOT NULL, step STRING NOT NULL,
  written_at TIMESTAMP NOT NULL);
CREATE TABLE IF NOT EXISTS {published} (candidate STRING NOT NULL) AS SELECT '' AS candidate;
CREATE TABLE IF NOT EXISTS {quality} (
  `at` TIMESTAMP NOT NULL, `by` STRING NOT NULL, run_id STRING NOT NULL, candidate STRING NOT NULL,
  suite STRING NOT NULL, expectation STRING NOT NULL, `column` STRING NOT NULL, severity STRING NOT NULL,
  success BOOL NOT NULL, observed STRING NOT NULL, sample ARRAY<STRING>, place INT64 NOT NULL) CLUSTER BY suite;
CREATE TABLE IF NOT EXISTS {redrives} (
  source STRING NOT NULL, stream STRING NOT NULL, object STRING NOT NULL, generation INT64 NOT NULL,
  attempt INT64 NOT NULL, manifest STRING NOT NULL, run_id STRING NOT NULL, `at` TIMESTAMP NOT NULL)
  CLUSTER BY source, stream;
"""
)
OWN_COLUMN = re.compile(r"`?(\w+)`? (STRING|INT64|TIMESTAMP|BOOL|ARRAY<STRING>)(?!\w)")
OPS_TABLES = (
    "ledger",
    "erased",
    "settled",
    "ledger_objects",
    "quarantine",
    "publications",
    "published",
    "quality",
    "redrives",
)
