"""Objects in, the same objects out: the contract over every store, and what real ones do to it."""
