"""Tune on both sides: two test functions with a known minimum, then a network for digits.

    python -m examples.tuning              20 seeds a function, a study of the digits, all figures
    python -m examples.tuning --quick      a look
    python -m examples.tuning --figure examples/figures/tuning.png       as the README shows it

Both sides propose the same trials, so the NumPy side runs every seed and the torch side the first
ones, to be compared trial by trial. The digits' study is a file under --out: stop the command with
Ctrl-C, start it again, and it goes on.

Exit status: 0 if the sides agree and Bayesian search is ahead, 1 if not, 2 for bad options.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path

# Read once, when NumPy and torch load: arrays this small gain nothing from a second thread.
os.environ |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"), "1")

import numpy as np

from examples.plots import convergence, parallel_coordinates, slices
from examples.tuning import digits
from examples.tuning.figure import Runs, draw
from examples.tuning.functions import OBJECTIVES
from examples.tuning.searches import INITIAL, distances, everywhere

TRIALS = {"Branin": 30, "Hartmann-6": 50}
SEARCHES = {"Bayesian search": "bayesian_search", "random search": "random_search"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20, help="searches of each function")
    parser.add_argument("--torch-seeds", type=int, default=3, help="as many of them in torch too")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--out", type=Path, default=Path("out"), metavar="DIR", help="for files")
    parser.add_argument("--figure", type=Path, metavar="FILE", help="that of the functions")
    parser.add_argument("--quick", action="store_true", help="one function, few seeds and trials")
    options = parser.parse_args(argv)
    if min(options.seeds, options.workers) < 1 or options.torch_seeds < 0:
        parser.error("--seeds and --workers must be at least 1, --torch-seeds at least 0")
    options.out.mkdir(parents=True, exist_ok=True)
    ahead = functions(options)
    same = tune_digits(options)
    return 0 if ahead and same else 1


# ---- test functions ----------------------------------------------------------------------------


def functions(options: argparse.Namespace) -> bool:
    """Search both functions, print and draw how far from the least value each search came."""
    names = ["Branin"] if options.quick else list(OBJECTIVES)
    seeds = range(3 if options.quick else options.seeds)
    both = range(min(1 if options.quick else options.torch_seeds, len(seeds)))
    trials = {name: 18 if options.quick else TRIALS[name] for name in names}
    tasks = [("numpy_impl", s, n, trials[n], seed) for n in names for seed in seeds
             for s in SEARCHES.values()]  # fmt: skip
    tasks += [("torch_impl", "bayesian_search", n, trials[n], seed) for n in names for seed in both]
    found = dict(zip(tasks, everywhere(tasks, 0 if options.quick else options.workers)))
    runs: Runs = {}
    agree, ahead = True, True
    print("distance to the least value, median over the seeds\n")
    print(f"{'function':12} {'trials':>6} {'Bayesian':>9} {'random':>9}   torch proposes the same")
    for name in names:
        n = trials[name]
        runs[name] = {
            said: distances([found["numpy_impl", search, name, n, s] for s in seeds], name)
            for said, search in SEARCHES.items()
        }
        ends = [float(np.median(r[:, -1])) for r in runs[name].values()]
        same = sum(found["torch_impl", "bayesian_search", name, n, s]
                   == found["numpy_impl", "bayesian_search", name, n, s] for s in both)  # fmt: skip
        agree, ahead = agree and same == len(both), ahead and ends[0] < ends[1]
        print(f"{name:12} {n:6} {ends[0]:9.2g} {ends[1]:9.2g}   {same} of {len(both)} seeds")
    path = options.figure or options.out / "tuning.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    draw(runs, INITIAL).save(path)
    print(f"figure: {path}\n")
    return agree and ahead


# ---- digits ------------------------------------------------------------------------------------


def tune_digits(options: argparse.Namespace) -> bool:
    """Tune the network on both sides; print the trials, and draw them."""
    epochs, samples = (2, 300) if options.quick else (15, 1257)
    trials, initial = (5, 4) if options.quick else (40, 10)
    studies = []
    for side in ("numpy_impl", "torch_impl"):
        tuning = import_module(f"{side}.tuning")
        kind = f"{side}-{'quick' if options.quick else 'whole'}"
        studies.append(
            tuning.bayesian_search(
                partial(digits.objective, side=side, epochs=epochs, samples=samples),
                digits.space(side),
                trials,
                initial=initial,
                batch=2,
                path=options.out / f"digits-{kind}.jsonl",
                num_workers=0 if options.quick else options.workers,
            )
        )
    ours, theirs = studies
    print(f"digits: validation loss after {epochs} epochs, the best of {trials} trials in NumPy\n")
    print(ours.table(top=5))
    gaps = [abs((a.score or 0) - (b.score or 0)) for a, b in zip(ours.trials, theirs.trials)]
    configs = sum(a.config == b.config for a, b in zip(ours.trials, theirs.trials))
    print(f"\nin torch {configs} of {trials} trials have the same config, scores differ by "
          f"{max(gaps):.0e} at most, and number {theirs.best.number} is best")  # fmt: skip
    for plot in (convergence, slices, parallel_coordinates):
        path = options.out / f"digits-{plot.__name__}.png"
        plot(ours).save(path)
        print(f"figure: {path}")
    return ours.best.number == theirs.best.number and configs == trials


if __name__ == "__main__":
    sys.exit(main())
