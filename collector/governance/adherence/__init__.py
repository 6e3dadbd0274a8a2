"""Who asked, who was answered what, and who acted otherwise: decisions matched with the calls that ran."""
