"""The command `parity mutants`: try the mutants of a NumPy file on its tests, and keep the record.

parity mutants numpy_impl/layers/linear.py
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from parity_tests.harness import runner
from parity_tests.harness.mutants import record, trial
from parity_tests.harness.mutants.record import Found, Survivor

if TYPE_CHECKING:
    from parity_tests.harness.mutants.make import Mutant

AIM = 0.97
AT_ONCE = 60  # mutants that a worker takes at a time
EPILOG = """\
Each mutant is one small wrong edit of a NumPy file, which the tests that mirror the file must
notice. What came of it is kept in parity_tests/mutants.json; a survivor that no input can tell from
the original gets its reason there, in a "why" written by hand.
exit status: 0 every survivor is explained, 1 some are not, 2 misused.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a parser the arguments of the command."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help="numpy_impl/layers/linear.py (default: those that changed since they were recorded)",
    )
    parser.add_argument(
        "--survivors", action="store_true", help="try again only those that survived last time"
    )
    parser.add_argument("--jobs", type=int, default=runner.cpus(), metavar="N", help="processes")


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    problem = _problem(args.files)
    if problem:
        print(f"parity: {problem}", file=sys.stderr)
        return 2
    known, stands = record.read(), True
    chosen = [Path(f).as_posix() for f in args.files] or [
        f for f in record.files() if f not in known or known[f].of != record.fingerprint(f)
    ]
    with runner.workers(args.jobs) as pool:
        for file in chosen:
            only = known[file].survivors if args.survivors and file in known else None
            try:
                found = _try(pool, file, only)
            except trial.Unsound as error:
                print(f"parity: {error}", file=sys.stderr)
                return 1
            print(_text(file, found), flush=True)
            stands &= not found.unexplained
    return 0 if stands else 1


def _problem(files: Sequence[str]) -> str:
    if not Path("numpy_impl").is_dir():
        return "run this in the checkout: its tests are what kills mutants"
    if importlib.util.find_spec("mutmut") is None:
        return "mutmut makes the mutants: pip install 'written-twice[dev]'"
    known = record.files()
    unknown = [f for f in files if Path(f).as_posix() not in known]
    return f"{unknown[0]} is no NumPy file with tests of its own" if unknown else ""


def _try(pool: Executor, file: str, only: Sequence[Survivor] | None) -> Found:
    from parity_tests.harness.mutants import make

    mutants = make.mutants_of(Path(file).read_text(encoding="utf-8"))
    keys = None if only is None else {s.key for s in only}
    tried = [m for m in mutants if keys is None or (m.at, m.was, m.became) in keys]
    chunks = [tried[i : i + AT_ONCE] for i in range(0, len(tried), AT_ONCE)]
    futures = [
        pool.submit(trial.killed, file, record.tests_of(file), [m.source for m in chunk])
        for chunk in chunks
    ]
    survived: list[Mutant] = []
    with tqdm(total=len(tried), desc=file, leave=False, disable=None, unit=" mutants") as bar:
        for chunk, future in zip(chunks, futures):
            survived += [m for m, dead in zip(chunk, future.result()) if not dead]
            bar.update(len(chunk))
    return record.keep(file, len(mutants), survived, make.TOOL)


def _text(file: str, found: Found) -> str:
    explained = len(found.survivors) - len(found.unexplained)
    share = found.killed / found.mutants if found.mutants else 1.0
    text = f"{file}: {found.killed} of {found.mutants} killed ({share:.1%})"
    text += f", {explained} equivalent" if explained else ""
    lines = [text + (", below the aim" if share < AIM else "")]
    for survivor in found.unexplained:
        lines.append(f"  survives in {survivor.at}")
        lines += [f"    - {line}" for line in survivor.was.splitlines()]
        lines += [f"    + {line}" for line in survivor.became.splitlines()]
    return "\n".join(lines)
