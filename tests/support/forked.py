"""Commands for the fork server, most of which end badly: `python -m tests.support.forked NAME [ARGUMENT]`."""

import os
import signal
import sys
import time
from pathlib import Path


def main(name: str, *arguments: str) -> None:
    """Run one of them."""
    if name == "answer":
        warm = {"flows.model", "duckdb"} <= set(sys.modules)
        sys.stdout.write(f"{os.environ['WORD']} {os.getcwd()} {warm}\n")
    elif name == "raise":
        raise RuntimeError("as the test wants")
    elif name == "_exit":
        os._exit(7)
    elif name == "exit":
        sys.exit(3)
    elif name == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif name == "leak":
        os.environ["WORD"] = "leaked"
        sys.modules.pop("flows.model")
        sys.leaked = [open(os.devnull) for _ in range(100)]  # type: ignore[attr-defined]  # noqa: SIM115
    elif name == "signals":
        for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
    elif name == "allocate":
        bytearray(int(arguments[0]))
    elif name == "wait":
        Path(arguments[0]).with_suffix(".new").write_text(str(os.getpid()))
        Path(arguments[0]).with_suffix(".new").rename(arguments[0])
        time.sleep(120)


if __name__ == "__main__":
    main(*sys.argv[1:])
