"""Tuning, on test functions whose minimum is known and on handwritten digits, on both sides."""
