"""`gcloud`: accounts, APIs, buckets, databases' users, secrets, keys, the cluster's credentials and day two."""

import json
import re
from collections.abc import Callable

from tests.support.cloud_tools.arguments import Call, Refused
from tests.support.cloud_tools.cloud import Cloud

INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def login(cloud: Cloud, _: Call) -> str:
    cloud.accounts.add("user")
    return ""


def login_application(cloud: Cloud, _: Call) -> str:
    cloud.accounts.add("application")
    return ""


def set_quota_project(cloud: Cloud, call: Call) -> str:
    if "application" not in cloud.accounts:
        raise Refused("ERROR: Application default credentials have not been set up.")
    cloud.quota_project = call.word(0, "QUOTA_PROJECT_ID")
    return ""


def configure_docker(cloud: Cloud, call: Call) -> str:
    cloud.needs_project()
    if not call.has("--quiet"):
        raise Refused("Do you want to continue (Y/n)? ERROR: there is no terminal to answer on")
    cloud.registries |= set(call.word(0, "REGISTRIES").split(","))
    return ""


def config_set(cloud: Cloud, call: Call) -> str:
    if call.word(0, "SECTION/PROPERTY") == "project":
        cloud.project = call.word(1, "VALUE")
    return ""


def enable(cloud: Cloud, call: Call) -> str:
    cloud.needs_project()
    if wrong := [word for word in call.words if not re.fullmatch(r"[a-z]+\.googleapis\.com", word)]:
        raise Refused(f"ERROR: (gcloud.services.enable) Service {wrong[0]} not found")
    cloud.apis |= set(call.words)
    return ""


def create_bucket(cloud: Cloud, call: Call) -> str:
    cloud.needs_project()
    name = call.word(0, "URL").removeprefix("gs://")
    if name in cloud.buckets:
        raise Refused(f"ERROR: HTTPError 409: Your previous request to create the named bucket succeeded: {name}")
    cloud.buckets[name] = {"location": call.one("--location", "-l"), "versioning": False}
    return ""


def update_bucket(cloud: Cloud, call: Call) -> str:
    bucket = _bucket(cloud, call.word(0, "URL"))
    bucket["versioning"] = call.has("--versioning")
    return ""


def restore_objects(cloud: Cloud, call: Call) -> str:
    _bucket(cloud, call.word(0, "URLS"))
    for option in ("--deleted-after-time", "--deleted-before-time"):
        if call.has(option) and not INSTANT.fullmatch(call.one(option)):
            raise Refused(f"ERROR: (gcloud.storage.restore) argument {option}: no time")
    if call.has("--async") == any("**" not in url for url in call.words):
        raise Refused("ERROR: --async restores all that a pattern matches, and needs one")
    return ""


def _bucket(cloud: Cloud, url: str) -> dict[str, object]:
    cloud.needs_project()
    name = url.removeprefix("gs://").split("/")[0]
    if name not in cloud.buckets:
        raise Refused(f"ERROR: (gcloud.storage) gs://{name} not found: 404.")
    return cloud.buckets[name]


def create_hmac(cloud: Cloud, call: Call) -> str:
    cloud.needs_api("storage")
    account = _account(cloud, call.word(0, "SERVICE_ACCOUNT"))
    key = f"GOOG1E{len(cloud.hmacs):04}"
    cloud.hmacs[key] = {"account": account, "active": True}
    if call.one("--format") != "value(metadata.accessId,secret)":
        raise Refused("the stand-in shows only value(metadata.accessId,secret)")
    return f"{key}\tsecret-of-{key}\n"


def update_hmac(cloud: Cloud, call: Call) -> str:
    _hmac(cloud, call)["active"] = not call.has("--deactivate")
    return ""


def delete_hmac(cloud: Cloud, call: Call) -> str:
    if _hmac(cloud, call)["active"]:
        raise Refused("ERROR: HTTPError 400: Cannot delete keys in 'ACTIVE' state.")
    del cloud.hmacs[call.words[0]]
    return ""


def _hmac(cloud: Cloud, call: Call) -> dict[str, object]:
    key = call.word(0, "ACCESS_ID")
    if key not in cloud.hmacs:
        raise Refused(f"ERROR: HTTPError 404: Access ID not found in project: {key}")
    return cloud.hmacs[key]


def _account(cloud: Cloud, email: str) -> str:
    if email not in cloud.terraform.get("accounts", ()):
        raise Refused(f"ERROR: NOT_FOUND: Unknown service account: {email}")
    return email


def create_key(cloud: Cloud, call: Call) -> str:
    cloud.needs_api("iam")
    account = _account(cloud, call.one("--iam-account"))
    key = f"key{len(cloud.keys):04}"
    cloud.keys[key] = account
    text = {"type": "service_account", "client_email": account, "private_key_id": key}
    (call.folder / call.word(0, "OUTPUT-FILE")).write_text(json.dumps(text))
    return ""


def list_keys(cloud: Cloud, call: Call) -> str:
    account = _account(cloud, call.one("--iam-account"))
    if call.one("--managed-by") != "user":
        raise Refused("without --managed-by=user Google's own keys come too")
    return "".join(f"{key}\n" for key, owner in cloud.keys.items() if owner == account)


def delete_key(cloud: Cloud, call: Call) -> str:
    key = call.word(0, "KEY-ID")
    if key not in cloud.keys:
        raise Refused(f"ERROR: NOT_FOUND: key {key}")
    if not call.has("--quiet"):
        raise Refused("Do you want to continue (Y/n)? ERROR: there is no terminal to answer on")
    del cloud.keys[key]
    return ""


def instance(cloud: Cloud, name: str) -> dict[str, object]:
    cloud.needs_api("sqladmin")
    if name not in cloud.databases:
        raise Refused(f"ERROR: HTTPError 404: The Cloud SQL instance does not exist: {name}")
    return cloud.databases[name]


def create_user(cloud: Cloud, call: Call) -> str:
    users = instance(cloud, call.one("--instance", "-i"))["users"]
    assert isinstance(users, dict)
    users[call.word(0, "USERNAME")] = call.one("--password")
    return ""


def set_password(cloud: Cloud, call: Call) -> str:
    users = instance(cloud, call.one("--instance", "-i"))["users"]
    assert isinstance(users, dict)
    if call.word(0, "USERNAME") not in users:
        raise Refused(f"ERROR: HTTPError 404: user {call.words[0]} does not exist")
    users[call.words[0]] = call.one("--password")
    return ""


def clone(cloud: Cloud, call: Call) -> str:
    source, name = instance(cloud, call.word(0, "SOURCE")), call.word(1, "DESTINATION")
    if not INSTANT.fullmatch(call.one("--point-in-time")):
        raise Refused("ERROR: argument --point-in-time: Failed to parse date/time")
    cloud.databases[name] = {"address": f"10.30.0.{len(cloud.databases) + 10}", "users": source["users"]}
    return ""


def describe_instance(cloud: Cloud, call: Call) -> str:
    database = instance(cloud, call.word(0, "INSTANCE"))
    return f"{database['address']}\n" if call.one("--format") == "value(ipAddresses[0].ipAddress)" else ""


def list_secrets(cloud: Cloud, call: Call) -> str:
    cloud.needs_api("secretmanager")
    if call.one("--format") != "value(name)":
        raise Refused("the stand-in shows only value(name)")
    return "".join(f"{name}\n" for name in cloud.secrets.names())


def add_version(cloud: Cloud, call: Call) -> str:
    cloud.needs_api("secretmanager")
    number = cloud.secrets.add(call.word(0, "SECRET"), call.stdin)
    return f"Created version [{number}] of the secret [{call.words[0]}].\n"


def access_version(cloud: Cloud, call: Call) -> str:
    cloud.needs_api("secretmanager")
    assert call.word(0, "VERSION") == "latest"
    return cloud.secrets.read(call.one("--secret"))


def list_versions(cloud: Cloud, call: Call) -> str:
    cloud.needs_api("secretmanager")
    try:
        cloud.secrets.read(call.word(0, "SECRET"))
    except Refused:
        return ""
    return "1\n"


def credentials(cloud: Cloud, call: Call) -> str:
    cluster(cloud, call)
    cloud.cluster.reachable = True
    return ""


def cluster(cloud: Cloud, call: Call) -> str:
    """Find the cluster where it is."""
    cloud.needs_api("container")
    if call.word(0, "NAME") != "millrace" or call.one("--region", "--location") != cloud.region:
        raise Refused(f"ERROR: ResponseError: code=404, Not found: clusters/{call.words[0]} in {call.one('--region')}")
    return ""


def update_cluster(cloud: Cloud, call: Call) -> str:
    cluster(cloud, call)
    name = call.one("--add-maintenance-exclusion-name")
    begin, end = (call.one(f"--add-maintenance-exclusion-{edge}") for edge in ("start", "end"))
    if not (INSTANT.fullmatch(begin) and INSTANT.fullmatch(end) and begin < end):
        raise Refused("ERROR: the end of an exclusion comes after its start, both as 2027-01-31T00:00:00Z")
    cloud.exclusions.append(name)
    return ""


def upgrade_cluster(cloud: Cloud, call: Call) -> str:
    cluster(cloud, call)
    if not (call.has("--master") and call.has("--quiet")):
        raise Refused("ERROR: on Autopilot only --master can be upgraded; it asks without --quiet")
    cloud.restarted("prefect-server")
    return ""


def image(cloud: Cloud, call: Call) -> str:
    cloud.needs_api("containerscanning")
    name = call.words[0] if call.words else call.one("--uri")
    if name not in cloud.images:
        raise Refused(f"ERROR: Image {name} not found")
    return ""


def allow_keys(cloud: Cloud, call: Call) -> str:
    cloud.needs_project()
    if call.word(0, "ORG_POLICY_NAME") != "iam.disableServiceAccountKeyCreation":
        raise Refused(f"ERROR: no such boolean constraint: {call.words[0]}")
    return ""


HANDLERS: dict[str, Callable[[Cloud, Call], str]] = {
    "auth login": login,
    "auth application-default login": login_application,
    "auth application-default set-quota-project": set_quota_project,
    "auth configure-docker": configure_docker,
    "config set": config_set,
    "services enable": enable,
    "storage buckets create": create_bucket,
    "storage buckets update": update_bucket,
    "storage restore": restore_objects,
    "storage hmac create": create_hmac,
    "storage hmac update": update_hmac,
    "storage hmac delete": delete_hmac,
    "iam service-accounts keys create": create_key,
    "iam service-accounts keys list": list_keys,
    "iam service-accounts keys delete": delete_key,
    "sql users create": create_user,
    "sql users set-password": set_password,
    "sql instances clone": clone,
    "sql instances describe": describe_instance,
    "secrets list": list_secrets,
    "secrets versions add": add_version,
    "secrets versions access": access_version,
    "secrets versions list": list_versions,
    "container clusters get-credentials": credentials,
    "container clusters describe": cluster,
    "container clusters update": update_cluster,
    "container clusters upgrade": upgrade_cluster,
    "artifacts docker images describe": image,
    "artifacts sbom export": image,
    "resource-manager org-policies disable-enforce": allow_keys,
}


def answer(cloud: Cloud, call: Call) -> str:
    """Carry out a call."""
    return HANDLERS[call.command.removeprefix("gcloud ")](cloud, call)
