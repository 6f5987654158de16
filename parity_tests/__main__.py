"""`python -m parity_tests` is the command `parity`."""

import sys

from parity_tests.harness.cli import main

if __name__ == "__main__":
    sys.exit(main())
