"""The types in, what outsiders read of them out."""
