"""Who may do what: keys become credentials, and `governance/` becomes organisations, tenants and agents."""
