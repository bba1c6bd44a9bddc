"""Exit codes of `millrace`, the same for every command."""

OK = 0
WRONG = 1  # a named error, a failed run, or a problem that a check found
USAGE = 2  # invalid usage, or nothing that could be checked
DOWN = 3  # the stack on this machine is down

TEXT = (
    "Exit codes: 0 success; 1 a problem, and the message says how to fix it; 2 invalid usage;"
    " 3 the stack on this machine is down; 130 interrupted."
)
