"""Records → calls. Decides what is one call, whose it is and what is billed; knows no price and no disk."""
