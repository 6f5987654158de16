"""Regularization under parity."""
