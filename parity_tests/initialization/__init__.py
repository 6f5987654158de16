"""Cases for initialization."""
