"""`docker` and `bq`: images by platform, pushed once a tag; tables that are listed, copied and asked."""

import re

from tests.support.cloud_tools.arguments import Call, Refused
from tests.support.cloud_tools.cloud import Cloud

SNAPSHOT = re.compile(r"(\w+\.\w+)@(-?\d+)")
TAGGED = re.compile(r"([\w.-]+)/([\w-]+)/([\w-]+)/(\w+):([\w.-]+)")


def docker(cloud: Cloud, call: Call) -> str:
    """Build or push an image."""
    if call.command == "docker build":
        text = (call.folder / call.word(0, "PATH") / "Dockerfile").read_text()
        if f" AS {call.one('--target')}\n" not in text:
            raise Refused(f'ERROR: target stage "{call.one("--target")}" could not be found')
        cloud.built[call.one("-t", "--tag")] = call.one("--platform", default="the machine that built it")
        return ""
    name = call.word(0, "NAME:TAG")
    parts = TAGGED.fullmatch(name)
    if name not in cloud.built or parts is None:
        raise Refused(f"An image does not exist locally with the tag: {name}")
    if parts[1] not in cloud.registries:
        raise Refused("denied: Unauthenticated request. Unauthenticated requests do not have permission")
    if parts[1] != f"{cloud.region}-docker.pkg.dev" or (parts[2], parts[3]) != (cloud.project, "millrace"):
        raise Refused(f'name unknown: Repository "{parts[3]}" not found in {parts[1]}/{parts[2]}')
    if name in cloud.images:
        raise Refused(f"denied: the repository has immutable tags, and the tag {parts[5]} exists")
    cloud.images[name] = cloud.built[name]
    return ""


def bq(cloud: Cloud, call: Call) -> str:
    """List, copy, or ask tables."""
    cloud.needs_api("bigquery")
    if call.command == "bq query":
        if not call.has("--nouse_legacy_sql") and call.one("--use_legacy_sql", default="true") != "false":
            raise Refused("Error in query string: it is taken for legacy SQL")
        [text] = call.words
        return _ask(cloud, text)
    if call.command == "bq ls":
        dataset = call.word(0, "DATASET")
        rows = [t.split(".")[1] for t in sorted(cloud.tables) if t.startswith(f"{dataset}.")]
        if not rows:
            raise Refused(f"BigQuery error in ls operation: Not found: Dataset {cloud.project}:{dataset}")
        return "tableId   Type\n-------- -----\n" + "".join(f"{name}   TABLE\n" for name in rows)
    return _copy(cloud, call)


def _ask(cloud: Cloud, text: str) -> str:
    for table in re.findall(r"FROM (\w+\.\w+)", text):
        if table not in cloud.tables and "INFORMATION_SCHEMA" not in text:
            raise Refused(f"Error in query string: Not found: Table {cloud.project}:{table}")
    return ""


def _copy(cloud: Cloud, call: Call) -> str:
    source, target = call.word(0, "SOURCE"), call.word(1, "DESTINATION")
    snapshot = SNAPSHOT.fullmatch(source)
    if snapshot is None or snapshot[1] not in cloud.tables:
        raise Refused(f"BigQuery error in cp operation: Not found: Table {source}")
    if int(snapshot[2]) < 0:
        raise Refused("a relative moment is another one for each table")
    if target in cloud.tables and not call.has("--force", "-f"):
        raise Refused(f"cp: replace {target}? (y/N) there is no terminal to answer on")
    cloud.tables.add(target)
    return f"Table '{source}' successfully copied to '{target}'\n"
