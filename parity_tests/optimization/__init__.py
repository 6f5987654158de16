"""Cases of the chapter on optimization."""
