"""Holding both sides to the file: who changed since it was made, we, torch, or nobody."""

from __future__ import annotations

import importlib.util
import math
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from parity_tests.harness.budget import Arrays, Deviation, Run
from parity_tests.harness.golden.play import play
from parity_tests.harness.golden.vectors import Golden, Vector
from parity_tests.harness.results import units_text
from parity_tests.harness.table import Paint, shortened


@dataclass
class Row:
    """A technique: what each side computes now, against what torch computed then.

    `torch` is empty and `torch_known` false where torch was not asked, or its case has gone.
    """

    chapter: str
    name: str
    vectors: int = 0
    ours: list[tuple[str, Deviation]] = field(default_factory=list)
    torch: list[tuple[str, Deviation]] = field(default_factory=list)
    gone: int = 0

    @property
    def verdict(self) -> str:
        """Who changed."""
        ours, torch = (any(not d.passed for _, d in found) for found in (self.ours, self.torch))
        if ours and torch:
            return "both changed"
        return "we changed" if ours else "torch changed" if torch else "agrees"

    def worst(self, side: str) -> float | None:
        """The largest deviation of a side in budgets; None where there is none."""
        found = self.ours if side == "ours" else self.torch
        return max((math.inf if d.problem else d.units for _, d in found), default=None)


def has_torch() -> bool:
    """Whether torch could be imported here."""
    try:
        return importlib.util.find_spec("torch") is not None
    except ValueError:  # it is marked as not to be imported
        return False


def check(
    golden: Golden, names: Sequence[str] = (), torch: bool = True, tell: Callable[[], object] = int
) -> list[Row]:
    """A row for every technique that is named (all, without names); `tell` hears of each vector.

    Raises:
        LookupError: a name is neither a chapter nor a technique of the file.
    """
    known = {n.lower() for v in golden.vectors for n in (v.chapter, v.technique)}
    for name in names:
        if name.lower() not in known:
            raise LookupError(name)
    wanted = {name.lower() for name in names}
    rows: dict[tuple[str, str], Row] = {}
    sides = _Sides() if torch else None
    for vector in golden.vectors:
        if wanted and not wanted & {vector.chapter.lower(), vector.technique.lower()}:
            continue
        key = vector.chapter, vector.technique
        row = rows.setdefault(key, Row(*key))
        row.vectors += 1
        row.ours += _held(vector, lambda given, v=vector: play(v))  # type: ignore[misc]
        if sides is not None:
            theirs = sides.of(vector)
            if theirs is None:
                row.gone += 1
            else:
                row.torch += _held(vector, theirs)
        tell()
    return list(rows.values())


class _Sides:
    """torch's runs, a case's made together."""

    def __init__(self) -> None:
        self._made: dict[str, Mapping[str, Run]] = {}

    def of(self, vector: Vector) -> Run | None:
        if vector.case not in self._made:
            from parity_tests.harness.golden import record  # brings torch

            self._made[vector.case] = record.torch_sides(vector.case)
        return self._made[vector.case].get(vector.what)


def _held(vector: Vector, run: Run) -> Iterator[tuple[str, Deviation]]:
    try:
        found: Arrays = run({k: x.copy() for k, x in vector.given.items()})
        for deviation in vector.hold(found):
            yield vector.what, deviation
    except Exception as error:  # whatever it is, it did not raise when the file was made
        text = f"{type(error).__name__}: {error}"
        yield vector.what, Deviation("raised", "float64", 0, 0, 0, 0, (), 0, 0, problem=text)


# ---- in words ------------------------------------------------------------------------------------

STYLES = {"agrees": "good", "we changed": "bad", "torch changed": "near", "both changed": "bad"}


def table(rows: Sequence[Row], torch: bool, paint: Paint) -> str:
    """A technique on a line: how much was held to the file, how near to the budget, who changed."""
    width = max([14, *(len(shortened(r.name)) + 4 for r in rows)])
    lines = [
        paint(f"{'':<{width}}{'vectors':>8}{'tensors':>9}{'NumPy':>9}{'torch':>9}  verdict", "bold")
    ]
    chapter = ""
    for row in rows:
        if row.chapter != chapter:
            chapter = row.chapter
            lines.append(paint(chapter, "bold"))
        line = f"  {shortened(row.name):<{width - 2}}{row.vectors:>8}{len(row.ours):>9}"
        for side in ("ours", "torch"):
            worst = row.worst(side)
            style = "" if worst is None or worst <= 0.5 else "near" if worst <= 1 else "bad"
            line += paint(f"{units_text(worst):>9}", style)
        more = f" ({row.gone} no longer in the cases)" if row.gone else ""
        lines.append(f"{line}  {paint(row.verdict, STYLES[row.verdict])}{more}")
    text = (
        "Numbers are the worst deviations from the recorded results of torch, in units of the "
        "budget, which is derived from rounding: up to 1 agrees, 'equal' is equal to the last bit."
    )
    return "\n".join(lines) + "\n\n" + textwrap.fill(text, 96)


def changes(rows: Sequence[Row]) -> str:
    """The first thing that differs in each technique that changed, on each side."""
    lines = []
    for row in rows:
        for side, found in (("NumPy", row.ours), ("torch", row.torch)):
            failed = [(what, d) for what, d in found if not d.passed]
            if failed:
                what, d = failed[0]
                more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
                text = f"{row.chapter}/{row.name}: {side} now, {what}: {d}{more}"
                lines.append(textwrap.fill(text, 96, subsequent_indent="    "))
    return "\n".join(lines)


def summary(rows: Sequence[Row], golden: Golden, torch: bool) -> str:
    """The outcome in one sentence, and what the file was made with."""
    ours = [r.name for r in rows if r.verdict in ("we changed", "both changed")]
    theirs = [r.name for r in rows if r.verdict in ("torch changed", "both changed")]
    said = []
    if ours:
        said.append(f"We changed: NumPy no longer gives the recorded results of {_list(ours)}.")
    if theirs:
        said.append(f"torch changed: it no longer gives its recorded results of {_list(theirs)}.")
    if not said:
        sides = "NumPy and torch give" if torch else "NumPy, alone, gives"
        which = f"all {len(rows)} techniques" if len(rows) > 1 else rows[0].name
        said.append(f"{sides} the recorded results of {which}.")
    made = ", ".join(f"{k} {v}" for k, v in golden.made.items() if k != "date")
    said.append(f"Recorded on {golden.made.get('date', 'a day unknown')} with {made}.")
    if not torch:
        said.append("torch is not installed here, so only the NumPy side was run.")
    return "\n".join(textwrap.fill(line, 96) for line in said)


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
