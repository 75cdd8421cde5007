"""Methods that write a text for a unit, from its activations and the presence of named concepts alone."""
