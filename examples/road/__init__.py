"""The road from scratch code to the framework: one piece a stage, the same numbers all the way."""
