"""Bills in, verdicts out: how an export is read, which names are one model, and what explains a difference."""
