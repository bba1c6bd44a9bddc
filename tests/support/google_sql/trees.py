"""Messages of GoogleSQL's trees in; the node of a kind, its fields and its text out.

A tree's message nests the kinds of a node: `node` names the next more special one, and each special one has the more
general one as `parent`.
"""

from typing import Any


def special(message: Any) -> Any:
    """Return the most special kind of a node."""
    while "node" in message.DESCRIPTOR.oneofs_by_name:
        message = getattr(message, message.WhichOneof("node"))
    return message


def kind(message: Any) -> str:
    """Return the name of a node's most special kind, such as `ASTIfStatement`."""
    return str(special(message).DESCRIPTOR.name).removesuffix("Proto")


def field(message: Any, name: str) -> Any:
    """Return a field of a node or of one of its more general kinds."""
    message = special(message)
    while name not in message.DESCRIPTOR.fields_by_name:
        message = message.parent
    return getattr(message, name)


def text(message: Any, source: bytes) -> str:
    """Return the text of a parsed node."""
    place = field(message, "parse_location_range")
    return source[place.start : place.end].decode()
