"""Studies whose truth is known: scenes, planted units, observers, small networks."""
