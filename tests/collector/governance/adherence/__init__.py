"""Decisions held against the calls that ran."""
