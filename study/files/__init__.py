"""Tables and files of a study, and its work store."""
