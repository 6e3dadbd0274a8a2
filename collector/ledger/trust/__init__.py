"""A root key in, the keys of every log and who may sign what out."""
