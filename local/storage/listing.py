"""Lists objects by prefix, delimiter and page."""

from local.storage.index import Index, Json

MAX_RESULTS = 1000


def list_objects(index: Index, bucket: str, query: dict[str, str]) -> Json:
    """One page of objects and, with a delimiter, of common prefixes."""
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    limit = min(int(query.get("maxResults") or MAX_RESULTS), MAX_RESULTS)
    start, token = query.get("startOffset", ""), query.get("pageToken", "")
    items: list[Json] = []
    prefixes: list[str] = []
    last = ""
    for resource in index.resources(bucket, prefix, max(start, token), query.get("endOffset", "")):
        name = resource["name"]
        folder = _folder(name, prefix, delimiter)
        if token and (folder or name) <= token:
            continue
        if folder and prefixes and prefixes[-1] == folder:
            continue
        if len(items) + len(prefixes) >= limit:
            return _answer(items, prefixes) | {"nextPageToken": last}
        last = folder or name
        if folder:
            prefixes.append(folder)
        else:
            items.append(resource)
    return _answer(items, prefixes)


def _folder(name: str, prefix: str, delimiter: str) -> str:
    """Common prefix that stands for a name; '' when the name stands for itself."""
    rest = name[len(prefix) :]
    return prefix + rest[: rest.index(delimiter) + len(delimiter)] if delimiter and delimiter in rest else ""


def _answer(items: list[Json], prefixes: list[str]) -> Json:
    return {"kind": "storage#objects", "items": items} | ({"prefixes": prefixes} if prefixes else {})
