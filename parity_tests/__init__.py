"""The parity suite: cases by chapter, and the harness that derives every check from them."""
