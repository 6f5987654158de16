"""The stages as files: what they are called, what they change, and what comes out of them."""

from __future__ import annotations

import contextlib
import difflib
import io
import re
import runpy
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from examples.road import start

Array = np.ndarray[Any, np.dtype[Any]]

FIRST = 1  # the stage whose numbers the others must give
EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Stage:
    """One file of the road."""

    number: int
    path: Path

    @property
    def text(self) -> str:
        """The script."""
        return self.path.read_text(encoding="utf-8")

    @property
    def title(self) -> str:
        """Its heading: Stage 3: the layers."""
        return self.text.split("\n")[1].removeprefix("# # ")

    @property
    def says(self) -> str:
        """What its first cell says of it."""
        first = re.split(r"\n\n(?=[^#])|\n\n# %%", self.text.split("\n", 2)[2])[0]
        return "\n".join(line.removeprefix("#").strip() for line in first.split("\n")).strip()

    def changes(self, before: Stage) -> list[str]:
        """A unified diff from the stage before, without what both say of themselves."""
        old, new = (
            re.sub(r"\A(#[^\n]*\n)+\n", "", stage.text).split("\n") for stage in (before, self)
        )
        return list(difflib.unified_diff(old, new, lineterm="", n=2))[2:]


@dataclass(frozen=True)
class Found:
    """What a stage leaves behind; stage 0 only prints."""

    losses: list[float]
    predicted: Array
    accuracy: float
    printed: str


@dataclass(frozen=True)
class Budget:
    """What each step's loss may differ by."""

    losses: Array
    allowed: Array

    def worst(self, losses: list[float]) -> float:
        """The largest difference as a share of what is allowed; infinite for another length."""
        if len(losses) != len(self.losses):
            return float("inf")
        return float(np.max(np.abs(np.array(losses) - self.losses) / self.allowed))


def stages() -> list[Stage]:
    """All of them, in order."""
    files = Path(__file__).parent.glob("stage_*.py")
    return sorted((Stage(int(p.stem.split("_")[1]), p) for p in files), key=lambda s: s.number)


def run(stage: Stage) -> Found:
    """Run a stage as a script, from top to bottom; what it prints is kept."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        left = runpy.run_path(str(stage.path))
    right = left.get("predicted", np.empty(0)) == left.get("labels", np.empty(0))
    return Found(
        losses=[float(loss) for loss in left.get("losses", [])],
        predicted=left.get("predicted", np.empty(0)),
        accuracy=float(np.mean(right)) if np.size(right) else 0.0,
        printed=printed.getvalue(),
    )


def budget(first: Found) -> Budget:
    """What rounding explains: stage 1 once more, every pixel one unit in the last place away."""
    x, *others = start.digits()
    direction = np.random.default_rng(0).choice([-np.inf, np.inf], x.shape)
    with patch.object(start, "digits", lambda: (np.nextafter(x, direction), *others)):
        nearby = run(next(s for s in stages() if s.number == FIRST))
    losses = np.array(first.losses)
    moved = np.maximum.accumulate(np.abs(np.array(nearby.losses) - losses))
    return Budget(losses, 16 * (moved + EPS * np.maximum.accumulate(np.abs(losses))))
