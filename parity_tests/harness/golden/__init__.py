"""Golden vectors: inputs and torch's results in a file, so that either side can be held to them.

`vectors` is the file and its format, `blueprint` how what is built is written down in it, `play`
computes a vector with NumPy alone, `record` makes the file from the cases, with torch, and `check`
says who changed: we, torch, or nobody.
"""
