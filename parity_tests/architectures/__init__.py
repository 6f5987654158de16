"""Whole networks under parity."""
