"""Ledger in, reports out. Reads committed evidence only, and never writes to it."""
