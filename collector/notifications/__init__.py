"""What happened → people are told, each of it once, wherever they read."""
