"""How large a study must be, and how its units are chosen before anybody answers."""
