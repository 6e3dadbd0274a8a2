"""What the owner must not forget, in SQLite: one durable transaction for each group of changes."""
