"""Orders of operators in, kills in force everywhere out."""
