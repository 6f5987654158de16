"""The training chapter under parity."""
