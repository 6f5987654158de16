"""Normalization under parity."""
