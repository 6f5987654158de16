"""Generic fits: one number, a sign or a function does it everywhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from parity_tests.harness.compare.sample import (
    SLACK,
    Fit,
    Sample,
    alike,
    decimals,
    finite_in,
    judge,
    number_text,
    slope,
)

Array = np.ndarray[Any, np.dtype[Any]]


def zero(samples: Sequence[Sample]) -> Fit | None:
    """All zeros where the reference is not, in more places than chance could pick."""
    differing = sum(int(np.count_nonzero(s.reference)) for s in samples)
    if all(not np.any(s.user) for s in samples) and differing > 2:
        return Fit("zero", "yours is 0 everywhere", 0.0, 0.0)
    return None


def constant(samples: Sequence[Sample]) -> Fit | None:
    """One number everywhere."""
    if any(s.user.size < 2 or np.ptp(s.user) != 0 for s in samples) or not samples[0].user.any():
        return None
    text = number_text([float(s.user.flat[0]) for s in samples], samples)
    if text is None:
        return None
    return Fit("constant", f"yours is {text[0]} everywhere{text[1]}", 0.0, 0.0)


def factor(samples: Sequence[Sample]) -> Fit | None:
    """yours = c * reference."""
    if not alike(samples) or not any(np.any(s.reference) for s in samples):
        return None
    used = [s for s in samples if np.any(s.reference)]
    values = [slope(s.user, s.reference) for s in used]
    predicted = [s.reference * slope(s.user, s.reference) for s in samples]
    if all(math.isclose(v, 1.0, rel_tol=1e-7) for v in values):
        return None
    if sum(s.user.size for s in used) < 2 or not any(values):
        return None
    text = number_text(values, used)
    judged = judge("factor", "", samples, predicted)
    if all(math.isclose(v, -1.0, rel_tol=1e-9) for v in values):
        return judge("sign", "yours has the opposite sign: -1 * reference", samples, predicted, 0)
    if text is None:
        if judged.exact and all(s.user.size > 2 for s in used):
            shown = ", ".join(
                f"{v:.7g}" + (f" (N = {s.sizes['N']:g})" if "N" in s.sizes else "")
                for v, s in zip(values, used)
            )
            return judge(
                "factor",
                f"yours = c * reference with another c for each draw: {shown}",
                samples,
                predicted,
                3,
                complete=False,
            )
        shown = f"yours = {values[0]:.7g} * reference"
        return Fit("factor", shown, max(judged.units, 2), judged.residual)
    return judge("factor", f"yours = {text[0]} * reference{text[1]}", samples, predicted)


def offset(samples: Sequence[Sample]) -> Fit | None:
    """yours = reference + c."""
    if not alike(samples):
        return None
    if sum(s.user.size for s in samples) < 3:
        return None
    gaps = [(s.user - s.reference)[finite_in(s.user, s.reference)] for s in samples]
    values = [float(np.median(g)) if g.size else 0.0 for g in gaps]
    predicted = [s.reference + v for s, v in zip(samples, values)]
    if not all(values):
        return None
    text = number_text(values, samples, 1e-7)
    if text is None:
        return None
    return judge("offset", f"yours = reference + {text[0]}{text[1]}", samples, predicted)


MAPS: dict[str, Callable[[Array], Array]] = {
    "|reference|": np.abs,
    "reference^2": np.square,
    "sqrt(reference)": np.sqrt,
    "sqrt(|reference|)": lambda r: np.sqrt(np.abs(r)),
    "1 - reference": lambda r: 1 - r,
    "1 + reference": lambda r: 1 + r,
    "1/reference": lambda r: 1 / r,
    "exp(reference)": np.exp,
    "log(reference)": np.log,
    "log(1 + reference)": np.log1p,
    "exp(reference) - 1": np.expm1,
    "tanh(reference)": np.tanh,
    "1/(1 + exp(-reference))": lambda r: 1 / (1 + np.exp(-r)),
    "max(reference, 0)": lambda r: np.maximum(r, 0),
    "reference rounded": np.round,
    "reference / sum over its last axis": lambda r: r / r.sum(-1, keepdims=True) if r.ndim else r,
    "reference / its largest entry": lambda r: r / r.max(),
    "reference / its norm": lambda r: r / np.sqrt(np.sum(r * r)),
    "reference less its mean": lambda r: r - r.mean(),
    "softmax of reference over the last axis": lambda r: (
        np.exp(r - r.max(-1, keepdims=True))
        / np.exp(r - r.max(-1, keepdims=True)).sum(-1, keepdims=True)
        if r.ndim
        else r
    ),
}


def mapped(samples: Sequence[Sample]) -> list[Fit]:
    """yours = f(reference), number by number."""
    if not alike(samples) or sum(s.user.size for s in samples) < 3:
        return []
    found = []
    for text, function in MAPS.items():
        fit = judge(
            "function", f"yours = {text}", samples, [function(s.reference) for s in samples]
        )
        if fit.exact:
            found.append(fit)
    return found


def clipped(samples: Sequence[Sample]) -> Fit | None:
    """yours = reference held between two numbers."""
    if not alike(samples) or any(s.user.size < 4 for s in samples):
        return None
    high = [float(np.max(s.user)) for s in samples]
    low = [float(np.min(s.user)) for s in samples]
    top = (
        max(high)
        if any(np.max(s.reference) > max(high) + SLACK * s.allowed for s in samples)
        else np.inf
    )
    bottom = (
        min(low)
        if any(np.min(s.reference) < min(low) - SLACK * s.allowed for s in samples)
        else -np.inf
    )
    if not (np.isfinite(top) or np.isfinite(bottom)):
        return None
    fit = judge(
        "clip",
        f"yours is the reference held between {bottom:.6g} and {top:.6g}",
        samples,
        [np.clip(s.reference, bottom, top) for s in samples],
        3,
    )
    kept = sum(int(np.sum((s.reference < top) & (s.reference > bottom))) for s in samples)
    hit = sum(int(np.sum((s.reference >= top) | (s.reference <= bottom))) for s in samples)
    return fit if fit.exact and kept > 2 and hit > 1 else None


def rounded(samples: Sequence[Sample]) -> Fit | None:
    """float32 (or float16) somewhere inside a float64 computation."""
    if not alike(samples):
        return None
    worst, total, single, half = 0.0, 0, True, True
    for s in samples:
        ok = finite_in(s.user, s.reference)
        size = float(np.max(np.abs(s.reference[ok]), initial=0.0))
        if not size:
            continue
        worst = max(worst, float(np.max(np.abs(s.user - s.reference)[ok], initial=0.0)) / size)
        total += int(ok.sum())
        single &= bool(np.array_equal(s.user[ok], s.user[ok].astype(np.float32).astype(np.float64)))
        half &= bool(np.array_equal(s.user[ok], s.user[ok].astype(np.float16).astype(np.float64)))
    if total < 4 or not worst:
        return None
    places = {decimals(s.user) for s in samples}
    k = places.pop() if len(places) == 1 else None
    if k is not None:
        half_a_unit = 0.5 * 10.0**-k * (1 + 1e-9)
        if all(np.all(np.abs(s.user - s.reference) <= half_a_unit + s.allowed) for s in samples):
            text = f"yours is the reference rounded to {k} decimals"
            return Fit("rounding", text, 0.0, worst)
    for name, holds, eps in (("float16", half, 1e-3), ("float32", single, 1.2e-7)):
        if holds and worst < 1e3 * eps:
            return Fit(
                "rounding",
                f"yours was rounded to {name}: every number is one that {name} holds, "
                f"within {worst:.1g} of the largest",
                0.0,
                worst,
            )
    return None
