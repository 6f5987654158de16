"""The command `parity`: run the suite, list or score it, or try code of one's own."""

from __future__ import annotations

import argparse
import difflib
import importlib.metadata
import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from examples.study import command as study
from parity_tests.harness import discovery, runner, table
from parity_tests.harness.case import Settings
from parity_tests.harness.compare.command import add_arguments
from parity_tests.harness.compare.command import run as compare_own
from parity_tests.harness.golden import command as golden
from parity_tests.harness.machine import machine
from parity_tests.harness.mutants import command as mutants
from parity_tests.harness.results import CheckResult, Outcome, Run, Technique

DTYPES = ("float64", "float32")
MISUSED = 2
INTERRUPTED = 128 + signal.SIGINT


def main(argv: Sequence[str] | None = None, suite: str = "parity_tests") -> int:
    """Run the command; returns the exit status: 0 agrees, 1 fails, 2 misused, 130 interrupted."""
    args = _parser().parse_args(sys.argv[1:] if argv is None else argv)
    try:
        return args.command(args, suite)
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="parity",
        description="Feed the NumPy and the PyTorch side the same numbers and hold every "
        "difference against a budget derived from rounding.",
        epilog="Exit status: 0 everything agrees, 1 something fails, 2 misused or the report "
        "cannot be written, 130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=f"parity {_version()}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    names: dict[str, Any] = {
        "nargs": "*",
        "metavar": "NAME",
        "help": "a chapter, a technique or a file, as `parity list` shows them (default: all)",
    }

    run = commands.add_parser("run", help="run the checks, print a table, write a report")
    run.add_argument("names", **names)
    run.add_argument(
        "--quick",
        action="store_true",
        help="fewer configurations, shapes and regimes; no finite differences, no layouts",
    )
    run.add_argument("--seed", type=_seed, default=0, help="of every random input (default: 0)")
    run.add_argument("--dtype", choices=DTYPES, help="compare in this one only (default: both)")
    run.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("parity-report"),
        metavar="DIR",
        help="where report.html and report.json go (default: parity-report)",
    )
    run.add_argument("--no-report", action="store_true", help="print only")
    run.add_argument(
        "--jobs",
        type=_jobs,
        default=runner.cpus(),
        metavar="N",
        help="worker processes; the results do not depend on it (default: %(default)s here)",
    )
    run.set_defaults(command=_run)

    listing = commands.add_parser("list", help="list chapters, techniques and their files")
    listing.add_argument("names", **names)
    listing.set_defaults(command=_list)

    score = commands.add_parser(
        "score", help="score the suite: mistakes caught, told apart and named, rewrites let pass"
    )
    score.add_argument("names", **names)
    score.add_argument("--seed", type=_seed, default=0, help="of every random input (default: 0)")
    score.add_argument("--json", type=Path, metavar="FILE", help="write everything here, too")
    score.add_argument("--markdown", action="store_true", help="print the README's table")
    score.add_argument("--jobs", type=_jobs, default=runner.cpus(), metavar="N", help="processes")
    score.set_defaults(command=_score)

    own = commands.add_parser("compare", help="hold code of your own against torch")
    add_arguments(own)
    own.set_defaults(command=_compare)

    wrong = commands.add_parser("mutants", help="small wrong edits that the tests must notice")
    mutants.add_arguments(wrong)
    wrong.set_defaults(command=_mutants)

    check = commands.add_parser("check", help="hold both sides to recorded results of torch")
    golden.add_arguments(check)
    check.set_defaults(command=lambda args, suite: golden.run(args))

    pages = commands.add_parser("study", help="build the pages that show both sides")
    study.add_study_arguments(pages)
    pages.set_defaults(command=lambda args, suite: study.study(args))

    pair = commands.add_parser("show", help="print a technique's two files side by side")
    study.add_show_arguments(pair)
    pair.set_defaults(command=lambda args, suite: study.show(args))
    return parser


def _version() -> str:
    try:
        return importlib.metadata.version("written-twice")
    except importlib.metadata.PackageNotFoundError:
        return "of a checkout that is not installed"


def _seed(text: str) -> int:
    if not text.isdigit() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"wanted a whole number from 0 up, got {text!r}")
    return int(text)


def _jobs(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"wanted a whole number from 1 up, got {text!r}")
    return int(text)


def _compare(args: argparse.Namespace, suite: str) -> int:
    return compare_own(args)


def _mutants(args: argparse.Namespace, suite: str) -> int:
    return mutants.run(args)


def _run(args: argparse.Namespace, suite: str) -> int:
    settings = Settings(args.seed, (args.dtype,) if args.dtype else DTYPES, args.quick)
    run = Run(settings, [], jobs=args.jobs, machine=machine())
    run.command = shlex.join(["parity", "run", *args.names])
    started = time.perf_counter()
    try:
        with _progress() as bar, runner.workers(args.jobs) as pool:
            known = runner.discover(pool, args.jobs, suite, settings)
            run.outcomes = [Outcome(t) for t in _chosen(known, args.names)]
            _follow(run, runner.run(pool, [o.technique for o in run.outcomes], settings), bar)
    except LookupError as error:
        print(f"parity: {error.args[0]}", file=sys.stderr)
        return MISUSED
    except KeyboardInterrupt:
        run.interrupted = True
        for outcome in run.outcomes:
            outcome.forget("KeyboardInterrupt")  # workers hear Ctrl-C too
    run.seconds = time.perf_counter() - started
    if run.outcomes:
        _print(run)
    if run.interrupted:
        return INTERRUPTED
    if not args.no_report:
        from parity_tests.harness import report  # brings matplotlib, which the table can do without

        try:
            written = report.write(run, args.output)
        except OSError as error:
            sys.stdout.flush()
            print(f"parity: cannot write the report: {error}", file=sys.stderr)
            return MISUSED
        print(f"\nReport: {written}")
    return 1 if run.failed else 0


def _progress() -> tqdm:
    """A bar on stderr where somebody watches; where nobody does, nothing."""
    text = "loading the cases"
    return tqdm(desc=text, total=0, unit=" checks", leave=False, disable=None, smoothing=0)


def _follow(run: Run, results: Iterator[tuple[Technique, int, CheckResult]], bar: tqdm) -> None:
    """Take results in as they come."""
    outcomes = {o.technique: o for o in run.outcomes}
    bar.reset(total=sum(len(t.checks) for t in outcomes))
    for technique, i, result in results:
        outcomes[technique].found[i] = result
        bar.set_description(f"{technique.name:<20.20}", refresh=False)
        bar.update()


def _print(run: Run) -> None:
    paint = table.painter(sys.stdout)
    parts = [table.results_table(run, paint), table.legend(), table.failures(run, paint)]
    parts.append(table.summary(run, paint))
    print("\n\n".join(part for part in parts if part), flush=True)


def _list(args: argparse.Namespace, suite: str) -> int:
    with runner.workers(1) as pool:
        known = runner.discover(pool, 1, suite, Settings())
    try:
        techniques = _chosen(known, args.names)
    except LookupError as error:
        print(f"parity: {error.args[0]}", file=sys.stderr)
        return MISUSED
    print(table.techniques_table(techniques, table.painter(sys.stdout)))
    return 0


def _score(args: argparse.Namespace, suite: str) -> int:
    from parity_tests.harness import score, score_table

    settings = Settings(args.seed)
    try:
        with _progress() as bar, runner.workers(args.jobs) as pool:
            known = runner.discover(pool, args.jobs, suite, settings)
            scores = {t: score.Score() for t in _chosen(known, args.names)}
            bar.reset(total=len(score.PARTS) * len(scores))
            for technique, part in score.run(pool, list(scores), settings):
                scores[technique] += part
                bar.set_description(f"{technique.name:<20.20}", refresh=False)
                bar.update()
    except LookupError as error:
        print(f"parity: {error.args[0]}", file=sys.stderr)
        return MISUSED
    files = {t.twin for t in scores}
    whole = suite == "parity_tests" and not args.names
    mutants = {file: c for file, c in score.mutants().items() if whole or file in files}
    if args.json:
        text = json.dumps(score_table.as_dict(scores, mutants), indent=1)
        try:
            args.json.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            print(f"parity: cannot write the score: {error}", file=sys.stderr)
            return MISUSED
    paint = table.painter(sys.stdout)
    if args.markdown:
        print(score_table.markdown(scores, mutants))
    else:
        print(score_table.terminal(scores, mutants, paint))
    missed = [*(s.missed for s in scores.values()), *(c.missed for c in mutants.values())]
    return 1 if any(missed) else 0


def _chosen(known: Sequence[Technique], names: Sequence[str]) -> list[Technique]:
    """The techniques that the names mean; LookupError says which name means none, and what may."""
    if not known:
        raise LookupError("no cases were found")
    try:
        return discovery.select(known, names)
    except LookupError as error:
        name = str(error.args[0])
    written = {n.lower(): n for t in known for n in (t.chapter, t.stem, t.name)}
    near = difflib.get_close_matches(name.lower(), written, n=5, cutoff=0.5)
    near += [low for low in written if name.lower() in low and low not in near][:5]
    hint = f"near it: {', '.join(written[n] for n in near)}" if near else "see `parity list`"
    raise LookupError(f"no chapter, technique or file is called {name!r}; {hint}")
