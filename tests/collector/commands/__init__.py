"""Commands of operators against a collector that runs."""
