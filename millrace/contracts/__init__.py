"""Pure types that every part shares: no I/O, no clients, no Prefect."""
