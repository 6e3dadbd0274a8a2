"""Promises in, proof out: one folder per room, and what runs the whole house."""
