"""State that changes in, events to every connected client out, and who acknowledged them how fast."""
