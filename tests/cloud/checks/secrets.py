"""Checks of secrets: notifications, at least one enabled version, rights. No value is read."""

from collections.abc import Iterator

from tests.cloud.checks.check import Check, Project, differences
from tests.cloud.checks.rights import rights_check
from tests.cloud.expected import Expected

AREA = "secrets"
TIMEOUT_S = 20


def _secret(name: str) -> Check:
    def look(project: Project) -> Iterator[str]:
        path = project.clients.path("secrets", name)
        has = project.clients.secrets.get_secret(name=path, timeout=TIMEOUT_S)
        wants = project.expected.resources["secrets"][name]
        topics = sorted(topic["name"] for topic in wants.get("topics", []))
        period = (wants.get("rotation") or [{}])[0].get("rotation_period", "0s")
        actual = int(has.rotation.rotation_period.total_seconds()) if has.rotation else 0
        yield from differences(
            {
                "notified topics": (topics, sorted(topic.name for topic in has.topics)),
                "rotation in seconds": (int(period.removesuffix("s")), actual),
            }
        )

    method = "secretmanager.SecretManagerService.GetSecret"
    return Check(AREA, f"secret {name}", method, f"secrets/{name}", look)


def _has_a_version(name: str) -> Check:
    def look(project: Project) -> Iterator[str]:
        path = project.clients.path("secrets", name)
        states = [v.state.name for v in project.clients.secrets.list_secret_versions(parent=path, timeout=TIMEOUT_S)]
        if not states:
            yield "It has no version, so who needs it can't start."
        elif "ENABLED" not in states:
            yield f"None of its {len(states)} versions is enabled."
        elif states[0] != "ENABLED":
            yield "Its newest version is not enabled, and that is the one which is read."

    repair = f'add a version: `printf %s "$VALUE" | gcloud secrets versions add {name} --data-file=-`'
    method = "secretmanager.SecretManagerService.ListSecretVersions"
    return Check(AREA, f"versions of {name}", method, f"secrets/{name}", look, "Its newest version is enabled.", repair)


def secret_checks(expected: Expected) -> Iterator[Check]:
    """Yield the checks of secrets."""
    for name in sorted(expected.names("secrets")):
        yield _secret(name)
        yield _has_a_version(name)
        yield rights_check(AREA, "secrets", name)
