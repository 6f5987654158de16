"""Tests of what the example scripts share."""
