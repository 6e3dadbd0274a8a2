"""Three small agents, written as a user of Spanward writes one."""
