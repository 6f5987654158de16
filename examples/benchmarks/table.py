"""Run works, compare their sides, and print what came out, a line as soon as it is known."""

from __future__ import annotations

import importlib.util
import multiprocessing
import sys
from collections.abc import Callable
from statistics import median
from typing import Any

from examples.benchmarks.timing import Turn, interleave, quartiles, ratios
from examples.benchmarks.work import Against, Work

Row = dict[str, Any]

_COLUMNS = "{:<52} {:<20} {:>9} {:>9} {:>6}  {:<11} {:>11}  {:>5} {:>4}"


def header() -> str:
    """The names of the columns, and a rule."""
    names = (
        "work",
        "against",
        "ours ms",
        "their ms",
        "ratio",
        "quartiles",
        "page faults",
        "goal",
        "met",
    )
    return _COLUMNS.format(*names) + "\n" + "-" * 137


def line(row: Row, first: bool) -> str:
    """One comparison as it stands in the table; only the first of a work says which work."""
    goal, ours = row["goal"], row["ours"].removeprefix("NumPy").removeprefix(", ")
    return _COLUMNS.format(
        row["title"] if first else f"  {ours}",
        row["theirs"],
        f"{row['ours_ms']:.3f}",
        f"{row['theirs_ms']:.3f}",
        f"{row['ratio']:.2f}",
        f"{row['low']:.2f} - {row['high']:.2f}",
        f"{row['ours_faults']:.0f} / {row['theirs_faults']:.0f}",
        "" if goal is None else f"{goal:.2f}",
        "" if goal is None else "yes" if row["met"] else "no",
    ).rstrip()


def compare(work: Work, rounds: int, seconds: float, clock: str) -> list[Row]:
    """Time the sides of one work and work out its lines."""
    turns = interleave(work.sides(), rounds, seconds)
    return [_row(work, against, turns, clock) for against in work.lines]


def _row(work: Work, against: Against, turns: dict[str, list[Turn]], clock: str) -> Row:
    ours, theirs = turns[against.ours], turns[against.theirs]
    goal = against.goal if clock == "cpu" else None  # goals are for one thread
    each = ratios(ours, theirs, clock)
    low, middle, high = quartiles(each)
    return {
        "work": work.name,
        "title": work.title,
        "ours": against.ours,
        "theirs": against.theirs,
        "ours_ms": median(getattr(turn, clock) for turn in ours) * 1e3,
        "theirs_ms": median(getattr(turn, clock) for turn in theirs) * 1e3,
        "ours_wall_ms": median(turn.wall for turn in ours) * 1e3,
        "theirs_wall_ms": median(turn.wall for turn in theirs) * 1e3,
        "ours_faults": median(turn.faults for turn in ours),
        "theirs_faults": median(turn.faults for turn in theirs),
        "ratio": middle,
        "low": low,
        "high": high,
        "rounds": each,
        "goal": goal,
        "met": None if goal is None else middle <= goal,
    }


def missing(work: Work) -> str | None:
    """The package that the work needs and that is not installed."""
    absent = work.needs and importlib.util.find_spec(work.needs) is None
    return work.needs if absent else None


def apart(function: Callable[..., Any], *args: Any) -> Any:
    """What the function returns when a fork of this process, as yet unused, calls it.

    The allocator learns from what a process has freed, so that works timed one after the other
    in one process would change each other's page faults. Where processes cannot be forked safely
    the function is simply called.
    """
    if sys.platform != "linux":
        return function(*args)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply(function, args)
