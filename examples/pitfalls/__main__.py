"""The command: which experiments, how large, and where the figures go."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

# Read once, when NumPy and torch load: two threads cost more than they give on nets this small.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from examples.pitfalls.exploding import Exploding
from examples.pitfalls.figure import drawn
from examples.pitfalls.initialization import Initialization
from examples.pitfalls.learning_rate import LearningRate
from examples.pitfalls.overfitting import Overfitting
from examples.pitfalls.pitfall import Pitfall
from examples.pitfalls.report import report
from examples.pitfalls.vanishing import Vanishing

PITFALLS: tuple[type[Pitfall], ...] = (
    Vanishing,
    Exploding,
    Overfitting,
    LearningRate,
    Initialization,
)


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    found = argparse.ArgumentParser(
        prog="python -m examples.pitfalls",
        description="Five ways in which training fails, measured before and after their cures.",
        epilog="Exit status: 0 if every effect is there and both sides agree, 1 if not, 2 for bad "
        "options.",
    )
    names = [pitfall.name for pitfall in PITFALLS]
    found.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(names)}")
    found.add_argument("--quick", action="store_true", help="fewer digits and steps, under 20 s")
    found.add_argument("--seed", type=_seed, default=0, help="of weights and shuffles (default 0)")
    found.add_argument(
        "-o", "--out", type=Path, default=Path("out"), metavar="DIR", help="for the figures"
    )
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    arguments = parser()
    options = arguments.parse_args(argv)
    known = {pitfall.name: pitfall for pitfall in PITFALLS}
    for name in options.names:
        if name not in known:
            arguments.error(f"no experiment is called {name!r}; there are {', '.join(known)}")
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        arguments.error(f"--out: {error}")
    torch.set_num_threads(1)
    failed = []
    for name in dict.fromkeys(options.names or known):
        started, pitfall = time.perf_counter(), known[name]()
        found = pitfall.run(options.quick, options.seed, progress=None)
        passed, text = report(pitfall, found)
        path = options.out / f"{name}.png"
        drawn(pitfall, found).save(path)
        print(f"{text}\nFigure: {path}. Took {time.perf_counter() - started:.0f} s.\n", flush=True)
        failed += [] if passed else [name]
    if failed:
        print(f"not as it should be: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _seed(text: str) -> int:
    try:
        seed = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"wanted a whole number, got {text!r}") from None
    if not 0 <= seed < 2**32:
        raise argparse.ArgumentTypeError(f"must be between 0 and 2^32 - 1, got {seed}")
    return seed


if __name__ == "__main__":
    sys.exit(main())
