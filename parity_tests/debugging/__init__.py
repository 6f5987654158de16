"""The debugging chapter under parity."""
