"""One tensor of one trial on both sides, and a fit: how the one is got from the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from parity_tests.harness.compare import lexicon

Array = np.ndarray[Any, np.dtype[Any]]


EPS = float(np.finfo(np.float64).eps)


SLACK = 8


def _size(x: Array) -> float:
    """The largest finite number."""
    if not x.size:
        return 0.0
    largest = float(np.abs(x).max())
    if math.isfinite(largest):
        return largest
    finite = np.abs(x[np.isfinite(x)])
    return float(finite.max()) if finite.size else 0.0


@dataclass
class Sample:
    """One tensor of one trial: what came, what was wanted, how near is near, what else is known.

    `known` are other tensors of the same trial by name (inputs, parameters, the gradient from
    above, outputs); `sizes` are what the lexicon may name.
    """

    user: Array
    reference: Array
    allowed: float
    known: Mapping[str, Array] = field(default_factory=dict)
    sizes: Mapping[str, float] = field(default_factory=dict)
    old: Array | None = None

    def __post_init__(self) -> None:
        self.user = np.asarray(self.user, dtype=np.float64)
        self.reference = np.asarray(self.reference, dtype=np.float64)
        self.known = {k: np.asarray(v, np.float64) for k, v in self.known.items()}
        self.user_size = _size(self.user)
        same = self.reference.shape == self.user.shape
        self.reference_size = _size(self.reference) if same else 0.0

    def near(self, x: Array) -> float:
        """How far the user's numbers are from these: up to 1 is rounding."""
        return self.compare(x)[0]

    def residual(self, x: Array) -> float:
        """The largest distance in units of the user's largest number."""
        return self.compare(x)[1]

    def compare(self, x: Array, strange: bool = False) -> tuple[float, float]:
        """Both at once; `strange` takes NaN and infinity alone for evidence, too."""
        x = np.asarray(x)
        if x.shape != self.user.shape:
            return math.inf, math.inf
        if not x.size:
            return 0.0, 0.0
        with np.errstate(all="ignore"):
            worst = float(np.abs(self.user - x).max())
            size, own = float(np.abs(x).max()), self.user_size
            if not math.isfinite(worst) or not math.isfinite(size):
                bad = ~np.isfinite(x)
                if bad.all() and strange and np.array_equal(x, self.user, equal_nan=True):
                    return 0.0, 0.0
                if bad.all() or not np.array_equal(bad, ~np.isfinite(self.user)):
                    return math.inf, math.inf  # nothing finite: anything that overflows would fit
                worst = float(np.abs(self.user - x)[~bad].max())
                size = float(np.abs(x)[~bad].max())
        allowed = SLACK * self.allowed + 32 * EPS * max(size, self.reference_size)
        units = 0.0 if worst == 0 else worst / allowed if allowed else math.inf
        return units, worst / own if own else worst


@dataclass(frozen=True)
class Fit:
    """What was found: in words, how well it fits, and whether it is to rounding everywhere.

    `complete` is False for a description that leaves the why open.
    """

    kind: str
    text: str
    units: float
    residual: float
    complete: bool = True
    cost: int = 1

    @property
    def exact(self) -> bool:
        """Whether it holds to rounding in every trial."""
        return self.units <= 1


Guess = Callable[[Sequence[Sample]], Fit | None]


def judge(
    kind: str,
    text: str,
    samples: Sequence[Sample],
    predicted: Sequence[Array],
    cost: int = 1,
    complete: bool = True,
) -> Fit:
    """Hold what a fit predicts against the user's numbers."""
    units, residual = 0.0, 0.0
    for s, p in zip(samples, predicted):
        near, far = s.compare(p)
        units, residual = max(units, near), max(residual, far)
        if units > 1:
            break  # no fit: how far it is off here is enough to rank it
    return Fit(kind, text, units, residual, complete, cost)


def finite_in(*arrays: Array) -> Array:
    """Where all of them are finite."""
    ok = np.isfinite(arrays[0])
    for a in arrays[1:]:
        ok = ok & np.isfinite(a)
    return ok


def slope(target: Array, along: Array) -> float:
    """c in target = c * along, by least squares over finite numbers."""
    if target.shape != along.shape:
        along = np.broadcast_to(along, target.shape)
    ok = finite_in(target, along)
    bottom = float(np.sum(along[ok] ** 2))
    return float(np.sum(target[ok] * along[ok])) / bottom if bottom else 0.0


def alike(samples: Sequence[Sample]) -> bool:
    """Whether the shapes agree."""
    return all(s.user.shape == s.reference.shape for s in samples)


def number_text(
    values: Sequence[float], samples: Sequence[Sample], rtol: float = 1e-8
) -> tuple[str, str] | None:
    """A fitted number and what it is; None if it is neither the same everywhere nor has a name."""
    names = lexicon.name_of(values, [s.sizes for s in samples], rtol)
    same = all(math.isclose(v, values[0], rel_tol=rtol, abs_tol=1e-300) for v in values)
    if not names and not same:
        return None
    shown = f"{values[0]:.7g}"
    if names and names[0] != shown:
        more = f", or {', or '.join(names[1:3])}" if len(names) > 1 and _tied(names) else ""
        gloss = lexicon.GLOSSES.get(names[0].lstrip("-"), "")
        meaning = f" ({gloss})" if gloss else ""
        return shown, f"; {shown} = {lexicon.describe(names[0], samples[0].sizes)}{more}{meaning}"
    return shown, ""


def _tied(names: Sequence[str]) -> bool:
    return (
        len(names[1]) <= len(names[0]) + 4 and not names[0].lstrip("-").replace("/", "").isdigit()
    )


def slack_of(s: Sample, gap: Array) -> float:
    """How uncertain a coefficient of the gap is, given what rounding may do to it."""
    size = float(np.max(np.abs(gap[np.isfinite(gap)]), initial=0.0))
    return (
        (s.allowed + EPS * float(np.max(np.abs(s.reference), initial=0.0))) / size if size else 1.0
    )


def align(z: Array, like: Array) -> Array:
    """Channel vectors go along axis 1 where that is the only axis of their length."""
    if z.ndim == 1 and like.ndim > 1 and z.shape[0] != like.shape[-1]:
        if like.shape[1] == z.shape[0]:
            return z.reshape(-1, *[1] * (like.ndim - 2))
        if like.shape[0] == z.shape[0]:
            return z.reshape(-1, *[1] * (like.ndim - 1))
    return z


def decimals(x: Array) -> int | None:
    """How many decimals numbers were rounded to; None if they were not, or are whole."""
    x = np.asarray(x, np.float64)
    x = x[np.isfinite(x)]
    if x.size < 4 or np.array_equal(x, np.round(x)):
        return None
    return next((k for k in range(1, 11) if np.array_equal(x, np.round(x, k))), None)
