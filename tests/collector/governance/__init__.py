"""Budgets that hold: windows, counters, holds and verdicts."""
