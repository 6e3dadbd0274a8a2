"""The vocabulary every room shares: words, tables, messages, errors. No I/O and no framework."""
