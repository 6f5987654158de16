"""The command: arguments, threads, the table."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Matrix libraries read these once, when they load: set them before NumPy and torch come in.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def positive(text: str) -> int:
    """A whole number of at least one."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


positive.__name__ = "whole number"  # what argparse calls it when int() refuses


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    found = argparse.ArgumentParser(
        prog="python -m examples.benchmarks",
        description="Time both sides of the same work, turn by turn, on equal threads.",
        epilog="A ratio is NumPy's time over the other's: below 1, NumPy is faster.",
    )
    found.add_argument("names", nargs="*", metavar="NAME", help="works whose name contains this")
    found.add_argument("--quick", action="store_true", help="fewer works and rounds, under 15 s")
    found.add_argument("--list", action="store_true", help="print the names of the works")
    found.add_argument("--threads", type=positive, default=1, help="on each side (default 1)")
    found.add_argument("--rounds", type=positive, help="turns of each side (default 15, quick 5)")
    found.add_argument("--json", type=Path, metavar="FILE", help="write every round's ratio here")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 if it ran, whatever the ratios."""
    arguments = parser()
    options = arguments.parse_args(argv)
    if "numpy" not in sys.modules and "torch" not in sys.modules:
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(options.threads)))
    import torch

    from examples.benchmarks import draws, networks, pieces
    from examples.benchmarks.growth import growth, text
    from examples.benchmarks.machine import machine
    from examples.benchmarks.table import apart, compare, header, line, missing

    works = networks.WORKS + pieces.WORKS + draws.WORKS
    known = [work.name for work in works] + ["growth"]
    for name in options.names:
        if not any(name in other for other in known):
            arguments.error(f"no work is called {name!r}; there are {', '.join(known)}")
    wanted = [name for name in known if any(part in name for part in options.names or [""])]
    if options.list:
        print("\n".join(wanted))
        return 0
    torch.set_num_threads(options.threads)
    # The first optimizer takes two seconds to load the rest of torch: once, not once a work.
    torch.optim.Adam([torch.zeros(1, requires_grad=True)])
    rounds, seconds = (
        options.rounds or (5 if options.quick else 15),
        0.01 if options.quick else 0.03,
    )
    # A thread waiting for another one spins: with more than one, only the wall clock is fair.
    clock = "cpu" if options.threads == 1 else "wall"
    about = machine()
    print(f"{about['processor']}; Python {about['python']}")
    print(f"NumPy {about['numpy']}; torch {about['torch']}")
    print(
        f"{clock} time of a step, {options.threads} thread(s) on each side, {rounds} interleaved "
        "rounds; ratio: ours over theirs, the median round's\n"
    )
    chosen = [work for work in works if work.name in wanted]
    if options.quick and not options.names:
        chosen = [work for work in chosen if work.quick]
    rows: list[dict[str, Any]] = []
    if chosen:
        print(header(), flush=True)
    for work in chosen:
        if package := missing(work):
            print(f"{work.title}: left out, {package} is not installed")
            continue
        new = apart(compare, work, rounds, seconds, clock)
        rows += new
        print("\n".join(line(row, first=row is new[0]) for row in new), flush=True)
    grown: list[dict[str, float]] = []
    if "growth" in wanted:
        batches = [1, 32, 512] if options.quick else [1, 8, 32, 128, 512, 2048]
        grown = apart(growth, batches, rounds, seconds, clock)
        print("\n" + text(grown))
    if with_goal := [row for row in rows if row["goal"] is not None]:
        print(f"\n{sum(row['met'] for row in with_goal)} of {len(with_goal)} goals met")
    if options.json:
        found = {
            "machine": about,
            "threads": options.threads,
            "clock": clock,
            "rounds": rounds,
            "works": rows,
            "growth": grown,
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(found, indent=1) + "\n")
        print(f"wrote {options.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
