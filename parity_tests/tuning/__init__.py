"""The tuning chapter under parity."""
