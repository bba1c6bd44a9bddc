"""Contracts in; names of cloud resources, as variables of Terraform, out.

`millrace contracts terraform-names > terraform/names.auto.tfvars.json` writes them.
"""

from collections.abc import Iterable
from typing import Any

from millrace.contracts.source import SourceContract
from millrace.domain import names

FLOW = "millrace-flow"
DATAFLOW = "millrace-dataflow"
DBT = "millrace-dbt"
WORKER = "millrace-worker"
AIRBYTE = "millrace-airbyte"
PUSH = "millrace-push"
SECRETS = "millrace-secrets"
GATEWAY = "millrace-gateway"
CI = "millrace-ci"
ACCOUNTS = {
    "flow": FLOW,
    "dataflow": DATAFLOW,
    "dbt": DBT,
    "worker": WORKER,
    "airbyte": AIRBYTE,
    "push": PUSH,
    "secrets": SECRETS,
    "gateway": GATEWAY,
    "ci": CI,
}

PREFECT_API_SECRETS = ("prefect-api-auth-string",)  # of every client of Prefect's server
PREFECT_SECRETS = ("prefect-database-url", *PREFECT_API_SECRETS)
FLOW_SECRETS = ("airbyte-client-id", "airbyte-client-secret")
SLACK_SECRETS = ("slack-webhook-url",)
GATEWAY_SECRETS = ("airbyte-webhook-token",)
LAKE_KEY_SECRETS = ("airbyte-hmac-id", "airbyte-hmac-secret")

PLATFORM_DATASETS = ("staging", "marts", "ops", "audit")


def account_email(account: str, project: str) -> str:
    """Return the e-mail address of a service account of the project."""
    return f"{account}@{project}.iam.gserviceaccount.com"


def terraform_variables(sources: Iterable[SourceContract]) -> dict[str, Any]:
    """Return the values of Terraform's variables, by name."""
    sources = sorted(sources, key=lambda source: source.source)
    subscriptions = {
        topic: {
            "dead_letter_topic": names.dead_letter_topic(topic),
            "dead_letter_subscription": names.dead_letter_subscription(topic),
            "gateway_subscription": names.gateway_subscription(topic),
        }
        for topic in names.TOPICS
    }
    return {
        "service_accounts": ACCOUNTS,
        "topics": subscriptions,
        "landed_topic": names.LAKE_LANDED,
        "rotated_topic": names.SECRET_ROTATED,
        "ingest_topic": names.INGEST_REQUESTED,
        "completed_topic": names.AIRBYTE_COMPLETED,
        "published_topics": [names.WAREHOUSE_MERGED, names.MARTS_PUBLISHED],
        "manifests_prefix": names.MANIFESTS,
        "raw_prefix": names.RAW,
        "site_prefix": names.SITE,
        "temporary_prefixes": ["_staging/", names.RESULTS],
        "raw_datasets": [names.raw_schema(source.source) for source in sources],
        "platform_datasets": list(PLATFORM_DATASETS),
        "secrets": {
            "prefect": [name for name in PREFECT_SECRETS if name not in PREFECT_API_SECRETS],
            "prefect_api": list(PREFECT_API_SECRETS),
            "flow": list(FLOW_SECRETS),
            "slack": list(SLACK_SECRETS),
            "gateway": list(GATEWAY_SECRETS),
            "airbyte": [*LAKE_KEY_SECRETS, *sorted({s for source in sources for s in source.connector.secrets})],
        },
        "freshness_s": {
            f"{source.source}.{name}": stream.freshness_s
            for source in sources
            for name, stream in sorted(source.streams.items())
            if stream.freshness_s
        },
    }
