"""Checks of buckets: settings, notifications, rights."""

import json
from collections.abc import Iterator
from typing import Any

from tests.cloud.checks.check import Check, Project, differences
from tests.cloud.checks.rights import rights_check
from tests.cloud.discovery import Json
from tests.cloud.expected import Expected

AREA = "lake"
STATES = {"LIVE": True, "ARCHIVED": False}
CONDITIONS = {
    "age": "age",
    "matches_prefix": "matchesPrefix",
    "matches_suffix": "matchesSuffix",
    "days_since_noncurrent_time": "daysSinceNoncurrentTime",
    "num_newer_versions": "numNewerVersions",
}


def _settings(name: str) -> Check:
    def look(project: Project) -> Iterator[str]:
        wants = project.expected.resources["buckets"][name]
        yield from compare_bucket(wants, project.clients.rest("storage", "GET", f"/storage/v1/b/{name}"))

    return Check(AREA, f"bucket {name}", "storage.buckets.get", f"buckets/{name}", look)


def compare_bucket(wants: Json, has: Json) -> Iterator[str]:
    """Yield a sentence for each setting of a bucket that is not Terraform's."""
    access = has.get("iamConfiguration", {})
    soft = (wants.get("soft_delete_policy") or [{}])[0].get("retention_duration_seconds")
    pairs: dict[str, tuple[object, object]] = {
        "location": (wants["location"], has.get("location")),
        "uniform access": (
            wants.get("uniform_bucket_level_access", False),
            access.get("uniformBucketLevelAccess", {}).get("enabled", False),
        ),
        "prevention of public access": (wants.get("public_access_prevention"), access.get("publicAccessPrevention")),
        "versioning": (
            (wants.get("versioning") or [{}])[0].get("enabled", False),
            has.get("versioning", {}).get("enabled", False),
        ),
    }
    if soft is not None:
        soft_s = has.get("softDeletePolicy", {}).get("retentionDurationSeconds", 0)
        pairs["seconds of soft deletion"] = (int(soft), int(soft_s))
    yield from differences(pairs)
    expected = {_text(rule_of(rule)) for rule in wants.get("lifecycle_rule", [])}
    actual = {_text(rule) for rule in has.get("lifecycle", {}).get("rule", [])}
    yield from (f"It lacks the lifecycle rule {rule}." for rule in sorted(expected - actual))
    yield from (f"It has a lifecycle rule that Terraform does not make: {rule}." for rule in sorted(actual - expected))


def rule_of(block: Json) -> Json:
    """Return a lifecycle rule of Terraform as the API has it."""
    action, condition = block["action"][0], block["condition"][0]
    own: dict[str, Any] = {CONDITIONS[name]: value for name, value in condition.items() if name in CONDITIONS}
    if condition.get("with_state") in STATES:
        own["isLive"] = STATES[condition["with_state"]]
    storage_class = {"storageClass": action["storage_class"]} if "storage_class" in action else {}
    return {"action": {"type": action["type"]} | storage_class, "condition": own}


def _text(rule: Json) -> str:
    return json.dumps(rule, sort_keys=True)


def _announces(name: str) -> Check:
    def look(project: Project) -> Iterator[str]:
        wants = project.expected.resources["notifications"][name]
        response = project.clients.rest("storage", "GET", f"/storage/v1/b/{name}/notificationConfigs").get("items", [])
        topic = wants["topic"].rpartition("/")[2]
        fitting = [n for n in response if n.get("topic", "").rpartition("/")[2] == topic]
        if not fitting:
            yield f"It announces nothing on {topic}, so landings start no merge."
        for config in fitting:
            yield from differences(
                {
                    "announced prefix": (wants["object_name_prefix"], config.get("object_name_prefix", "")),
                    "announced events": (wants["event_types"], config.get("event_types", [])),
                    "payload": (wants["payload_format"], config.get("payload_format")),
                }
            )
        if len(fitting) > 1:
            yield f"It announces each object {len(fitting)} times on {topic}."

    title = f"notifications of {name}"
    return Check(AREA, title, "storage.notifications.list", f"buckets/{name}", look, "Each manifest is announced once.")


def lake_checks(expected: Expected) -> Iterator[Check]:
    """Yield the checks of buckets."""
    for name in expected.names("buckets"):
        yield _settings(name)
        if name in expected.names("notifications"):
            yield _announces(name)
        yield rights_check(AREA, "buckets", name)
