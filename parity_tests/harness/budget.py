"""How large a difference may be: derived from the numbers at hand, never tuned.

float64. Two right programs differ by rounding, and a problem can magnify rounding. So the
reference is run again with every input moved by one unit in the last place, and

    allowed = 16 * (eps * scale + moved),   scale = max |reference|

float32. The truth is the reference in float64 on the same (float32) numbers. torch's own float32
error against that truth, the worst of several runs one ulp apart, is the measure:

    allowed = 4 * error of torch + 4 ulp(scale)

Errors are draws, and the few of torch's may all be small, or ours the largest in a hundred. So
what is outside its budget is looked at again. In float64, up to a thousand budgets: the reference
is then moved a dozen times by one unit in the last place, not twice, for there are places where
most such moves come to nothing (x / 0.86 near 1e4 has one value for several x); what it may move is
the most that it did. Gradients so small that subnormal numbers lost digits on the way are made
again from larger cotangents, to see how many. In float32, up to ten: both sides run on a dozen
inputs like these, every number up to 2^-8 nearer to zero, torch's worst error, rounding otherwise
inside where it may (see `rounding`), is the measure and our middle one is held against it. Chance
passes that, a mistake does not.

NaN and infinity are compared by place and sign, never by difference.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Arrays = Mapping[str, Array]
Run = Callable[[Arrays], Arrays]

JITTERS = 2
SECOND_LOOK = 12  # draws to look at more closely with
CHANCE = {"float64": 1e3, "float32": 10.0}  # budgets beyond which nothing is looked at again
GRAIN = 2.0**-1074  # what lies between the smallest numbers: no result is finer
SUBNORMAL, LIFT = 2.0**-1000, 2.0**64  # gradients so small are made again, of cotangents so large
BLIND = 1e-4, 1e-6  # a float64 budget above this share of the scale, and above this, proves nothing


@dataclass(frozen=True)
class Deviation:
    """One tensor of one run against its reference.

    `worst` is the largest difference and `index` where it is; `units` is the largest share of what
    was allowed, so a deviation passes up to 1; `scale` is the largest reference value.
    """

    label: str
    dtype: str
    worst: float
    allowed: float
    scale: float
    units: float
    index: tuple[int, ...]
    ours: float
    reference: float
    problem: str = ""

    @property
    def passed(self) -> bool:
        """Whether the tensor agrees."""
        return not self.problem and self.units <= 1

    @property
    def kind(self) -> str:
        """forward, gradient, buffer, step, ...: the first word of the label."""
        return self.label.split(" ", 1)[0]

    def __str__(self) -> str:
        if self.problem:
            return f"{self.label} ({self.dtype}): {self.problem}"
        margin = f"margin {1 / self.units:.3g}x" if self.units else "equal"
        return (
            f"{self.label} ({self.dtype}): worst {self.worst:.3g} at {list(self.index)}, "
            f"ours {self.ours!r}, reference {self.reference!r}; allowed {self.allowed:.3g}, "
            f"{self.units:.3g} budgets, {margin}; smallest tolerance that passes: "
            f"atol {self.worst:.3g} (rtol {self.worst / self.scale if self.scale else 0:.3g})"
        )


def jitter(given: Arrays, rng: np.random.Generator) -> dict[str, Array]:
    """Every floating-point number one unit in the last place up or down; zeros stay."""
    moved = {}
    for name, x in given.items():
        if x.dtype.kind == "f":
            sign = rng.integers(0, 2, x.shape, np.int8) * 2 - 1
            x = (x * (1 + sign * np.finfo(x.dtype).eps)).astype(x.dtype)
        moved[name] = x
    return moved


def alike(given: Arrays, rng: np.random.Generator) -> dict[str, Array]:
    """Every floating-point number up to 2^-8 nearer to zero, so that other digits are rounded."""
    return {
        name: (x * (1 - 2.0**-8 * rng.random(x.shape))).astype(x.dtype)
        if x.dtype.kind == "f"
        else x
        for name, x in given.items()
    }


@dataclass(frozen=True)
class Known:
    """What is right, and what rounding moves in each tensor of it, draw by draw."""

    truth: Arrays
    noise: Mapping[str, list[Array]]


def measure(
    reference: Run,
    given: Arrays,
    seed: int = 0,
    jitters: int = JITTERS,
    nearby: Run | None = None,
) -> Known:
    """The reference in float64, and how far one ulp in what it is given moves it."""
    rng = np.random.default_rng(seed)
    with np.errstate(all="ignore"):
        truth = reference(given)
        others = [(nearby or reference)(jitter(given, rng)) for _ in range(jitters)]
        if any(_tiny(k, x) for k, x in truth.items()):
            others.append(_lifted(reference, given, truth))
    return Known(truth, {k: [_distance(o[k], truth[k]) for o in others] for k in truth})


def _tiny(label: str, x: Array) -> bool:
    return label.startswith("gradient") and bool(0 < np.max(np.abs(x), initial=0) < SUBNORMAL)


def _lifted(reference: Run, given: Arrays, truth: Arrays) -> dict[str, Array]:
    """The gradients, which are linear in the cotangents, without what subnormal numbers lose.

    All else, and what overflows on the way, as it was.
    """
    lifted = reference({k: x * LIFT if "cotangent" in k else x for k, x in given.items()})
    return {k: lifted[k] / LIFT if k.startswith("gradient") else x for k, x in truth.items()}


def compare(
    ours: Run,
    reference: Run,
    given: Arrays,
    dtype: str,
    seed: int = 0,
    by_step: bool = False,
    jitters: int = JITTERS,
    nearby: Run | None = None,
) -> list[Deviation]:
    """Run both on the same arrays and hold every tensor that comes out against its budget.

    Args:
        ours: the NumPy side, from named arrays to labelled arrays.
        reference: the torch side, likewise; it computes in the dtype of what it is given.
        given: float64 arrays (and integer ones); cast to `dtype` first.
        dtype: "float64" or "float32".
        seed: of the jitter.
        by_step: the first axis counts steps, and each step has a budget of its own.
        jitters: how often the reference runs again to see what one ulp does.
        nearby: what runs in its place then, and at a closer look in float32: the reference with
            roundings of its own.
    """
    given = {k: x.astype(dtype) if x.dtype.kind == "f" else x for k, x in given.items()}
    got = ours({k: x.copy() for k, x in given.items()})
    if dtype == "float64":
        found = hold(got, measure(reference, given, seed, jitters, nearby), dtype, by_step)
        if by_chance(found):
            closer = measure(reference, given, seed, SECOND_LOOK, nearby)
            found = hold(got, closer, dtype, by_step)
        return found
    rng = np.random.default_rng(seed)
    inputs = [given] + [jitter(given, rng) for _ in range(jitters)]
    draws = _draws(reference, reference, inputs)
    found = hold(got, Known(draws[0][1], _errors(draws)), dtype, by_step)
    if by_chance(found):
        looks = [alike(given, rng) for _ in range(SECOND_LOOK)]
        draws = _draws(nearby or reference, reference, looks)
        noise = _errors(draws)
        again = [hold(ours(x), Known(e, noise), dtype, by_step) for x, (_, e) in zip(looks, draws)]
        found = [sorted(d, key=_badness)[len(d) // 2] for d in zip(*again, strict=True)]
    return found


def _draws(rough: Run, exact: Run, inputs: list[dict[str, Array]]) -> list[tuple[Arrays, Arrays]]:
    """The reference in float32, and in float64 on the same numbers, for each of several inputs."""
    with np.errstate(all="ignore"):
        return [(rough(x), exact(_widen(x))) for x in inputs]


def _errors(draws: list[tuple[Arrays, Arrays]]) -> dict[str, list[Array]]:
    """The reference's own float32 errors, a tensor's draws together."""
    return {k: [_distance(rough[k], exact[k]) for rough, exact in draws] for k in draws[0][1]}


def hold(got: Arrays, known: Known, dtype: str, by_step: bool = False) -> list[Deviation]:
    """Every tensor against its budget; AssertionError if there are not the same tensors."""
    truth = known.truth
    if got.keys() != truth.keys():
        lacking, extra = truth.keys() - got.keys(), got.keys() - truth.keys()
        raise AssertionError(
            f"not the same tensors: missing {lacking or '-'}, extra {extra or '-'}"
        )
    return [deviation(k, got[k], truth[k], known.noise[k], dtype, by_step) for k in truth]


def budgets_apart(a: Arrays, b: Arrays, known: Known, by_step: bool = False) -> float:
    """How many budgets two results are from each other at the worst.

    Infinity where the tensors, their shapes or their NaN are not alike. Where a result is larger
    than the truth, so is the budget.
    """
    if a.keys() != b.keys():
        return np.inf
    return max((_apart(a[k], b[k], k, known, by_step) for k in a), default=0.0)


def _apart(a: Array, b: Array, label: str, known: Known, by_step: bool) -> float:
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape or a.dtype != b.dtype:
        return np.inf
    if a.dtype.kind != "f":
        return 0.0 if np.array_equal(a, b) else np.inf
    if np.array_equal(a, b, equal_nan=True):
        return 0.0
    truth = np.asarray(known.truth.get(label, b))
    noise = [x for x in known.noise.get(label, ()) if x.shape == a.shape]
    finite = np.isfinite(a)
    if not np.array_equal(np.where(finite, 0, a), np.where(np.isfinite(b), 0, b), equal_nan=True):
        return np.inf
    axes = tuple(range(1, a.ndim)) if by_step and a.ndim else None

    def largest(x: Array) -> Array:
        return np.max(np.where(np.isfinite(x), np.abs(x), 0.0), axis=axes, keepdims=True, initial=0)

    scale = np.maximum(largest(a), largest(b))
    if truth.shape == a.shape:
        scale = np.maximum(scale, largest(truth))
    moved = np.max([largest(x) for x in noise], axis=0) if noise else 0.0
    allowed = 16 * (_eps_of(scale) + moved)
    distance = np.where(finite, _distance(a, b), 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.max(np.where(distance == 0, 0.0, distance / allowed)))


def deviation(
    label: str,
    ours: Array,
    reference: Array,
    noise: list[Array],
    dtype: str,
    by_step: bool = False,
) -> Deviation:
    """Hold one tensor against its reference, given what noise moved (elementwise distances)."""
    blank = (label, dtype, 0.0, 0.0, 0.0, 0.0, (), 0.0, 0.0)
    ours, reference = np.asarray(ours), np.asarray(reference)
    if ours.shape != reference.shape:
        return Deviation(*blank, problem=f"shape {ours.shape}, reference {reference.shape}")
    if reference.dtype.kind != "f":
        if ours.dtype.kind == "f" or not np.array_equal(ours, reference):
            return Deviation(*blank, problem=f"got {ours!r}, reference {reference!r}")
        return Deviation(*blank)
    if ours.dtype != dtype:
        return Deviation(*blank, problem=f"dtype {ours.dtype}, wanted {dtype}")
    if reference.size == 0:
        return Deviation(*blank)
    ours = ours.astype(np.float64)
    finite = np.isfinite(reference)
    same = np.isfinite(ours)
    tame = bool(finite.all())
    if not tame:
        alike = (ours == reference) | (ours != ours) & (reference != reference)
        same = np.where(finite, same, alike)
    if not same.all():
        at = tuple(int(i) for i in np.argwhere(~same)[0])
        return Deviation(
            *blank,
            problem=f"{float(ours[at])} at {list(at)}, the reference has {float(reference[at])}",
        )

    axes = tuple(range(1, reference.ndim)) if by_step and reference.ndim else None

    def largest(x: Array) -> Array:
        return np.max(x if tame else np.where(finite, x, 0.0), axis=axes, keepdims=True)

    scale = largest(np.abs(reference))
    moved = functools.reduce(np.maximum, map(largest, noise), np.zeros_like(scale))
    if dtype == "float64":
        allowed = 16 * (_eps_of(scale) + moved)
        if np.any((allowed > BLIND[0] * scale) & (allowed > BLIND[1])):
            return Deviation(
                *blank,
                problem="too ill-conditioned to tell: one ulp moves the reference by "
                f"{np.max(moved):.1g}",
            )
    else:
        ulp = np.spacing(np.minimum(scale, np.finfo(np.float32).max).astype(np.float32))
        allowed = 4 * moved + 4 * ulp.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        distance = np.abs(ours - reference)
        if not tame:
            distance = np.where(finite, distance, 0.0)
        units = np.where(distance == 0, 0.0, distance / allowed)
    at = tuple(int(i) for i in np.unravel_index(int(np.argmax(units)), units.shape))
    budget = at[:1] + (0,) * (units.ndim - 1) if axes is not None else (0,) * units.ndim
    return Deviation(
        label=label,
        dtype=dtype,
        worst=float(distance[at]),
        allowed=float(allowed[budget]),
        scale=float(scale[budget]),
        units=float(units[at]),
        index=at,
        ours=float(ours[at]),
        reference=float(reference[at]),
    )


def by_chance(found: list[Deviation]) -> bool:
    """Whether something is outside its budget, and nothing by more than chance may have done."""
    failed = [d for d in found if not d.passed]
    return bool(failed) and all(_badness(d) <= CHANCE[d.dtype] for d in failed)


def _badness(d: Deviation) -> float:
    return np.inf if d.problem else d.units


def _distance(a: Array, b: Array) -> Array:
    a, b = np.asarray(a), np.asarray(b)
    if b.dtype.kind != "f":
        return np.zeros(b.shape)
    with np.errstate(invalid="ignore"):  # infinity from infinity
        gap = np.abs(a.astype(np.float64) - b.astype(np.float64))
    return np.where(np.isfinite(gap), gap, 0.0)


def _eps_of(scale: Array) -> Array:
    """eps * scale; no less than GRAIN."""
    return np.maximum(np.finfo(np.float64).eps * scale, GRAIN)


def _widen(given: Arrays) -> dict[str, Array]:
    return {k: x.astype(np.float64) if x.dtype.kind == "f" else x for k, x in given.items()}
