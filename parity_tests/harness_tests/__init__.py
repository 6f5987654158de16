"""Tests of the harness itself: that it catches what it must, and says so."""
