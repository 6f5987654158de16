"""Cases for layers."""
