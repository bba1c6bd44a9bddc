"""Who may do what: Terraform's identities, roles and conditions as one table, which the local servers enforce."""
