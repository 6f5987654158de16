"""Tests of the harness itself: does it find what is wrong, and only that?"""
