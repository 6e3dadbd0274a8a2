"""Received rows → ledger rows, one table step after the other; each step is a function of tables."""
