"""Booked rows in, write-once evidence out: the ledger an auditor can check alone."""
