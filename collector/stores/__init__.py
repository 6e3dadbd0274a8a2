"""Key and bytes in, write-once objects out: where evidence is kept, and how well a place keeps it."""
