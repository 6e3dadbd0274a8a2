"""A state that cannot be written → answers all the same, and everything in order once it is back."""
