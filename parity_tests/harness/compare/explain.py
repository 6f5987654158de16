"""What a comparison says: truthy or not, as text, as JSON, and as a script that runs it again."""

from __future__ import annotations

import json
import math
import textwrap
from dataclasses import asdict, dataclass, field
from typing import Any

from parity_tests.harness.compare.cause import Cause
from parity_tests.harness.compare.locate import Gap

UNKNOWN = "unknown"
WIDTH = 100
IN_FULL = 2
"""How many later disagreements are measured out; the others are named."""


@dataclass
class Comparison:
    """The result of `compare`: true if both sides agree in every trial.

    Attributes:
        first: the first disagreement in the order of computation, None if there is none.
        gaps: the first disagreement of every place that has one, in that order.
        causes: what gives the user's numbers, exactly; empty if nothing does.
        evidence: what was seen beside.
        notes: how the two sides were brought together, and what could not be compared.
    """

    ours: str
    theirs: str
    dtype: str = "float64"
    trials: int = 0
    places: list[str] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    causes: list[Cause] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)
    passed_on: list[str] = field(default_factory=list)
    evidence: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    margin: float = math.inf
    seconds: float = 0.0
    script: str = ""
    compact: bool = False

    def __bool__(self) -> bool:
        return not self.gaps

    @property
    def first(self) -> Gap | None:
        """The first disagreement."""
        return self.gaps[0] if self.gaps else None

    @property
    def cause(self) -> str:
        """The cause of the first disagreement in words; "unknown" if nothing explains it.

        Empty if there is no disagreement.
        """
        if not self.gaps:
            return ""
        here = [c for c in self.causes if self.gaps[0].label in (c.label, *c.explains)]
        return here[0].text if here else UNKNOWN

    def text(self) -> str:
        """Where, what and why, as a report of a few lines."""
        head = f"{'PASS' if self else 'FAIL'}  {self.ours} beside {self.theirs}"
        lines = [f"{head}  {self.dtype}, {self.trials} trials"]
        if not self.gaps:
            places = self._list(self.places, 12)
            margin = (
                f"; the tightest has a margin of {self.margin:.3g}x"
                if math.isfinite(self.margin)
                else ""
            )
            lines.append(f"  agree : {places}{margin}")
        else:
            lines += self._failure()
        lines += [f"  note  : {note}" for note in dict.fromkeys(self.notes)]
        return "\n".join(_wrap(line) for line in lines)

    def _failure(self) -> list[str]:
        first = self.gaps[0]
        bad = [g.label for g in self.gaps]
        good = [p for p in self.places if p not in bad]
        origin = f", {first.origin}" if first.origin else ""
        lines = [
            f"  where : {first.label}, the first of {len(bad)} that differ{origin}  [{first.trial}]"
        ]
        if good:
            lines.append(f"          agree: {self._list(good, 8)}")
        lines.append(f"  what  : {first.what()}")
        for i, cause in enumerate(self.causes):
            lead = "  why   : " if i == 0 and self.cause != UNKNOWN else "  also  : "
            where = "" if cause.label == first.label else f"{cause.label}: "
            lines.append(f"{lead}{where}{cause.text}")
            if cause.kind not in ("contract", "probe"):
                runner = (
                    f"; the next best, {cause.runner_up}, to {cause.runner_up_residual:.2g}"
                    if cause.runner_up and math.isfinite(cause.runner_up_residual)
                    else ""
                )
                lines.append(
                    f"          gives your numbers to {cause.residual:.2g} of their size{runner}"
                )
            more = [e for e in cause.explains if e != cause.label]
            if more:
                own = [] if self.compact else [cause.label]
                lines.append(f"          explains {self._list([*own, *more], 12)}")
            lines += [f"          fits as well: {a}" for a in cause.also]
        if self.cause == UNKNOWN:
            at = 3 if good else 2
            lines.insert(at, f"  why   : {UNKNOWN}")
        if self.passed_on:
            what = self._list(self.passed_on, 12)
            lines.append(f"  passed on: {what}")
        others = [g for g in self.gaps[1:] if not any(g.label in c.explains for c in self.causes)]
        if self.compact and any(len(c.explains) > 1 for c in self.causes):
            others = []
        if self.compact and others:
            names = [g.label for g in others]
            if len(self.gaps) == self.trials:
                names = [f"all other runs, from {names[0].split(': ')[-1]} on or later"]
            lines.append(f"  later : {self._list(names, 8)}")
            others = []
        others = [g for g in others if g.label not in self.passed_on]
        for g in others[:IN_FULL]:
            lines.append(f"  later : {g.label}{f', {g.origin}' if g.origin else ''}: {g.what()}")
        if others[IN_FULL:]:
            lines.append(f"  later : {self._list([g.label for g in others[IN_FULL:]], 8)}")
        lines += [f"  seen  : {line}" for line in dict.fromkeys(self.evidence)]
        return lines

    def _list(self, names: list[str], most: int) -> str:
        between = "; " if self.compact else ", "
        return between.join(names[:most]) + (f"{between}..." if len(names) > most else "")

    def json(self) -> str:
        """The same for programs."""
        return json.dumps(
            {
                "agree": bool(self),
                "ours": self.ours,
                "theirs": self.theirs,
                "dtype": self.dtype,
                "trials": self.trials,
                "places": self.places,
                "first": _plain(asdict(self.first)) if self.first else None,
                "gaps": [_plain(asdict(g)) for g in self.gaps],
                "cause": self.cause,
                "causes": [_plain(asdict(c)) for c in self.causes],
                "unexplained": self.unexplained,
                "passed_on": self.passed_on,
                "evidence": self.evidence,
                "notes": self.notes,
                "margin": _plain(self.margin),
                "seconds": round(self.seconds, 3),
            },
            indent=2,
        )

    def repro(self) -> str:
        """A script that runs this comparison again."""
        return self.script


def _wrap(line: str) -> str:
    return textwrap.fill(
        line,
        WIDTH,
        subsequent_indent=" " * 10,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
        replace_whitespace=False,
    )


def _plain(x: Any) -> Any:
    if isinstance(x, dict):
        return {k: _plain(v) for k, v in x.items()}
    if isinstance(x, list | tuple):
        return [_plain(v) for v in x]
    if isinstance(x, float) and not math.isfinite(x):
        return str(x)
    return x
