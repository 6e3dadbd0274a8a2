"""Booked rows in, evidence out: with crashes, failing stores and lost keys."""
