"""Booked rows in, signed evidence out: the only room that writes the ledger."""
