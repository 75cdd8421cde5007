"""Pictures of pages for readers, drawn from data of a study."""
