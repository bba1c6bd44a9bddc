"""Google's identity on one machine: a key, its certificate, and the tokens signed with it."""
