"""Booked rows in, evidence out: the ledger's tests, with its crashes and its failing stores."""
