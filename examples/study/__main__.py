"""python -m examples.study: the same as `parity study`; with --quick into a folder thrown away."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from examples.study import command


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m examples.study", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="build, and throw away")
    command.add_study_arguments(parser)
    args = parser.parse_args(argv)
    if not args.quick:
        return command.study(args)
    with tempfile.TemporaryDirectory() as folder:
        args.output = Path(folder) / "study"
        return command.study(args)


if __name__ == "__main__":
    sys.exit(main())
