"""Generic fits: another tensor of the case added, multiplied in, or taken instead."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from parity_tests.harness.compare import lexicon
from parity_tests.harness.compare.sample import (
    Fit,
    Sample,
    align,
    alike,
    judge,
    number_text,
    slack_of,
    slope,
)

Array = np.ndarray[Any, np.dtype[Any]]


def known_tensor(samples: Sequence[Sample]) -> list[Fit]:
    """yours is c times some other tensor of the case."""
    found: list[Fit] = []
    if any(s.user.size < 2 or not np.any(s.user) for s in samples):
        return found
    for name in samples[0].known:
        if not all(name in s.known for s in samples):
            continue
        others = [s.known[name] for s in samples]
        if any(z.shape != s.user.shape or not np.any(z) for z, s in zip(others, samples)):
            continue
        values = [slope(s.user, z) for s, z in zip(samples, others)]
        fit = judge("tensor", "", samples, [v * z for v, z in zip(values, others)], 2)
        if fit.exact and all(values) and not all(np.ptp(s.user) == 0 for s in samples):
            text = number_text(values, samples)
            if text is None:
                continue
            one = all(math.isclose(v, 1, rel_tol=1e-9) for v in values)
            found.append(
                Fit(
                    "tensor",
                    f"yours is {'' if one else text[0] + ' * '}{name}{'' if one else text[1]}",
                    fit.units,
                    fit.residual,
                    cost=1,
                )
            )
    return found


def added(samples: Sequence[Sample]) -> list[Fit]:
    """yours = reference + c * another tensor of the case, or of its sign, or of a product."""
    found: list[Fit] = []
    if not alike(samples) or any(s.user.size < 2 for s in samples):
        return found
    gaps = [s.user - s.reference for s in samples]
    for name, build in _terms(samples).items():
        built = [build(s) for s in samples]
        others = [
            z
            for z, s in zip(built, samples)
            if z is not None and z.shape == s.user.shape and np.any(z)
        ]
        if len(others) < len(samples):
            continue
        values = [slope(g, z) for g, z in zip(gaps, others)]
        predicted = [s.reference + v * z for s, v, z in zip(samples, values, others)]
        fit = judge("added", "", samples, predicted, 2)
        if fit.exact and all(values):
            loose = max(slack_of(s, g) for s, g in zip(samples, gaps))
            text = number_text(values, samples, max(1e-8, 4 * loose))
            if text is not None:
                one = math.isclose(values[0], 1, rel_tol=1e-8)
                minus = math.isclose(values[0], -1, rel_tol=1e-8)
                how = (
                    f"+ {name}"
                    if one
                    else f"- {name}"
                    if minus
                    else f"+ {text[0]} * {name}{text[1]}"
                )
                found.append(
                    Fit("added", f"yours = reference {how}", fit.units, fit.residual, cost=2)
                )
    return found


def _known(name: str, function: Callable[[Array], Array], s: Sample) -> Array | None:
    x = s.known.get(name)
    if x is None or x.ndim > s.user.ndim:
        return None
    try:
        return np.broadcast_to(function(x), s.user.shape)
    except ValueError:
        return None


def _product(a: str, b: str, s: Sample) -> Array | None:
    x, y = s.known.get(a), s.known.get(b)
    return x * y if x is not None and y is not None and x.shape == y.shape else None


def _terms(samples: Sequence[Sample]) -> dict[str, Callable[[Sample], Array | None]]:
    shape = samples[0].user.shape

    terms: dict[str, Callable[[Sample], Array | None]] = {}
    names = [n for n in samples[0].known if _known(n, np.asarray, samples[0]) is not None]
    for name in names:
        terms[name] = functools.partial(_known, name, np.asarray)
        if samples[0].known[name].shape == shape:
            terms[f"sign({name})"] = functools.partial(_known, name, np.sign)
    full = [n for n in names if samples[0].known[n].shape == shape and shape][:6]
    for a, b in itertools.combinations_with_replacement(full, 2):
        terms[f"{a} * {b}"] = functools.partial(_product, a, b)
    return terms


def scaled_by(samples: Sequence[Sample]) -> list[Fit]:
    """yours = reference times (or over) another tensor of the case, broadcast."""
    found: list[Fit] = []
    if not alike(samples) or any(s.user.size < 2 for s in samples):
        return found
    powers: dict[str, Callable[[Array], Array]] = {
        "{}": lambda z: z,
        "1/{}": lambda z: 1 / z,
        "(1 + {})": lambda z: 1 + z,
        "(1 - {})": lambda z: 1 - z,
        "(1 + {})/{}": lambda z: (1 + z) / z,
        "{}^2": lambda z: z * z,
        "sqrt({})": np.sqrt,
        "1/sqrt({})": lambda z: 1 / np.sqrt(z),
        "sign({})": np.sign,
        "({} > 0)": lambda z: (z > 0).astype(float),
        "({} >= 0)": lambda z: (z >= 0).astype(float),
        "({} != 0)": lambda z: (z != 0).astype(float),
        "exp({})": np.exp,
    }
    for name in samples[0].known:
        if samples[0].known[name].ndim == 0 or samples[0].known[name].ndim > samples[0].user.ndim:
            continue
        for text, power in powers.items():
            try:
                predicted = [
                    s.reference * np.broadcast_to(align(power(s.known[name]), s.user), s.user.shape)
                    for s in samples
                ]
            except (ValueError, KeyError):
                continue
            fit = judge(
                "scaled", f"yours = reference * {text.replace('{}', name)}", samples, predicted, 3
            )
            if fit.exact and any(np.any(s.user) for s in samples):
                found.append(fit)
    return found


def running(samples: Sequence[Sample]) -> Fit | None:
    """yours = a * old + b * new, where the reference mixes the same two differently."""
    used = [
        s for s in samples if s.old is not None and s.old.shape == s.user.shape == s.reference.shape
    ]
    if not used or any(s.user.size < 3 for s in used) or "momentum" not in used[0].sizes:
        return None
    values = []
    for s in used:
        m = s.sizes["momentum"]
        old_value = np.asarray(s.old, float)
        new = (s.reference - (1 - m) * old_value) / m
        design = np.stack([np.ravel(old_value), np.ravel(new)], axis=1)
        found, *_ = np.linalg.lstsq(design, np.ravel(s.user), rcond=None)
        values.append((float(found[0]), float(found[1]), np.reshape(design @ found, s.user.shape)))
    fit = judge("running average", "", used, [v[2] for v in values], 2)
    if not fit.exact:
        return None
    old = _mix([v[0] for v in values], used)
    new_text = _mix([v[1] for v in values], used)
    if old is None or new_text is None:
        return None
    m = used[0].sizes["momentum"]
    nothing_kept = all(abs(v[0]) < 1e-12 for v in values)
    if nothing_kept:
        text = (
            f"yours keeps nothing of the old value and takes {new_text} of "
            f"the new, as if it started "
            f"at the first batch; the reference keeps {1 - m:.4g} and takes {m:.4g}"
        )
    else:
        text = (
            f"yours keeps {old} of the old value and takes {new_text} of the new; "
            f"the reference keeps {1 - m:.4g} and takes {m:.4g}"
        )
    return Fit("running average", text, fit.units, fit.residual, cost=0)


def _mix(values: Sequence[float], samples: Sequence[Sample]) -> str | None:
    if all(abs(v) < 1e-12 for v in values):
        return "0"
    names = lexicon.name_of(values, [s.sizes for s in samples], 1e-7)
    m = [s.sizes["momentum"] for s in samples]
    for rest, text in ((m, "momentum"), ([1 - x for x in m], "(1-momentum)")):
        parts = lexicon.name_of(
            [v / r for v, r in zip(values, rest)], [s.sizes for s in samples], 1e-7
        )
        if parts and parts[0] != "1":
            ratio = lexicon.describe(parts[0], samples[0].sizes)
            if not names or len(parts[0]) < len(names[0]):
                return f"{values[0]:.6g} = {text} * {ratio}"
        if parts and parts[0] == "1":
            return f"{values[0]:.6g} = {text}"
    if names:
        return f"{values[0]:.6g} = {lexicon.describe(names[0], samples[0].sizes)}"
    same = all(math.isclose(v, values[0], rel_tol=1e-7) for v in values)
    return f"{values[0]:.6g}" if same else None
