"""A command line in; its command, words and options out, or a refusal by what the real program's help lists."""

import json
from dataclasses import dataclass, field
from pathlib import Path

KNOWN: dict[str, dict[str, bool]] = json.loads(Path(__file__).with_name("commands.json").read_text())


class Refused(Exception):
    """What the real program would answer to standard error before it ends with a code that is not 0."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class Call:
    """A checked call: the command's name (`gcloud secrets versions add`), its words, and its options by name."""

    command: str
    words: list[str] = field(default_factory=list)
    options: dict[str, list[str]] = field(default_factory=dict)
    folder: Path = Path()
    stdin: str = ""

    def one(self, *names: str, default: str | None = None) -> str:
        """Return the value of an option, by any of its names.

        Raises:
            Refused: it is not given and has no default.
        """
        for name in names:
            if name in self.options:
                return self.options[name][-1]
        if default is None:
            raise Refused(f"ERROR: ({self.command}) argument {names[0]}: Must be specified.", 2)
        return default

    def has(self, *names: str) -> bool:
        return any(name in self.options for name in names)

    def word(self, at: int, name: str) -> str:
        """Return a positional argument.

        Raises:
            Refused: it is missing.
        """
        if at >= len(self.words):
            raise Refused(f"ERROR: ({self.command}) argument {name}: Must be specified.", 2)
        return self.words[at]


def parse(program: str, argv: list[str]) -> Call:
    """Return a call of one of the known commands.

    Raises:
        Refused: the program has no such command (as far as the table goes), or the command no such option.
    """
    names, words, options = [program], [], {}
    rest = list(argv)
    while rest:
        token = rest.pop(0)
        command = " ".join(names)
        if token == "--":
            words += rest
            break
        if token.startswith("-") and token != "-":
            name, equals, value = token.partition("=")
            takes = _takes(program, command, name)
            if takes and not equals:
                if not rest:
                    raise Refused(f"{program}: option {name} needs a value", 2)
                value = rest.pop(0)
            options.setdefault(name, []).append(value)
        elif not words and _continues(f"{command} {token}"):
            names.append(token)
        else:
            words.append(token)
    command = " ".join(names)
    if command not in KNOWN or (command == program and words):
        raise Refused(f"{program}: {' '.join(argv)!r} is no command that commands.json lists", 2)
    return Call(command, words, options)


def _continues(command: str) -> bool:
    return any(listed == command or listed.startswith(f"{command} ") for listed in KNOWN)


def _takes(program: str, command: str, name: str) -> bool:
    """Return whether an option takes a value; before the command is known, only options of all commands count."""
    for place in (command, program):
        if name in KNOWN.get(place, {}):
            return KNOWN[place][name]
    raise Refused(f"ERROR: ({command}) unrecognized arguments: {name}", 2)
