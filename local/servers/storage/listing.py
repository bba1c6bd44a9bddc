"""Lists objects by prefix, delimiter and page, with `versions=true` all of their generations."""

from local.servers.storage.index import Index
from local.servers.storage.rules import Json, StorageError

MAX_RESULTS = 1000


def list_objects(index: Index, bucket: str, query: dict[str, str]) -> Json:
    """One page of objects and, with a delimiter, of common prefixes.

    A page token is the generation (0 for a prefix) and the name that the page before ended with.
    """
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    limit = min(int(query.get("maxResults") or MAX_RESULTS), MAX_RESULTS)
    versions, after = query.get("versions", "").lower() == "true", _parse(query.get("pageToken", ""))
    start = max(query.get("startOffset", ""), after[0])
    items: list[Json] = []
    prefixes: list[str] = []
    last = ("", 0)
    for resource in index.resources(bucket, prefix, start, query.get("endOffset", ""), versions=versions):
        folder = _folder(resource["name"], prefix, delimiter)
        position = (folder, 0) if folder else (resource["name"], int(resource["generation"]))
        # without versions only names count, as a name may have a new generation since the last page
        listed = position <= after if versions else position[0] <= after[0]
        if (after[0] and listed) or (folder and prefixes and prefixes[-1] == folder):
            continue
        if len(items) + len(prefixes) >= limit:
            return _answer(items, prefixes) | {"nextPageToken": f"{last[1]}/{last[0]}"}
        last = position
        if folder:
            prefixes.append(folder)
        else:
            items.append(resource)
    return _answer(items, prefixes)


def _parse(token: str) -> tuple[str, int]:
    generation, _, name = token.partition("/")
    if token and not generation.isdigit():
        raise StorageError(400, "invalid", f"page token {token!r} is invalid")
    return name, int(generation or 0)


def _folder(name: str, prefix: str, delimiter: str) -> str:
    """Common prefix that stands for a name; '' when the name stands for itself."""
    rest = name[len(prefix) :]
    return prefix + rest[: rest.index(delimiter) + len(delimiter)] if delimiter and delimiter in rest else ""


def _answer(items: list[Json], prefixes: list[str]) -> Json:
    return {"kind": "storage#objects", "items": items} | ({"prefixes": prefixes} if prefixes else {})
