"""Stories a person can read, played with the real product."""
