"""How the owner is put together: what outlives a state that fails, what rests on it, and what is served."""
