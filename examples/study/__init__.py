"""The site that shows both sides, built from the tested source."""
