"""Honest and falsified ledgers in, verdicts out: what the verifiers find, and what they must not."""
