"""How sales does what it is asked to."""
