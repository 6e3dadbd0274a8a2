"""An empty folder → a governed fleet on a terminal, with nothing but loopback."""
