"""Exit codes of `millrace`, the same for every command."""

OK = 0
WRONG = 1  # a named error, a run that failed, or something that the doctor found
USAGE = 2  # the command line makes no sense
DOWN = 3  # the stack on this machine is down
INTERRUPTED = 130

TEXT = (
    "Exit codes: 0 all is well; 1 something is wrong, and the message says what to do; 2 the command line makes no"
    " sense; 3 the stack on this machine is down; 130 interrupted."
)
