"""Losses against torch."""
