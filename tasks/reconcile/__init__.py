"""Tasks of `reconcile`: lake, ledger and runs in, what is missing out; they import no other stage."""
