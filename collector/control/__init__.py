"""The gate: agents ask before they act, and what they may spend is held until it is known."""
