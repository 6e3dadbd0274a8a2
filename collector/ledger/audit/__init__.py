"""A store and one public key in, findings and proofs out. Nothing here can write evidence."""
