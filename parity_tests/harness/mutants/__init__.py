"""Mutants: small wrong edits of the NumPy files, each of which the mirrored tests must notice."""
