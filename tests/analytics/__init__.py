"""Ledgers in, reports out: each number, format and slip of the analytics room."""
