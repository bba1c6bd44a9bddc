"""Whether a deployment of the platform would come up, by all that it needs: image, secrets, database, pools."""

from typing import Any
from urllib.parse import urlsplit

from tests.support.cloud_tools.arguments import Refused
from tests.support.cloud_tools.cloud import Cloud

Json = dict[str, Any]


def missing_keys(cloud: Cloud, external: Json) -> list[str]:
    """Return the secrets of an ExternalSecret that have no value."""
    missing = []
    for entry in external["spec"]["data"]:
        try:
            cloud.secrets.read(entry["remoteRef"]["key"])
        except Refused:
            missing.append(entry["remoteRef"]["key"])
    return missing


def why_not_available(cloud: Cloud, place: str, name: str) -> str:
    """Return what keeps a deployment from being available; '' when nothing does."""
    deployment = cloud.cluster.objects.get(("Deployment", place, name))
    if deployment is None:
        return "there is no such deployment"
    if deployment["spec"].get("replicas") == 0:
        return ""
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    for source in container.get("envFrom", []):
        kind, reference = next(iter(source.items()))
        exists = (
            ("ConfigMap", place, reference["name"]) in cloud.cluster.objects
            if kind == "configMapRef"
            else (place, reference["name"]) in cloud.cluster.secrets
        )
        if not exists:
            return f"CreateContainerConfigError: {reference['name']} not found"
    if reason := why_image_is_not_pulled(cloud, container["image"]):
        return reason
    if name == "prefect-server":
        return why_database_is_not_reached(cloud, place)
    if "worker" in name:
        pool = container["args"][container["args"].index("--pool") + 1]
        return "" if pool in cloud.pools() else f"work pool {pool!r} does not exist: the worker ends"
    return ""


def why_image_is_not_pulled(cloud: Cloud, image: str) -> str:
    """Return why a node cannot pull an image."""
    if image not in cloud.images:
        return f"ImagePullBackOff: {image} not found"
    platform = cloud.images[image]
    return "" if platform == "linux/amd64" else f"exec format error: {image} is for {platform}"


def why_database_is_not_reached(cloud: Cloud, place: str) -> str:
    """Return why Prefect's server does not get at its database."""
    url = urlsplit(cloud.cluster.secrets[place, "prefect-server"]["PREFECT_API_DATABASE_CONNECTION_URL"])
    databases = [i for i in cloud.databases.values() if i["address"] == url.hostname]
    if not databases:
        return f"no database answers at {url.hostname}"
    if databases[0]["users"].get(url.username) != url.password:
        return f'password authentication failed for user "{url.username}"'
    if "ssl=require" not in url.query:
        return "the database takes encrypted connections only"
    return ""
