"""The commands `parity study` and `parity show`."""

from __future__ import annotations

import argparse
import difflib
import sys
import webbrowser
from pathlib import Path

MISUSED = 2
REPORT = Path("parity-report") / "report.json"


def add_study_arguments(parser: argparse.ArgumentParser) -> None:
    """What `parity study` takes."""
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("parity-study"),
        metavar="DIR",
        help="where the pages go (default: parity-study)",
    )
    parser.add_argument("--open", action="store_true", help="open them in a browser")
    _report_argument(parser)


def add_show_arguments(parser: argparse.ArgumentParser) -> None:
    """What `parity show` takes."""
    parser.add_argument("names", nargs="+", metavar="NAME", help="a file's stem, or a name in it")
    parser.add_argument("--no-pager", action="store_true", help="print it all at once")
    parser.add_argument("--width", type=int, metavar="N", help="columns (default: the terminal's)")
    _report_argument(parser)


def _report_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--report",
        type=Path,
        default=REPORT,
        metavar="FILE",
        help=f"the figures of a run, as parity run writes them (default: {REPORT})",
    )


def study(args: argparse.Namespace) -> int:
    """Build the pages; returns the exit status."""
    try:
        from examples.study import build
    except ModuleNotFoundError as error:
        return _lacking("study", error)
    try:
        report = build.read_report(args.report)
        page = build.build(args.output, report)
    except build.StudyError as error:
        print(f"parity study: {error}", file=sys.stderr)
        return MISUSED
    if report is None:
        print(f"No figures: {args.report} does not exist; parity run writes it.", file=sys.stderr)
    print(f"Pages: {page}")
    if args.open and not webbrowser.open(page.as_uri()):
        print("parity study: no browser was found to open them in", file=sys.stderr)
        return MISUSED
    return 0


def show(args: argparse.Namespace) -> int:
    """Print pairs in the terminal; returns the exit status."""
    try:
        from examples.study import build, terminal
    except ModuleNotFoundError as error:
        return _lacking("show", error)
    try:
        chosen = [pair for name in args.names for pair in _named(name)]
        report = build.read_report(args.report)
    except (LookupError, build.StudyError) as error:
        print(f"parity show: {error.args[0]}", file=sys.stderr)
        return MISUSED
    pager = False if args.no_pager else None
    terminal.show(list(dict.fromkeys(chosen)), report, pager, args.width)
    return 0


def _named(name: str) -> list[tuple[str, str]]:
    """The files that a name means: a stem, chapter/stem, or a public name in any case."""
    from examples.study import build, source

    known: dict[str, list[tuple[str, str]]] = {}
    for chapter, stem in build.paths():
        names = {stem, f"{chapter}/{stem}", f"{chapter}/{stem}.py"}
        names |= set(source.public(source.ROOT / "numpy_impl" / chapter / f"{stem}.py"))
        for known_name in {n.lower() for n in names}:
            known.setdefault(known_name, []).append((chapter, stem))
    low = name.lower().removeprefix("numpy_impl/").removeprefix("torch_impl/")
    if low in known:
        exact = [pair for pair in known[low] if pair[1] == low]
        return exact or known[low]
    near = difflib.get_close_matches(low, known, n=4, cutoff=0.5)
    hint = f"near it: {', '.join(near)}" if near else "see `parity list`"
    raise LookupError(f"no technique is called {name!r}; {hint}")


def _lacking(command: str, error: ModuleNotFoundError) -> int:
    if (error.name or "").split(".")[0] in ("examples", "numpy_impl", "torch_impl"):
        raise error
    print(
        f"parity {command}: {error.name} is not installed: pip install 'written-twice[study]', "
        "or in a checkout pip install -e '.[study]'",
        file=sys.stderr,
    )
    return MISUSED
