"""Runnable scripts on real data."""
