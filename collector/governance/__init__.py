"""Verdicts: what an agent may do, and the budgets that make it so. Pure state machines, no I/O."""
