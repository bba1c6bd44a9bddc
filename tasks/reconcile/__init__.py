"""Tasks of `reconcile`: lake, ledger and runs in, gaps and the runs that close them out; they import no other stage."""
