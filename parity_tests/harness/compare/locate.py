"""Where two sides part first, and by how much.

Labels are held against the budget of `budget.deviation` in the order of computation: the forward
and what can be heard inside it, the loss, gradients backwards, those of parameters, buffers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from parity_tests.harness.budget import Deviation, deviation, jitter
from parity_tests.harness.compare.trials import Trial

Array = np.ndarray[Any, np.dtype[Any]]
FROM_START = " from the start"
AFTER = "eval output after training"
UNCLEAR = "too ill-conditioned"


@dataclass(frozen=True)
class Gap:
    """One disagreement: where, in which trial, how many elements, how far, what would pass."""

    label: str
    trial: str
    problem: str = ""
    count: int = 0
    total: int = 0
    index: tuple[int, ...] = ()
    ours: float = 0.0
    reference: float = 0.0
    worst: float = 0.0
    ulps: float = 0.0
    units: float = 0.0
    rtol: float = 0.0
    atol: float = 0.0
    origin: str = ""

    def what(self) -> str:
        """In words."""
        if self.problem and not self.count:
            return self.problem
        head = f"{self.problem}; " if self.problem else ""
        at = f" at {list(self.index)}" if self.index else ""
        return (
            f"{head}{self.count} of {self.total} "
            f"element{'s' if self.total != 1 else ''}; worst{at}: "
            f"yours {self.ours!r}, reference {self.reference!r}{self._how_far()}"
        )

    def _how_far(self) -> str:
        if not self.worst:
            return ""
        ulps = f" = {self.ulps:.3g} ulps" if self.ulps < 1e30 else ""
        rtol = f" or rtol {self.rtol:.3g}" if np.isfinite(self.rtol) else ", at no rtol"
        return (
            f", {self.worst:.3g} apart{ulps} = {self.units:.3g} budgets; "
            f"smallest tolerance that passes: atol {self.atol:.3g}{rtol}"
        )


def order(label: str) -> tuple[int, int]:
    """Labels in the order of computation."""
    heads = (
        "contract",
        "mapping",
        "tap",
        "activation",
        "forward",
        "loss",
        "contract backward",
        "tap gradient",
        "gradient input",
        "gradient",
        "buffer",
        AFTER,
        "state",
        "step",
    )
    best = max((h for h in heads if label.startswith(h)), key=len, default="step")
    return heads.index(best), 0


def measure(trial: Trial, dtype: str = "float64") -> list[Deviation]:
    """Hold every label that both sides gave against its budget; fills in the trial."""
    deviations = []
    trial.failed, trial.unclear = [], []
    for label, reference in trial.reference.items():
        if label not in trial.user.found:
            continue
        ours = np.asarray(trial.user.found[label])
        reference = np.asarray(reference)
        if reference.dtype.kind != "f":
            ours = ours.astype(reference.dtype) if _whole(ours) else ours
        elif dtype == "float64" and ours.dtype != reference.dtype and ours.dtype.kind in "fiub":
            ours = ours.astype(reference.dtype)
        if ours.shape != reference.shape and ours.size == reference.size == 1:
            ours = ours.reshape(reference.shape)
        found = deviation(label, ours, reference, trial.noise.get(label, []), dtype)
        if found.problem.startswith(UNCLEAR):
            trial.unclear.append(label)
            continue
        deviations.append(found)
        trial.allowed[label] = budget(reference, trial.noise.get(label, []), dtype)
        if not found.passed:
            trial.failed.append(label)
    return deviations


def _whole(x: Array) -> bool:
    return x.dtype.kind in "iub" or bool(np.all(np.isfinite(x)) and np.all(x == np.round(x)))


def budget(reference: Array, noise: Sequence[Array], dtype: str = "float64") -> float:
    """What one number may be off, as `budget.deviation` allows it."""
    if reference.dtype.kind != "f":
        return 0.0
    finite = np.abs(reference[np.isfinite(reference)])
    scale = float(np.max(finite)) if finite.size else 0.0
    moved = max((float(np.max(n)) for n in noise if n.size), default=0.0)
    if dtype == "float32":
        return 4 * moved + 4 * float(np.spacing(np.float32(min(scale, 3e38))))
    return 16 * (float(np.finfo(np.float64).eps) * scale + moved)


def gap(trial: Trial, label: str, origin: str = "") -> Gap:
    """The disagreement of one label, measured."""
    ours = np.asarray(trial.user.found[label])
    reference = np.asarray(trial.reference[label])
    if ours.shape != reference.shape:
        return Gap(
            label,
            trial.name,
            f"shape {ours.shape}, the reference has {reference.shape}",
            origin=origin,
        )
    a, b = ours.astype(np.float64), reference.astype(np.float64)
    with np.errstate(all="ignore"):
        strange = ~np.isfinite(a) | ~np.isfinite(b)
        differs = strange & ~((a == b) | (np.isnan(a) & np.isnan(b)))
        problem = _strange(a, b, differs)
        distance = np.where(strange, 0.0, np.abs(a - b))
        allowed = max(trial.allowed.get(label, 0.0), 5e-324)
        wrong = (distance > allowed) | differs
        at = tuple(int(i) for i in np.unravel_index(int(np.argmax(distance)), distance.shape))
        if not distance.any() and differs.any():
            at = tuple(int(i) for i in np.argwhere(differs)[0])
        spacing = float(np.spacing(max(abs(float(b[at])), np.finfo(np.float64).tiny)))
        relative = np.where(distance > 0, distance / np.abs(b), 0.0)
    return Gap(
        label=label,
        trial=trial.name,
        problem=problem,
        count=int(wrong.sum()),
        total=int(a.size),
        index=at,
        ours=float(a[at]),
        reference=float(b[at]),
        worst=float(distance[at]),
        ulps=float(distance[at]) / spacing if np.isfinite(spacing) else 0.0,
        units=float(distance[at]) / allowed,
        rtol=float(np.max(relative)) if relative.size else 0.0,
        atol=float(np.max(distance)) if distance.size else 0.0,
        origin=origin,
    )


def _strange(a: Array, b: Array, differs: Array) -> str:
    if not differs.any():
        return ""
    at = tuple(int(i) for i in np.argwhere(differs)[0])

    def count(x: Array) -> str:
        nan, inf = int(np.isnan(x).sum()), int(np.isinf(x).sum())
        return f"{nan} NaN and {inf} infinite"

    return (
        f"yours has {count(a)}, the reference {count(b)}; first at {list(at)}, "
        f"{float(a[at])} for {float(b[at])}"
    )


def renamed(trial: Trial, found: Mapping[str, Array]) -> dict[str, Array]:
    """Labels of a trial that starts from the state as built: another question, another place."""
    if trial.warm:
        return {AFTER: found["forward output"]} if "forward output" in found else {}
    if not trial.set_buffers:
        return {f"{k}{FROM_START}": v for k, v in found.items() if k.startswith("buffer")}
    return dict(found)


@dataclass
class Nearby:
    """Runs of the reference one unit in the last place away, to see what rounding may move."""

    times: int = 2
    seed: int = 0
    rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def moved(self, given: Mapping[str, Array]) -> dict[str, Array]:
        """The same numbers, each one unit in the last place up or down, but not out of their range.

        A probability of 1 stays one.
        """
        moved = {}
        for name, x in given.items():  # equal numbers stay equal: a tie is not to be broken
            values, place = np.unique(x, return_inverse=True)
            near = jitter({name: values}, self.rng)[name]
            if x.size and x.dtype.kind == "f" and x.min() >= 0 and x.max() == 1:
                near[values == 1] = 1  # just below 1 the logarithm of 1 - p is another one
            moved[name] = near[place].reshape(x.shape)
        return {
            k: np.clip(x, given[k].min(), given[k].max()) if x.dtype.kind == "f" and x.size else x
            for k, x in moved.items()
        }


def distances(near: Mapping[str, Array], truth: Mapping[str, Array]) -> dict[str, Array]:
    """How far each number moved."""
    found = {}
    for label, b in truth.items():
        b = np.asarray(b)
        if b.dtype.kind != "f" or label not in near:
            found[label] = np.zeros(b.shape)
            continue
        with np.errstate(all="ignore"):
            d = np.abs(np.asarray(near[label], np.float64) - b.astype(np.float64))
        found[label] = np.where(np.isfinite(d), d, 0.0)
    return found
