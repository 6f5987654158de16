"""Generic fits: a difference confined to some slices, or to where an input is special."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from parity_tests.harness.compare.fit_terms import added, known_tensor
from parity_tests.harness.compare.fit_whole import constant, factor, offset, zero
from parity_tests.harness.compare.sample import EPS, SLACK, Fit, Sample, alike, judge

Array = np.ndarray[Any, np.dtype[Any]]


def by_slice(samples: Sequence[Sample]) -> list[Fit]:
    """One factor, or one number added, for each index of some axes: a description."""
    found: list[Fit] = []
    if not alike(samples):
        return found
    ndim = samples[0].user.ndim
    for k in range(1, ndim):
        for axes in itertools.combinations(range(ndim), k):
            reduced = tuple(a for a in range(ndim) if a not in axes)
            if any(np.prod([s.user.shape[a] for a in reduced], dtype=int) < 3 for s in samples):
                continue
            name = "each index of axis " + ", ".join(map(str, axes))
            ratio, shift = [], []
            for s in samples:
                bottom = np.sum(s.reference**2, axis=reduced, keepdims=True)
                top = np.sum(s.user * s.reference, axis=reduced, keepdims=True)
                ratio.append(
                    s.reference * np.where(bottom > 0, top / np.where(bottom > 0, bottom, 1), 0)
                )
                shift.append(
                    s.reference + np.mean(s.user - s.reference, axis=reduced, keepdims=True)
                )
            for kind, text, predicted in (
                ("slices", f"yours = reference times one factor for {name}", ratio),
                ("slices", f"yours = reference plus one number for {name}", shift),
            ):
                fit = judge(kind, text, samples, predicted, 3 + k, complete=False)
                if fit.exact:
                    found.append(fit)
    return found[:2]


def regions(samples: Sequence[Sample]) -> list[Fit]:
    """The difference is confined to where an input is 0, negative, tied, at a border ..."""
    found: list[Fit] = []
    if not alike(samples) or samples[0].user.ndim == 0:
        return found
    wrong = []
    for s in samples:
        with np.errstate(all="ignore"):
            both = np.isnan(s.user) & np.isnan(s.reference)
            apart = np.abs(s.user - s.reference)
            limit = SLACK * s.allowed + 32 * EPS * np.abs(s.reference)
            wrong.append(~((s.user == s.reference) | both | (apart <= limit)))
    count, total = sum(int(w.sum()) for w in wrong), sum(w.size for w in wrong)
    if not count or count == total:
        return found
    for text, masks in _masks(samples, wrong).items():
        inside = sum(int(m.sum()) for m in masks)
        if not inside or inside == total or any(np.any(w & ~m) for w, m in zip(wrong, masks)):
            continue
        filled = count / inside
        if filled < 0.5:
            continue
        rest = [
            Sample(
                s.user[m],
                s.reference[m],
                s.allowed,
                {k: v[m] for k, v in s.known.items() if v.shape == m.shape},
                s.sizes,
            )
            for s, m in zip(samples, masks)
            if m.any()
        ]
        where = f"differs only {text} ({count} of {inside} such elements)"
        inner: list[Fit] = []
        if sum(r.user.size for r in rest) >= 2:
            for guess in (zero, constant, factor, known_tensor, offset, added):
                result = guess(rest)
                inner += [f for f in (result if isinstance(result, list) else [result]) if f]
            inner = [f for f in inner if f.exact and f.complete]
        if inner:
            best = min(inner, key=lambda f: f.cost)
            found.append(
                Fit(
                    "region",
                    f"{where}; there {best.text}",
                    best.units,
                    best.residual,
                    cost=3 + best.cost + (filled < 1),
                )
            )
        else:
            found.append(Fit("region", where, 0.0, 1.0, complete=False, cost=5 + (filled < 1)))
    return found


def _masks(samples: Sequence[Sample], wrong: list[Array]) -> dict[str, list[Array]]:
    """Where something is special, by name, for every sample."""
    masks: dict[str, list[Array]] = {}
    shape = samples[0].user.shape
    for name in samples[0].known:
        like = samples[0].known[name]
        if like.shape != shape or not all(
            name in s.known and s.known[name].shape == s.user.shape for s in samples
        ):
            continue
        values = [s.known[name] for s in samples]
        masks[f"where {name} is exactly 0"] = [v == 0 for v in values]
        masks[f"where {name} is negative"] = [v < 0 for v in values]
        masks[f"where {name} is not positive"] = [v <= 0 for v in values]
        masks[f"where {name} is positive"] = [v > 0 for v in values]
        if name.startswith("input"):
            for axis in range(len(shape)):
                masks[f"where {name} is the largest along axis {axis}"] = [
                    v == v.max(axis=axis, keepdims=True) for v in values
                ]
                tied = [_tied_along(v, axis) for v in values]
                masks[f"where entries of {name} are equal along axis {axis}"] = tied
            for edge in (1.0, -1.0):
                masks[f"where {name} is {edge:g}"] = [v == edge for v in values]
    for name in [n for n in masks if n.endswith("is exactly 0")]:
        name = name.removeprefix("where ").removesuffix(" is exactly 0")
        values = [s.known[name] for s in samples]
        masks |= _threshold(name, values, wrong) | _threshold(
            f"|{name}|", [np.abs(v) for v in values], wrong
        )
    for axis in range(len(shape)):
        for text, at in (
            ("at the first index", (0,)),
            ("at the last index", (-1,)),
            ("at the borders", (0, -1)),
        ):
            if any(s.user.shape[axis] < 3 for s in samples):
                continue
            masks[f"{text} of axis {axis}"] = [_at(s.user.shape, [axis], at) for s in samples]
    if len(shape) >= 3 and all(min(s.user.shape[-2:]) >= 3 for s in samples):
        masks["at the borders of the last two axes"] = [
            _at(s.user.shape, [s.user.ndim - 2, s.user.ndim - 1], (0, -1)) for s in samples
        ]
    for i, name in enumerate(n for n in samples[0].known if n.startswith("class")):
        if i < 1 and samples[0].known[name].shape == shape:
            masks["at the target class"] = [s.known[name] > 0 for s in samples]
            masks["away from the target class"] = [s.known[name] == 0 for s in samples]
    if len(shape) >= 2 and shape[-1] == shape[-2]:
        grid = [
            np.subtract.outer(np.arange(s.user.shape[-2]), np.arange(s.user.shape[-1]))
            for s in samples
        ]
        masks["on the diagonal"] = [
            np.broadcast_to(g == 0, s.user.shape) for g, s in zip(grid, samples)
        ]
        masks["above the diagonal"] = [
            np.broadcast_to(g < 0, s.user.shape) for g, s in zip(grid, samples)
        ]
        masks["below the diagonal"] = [
            np.broadcast_to(g > 0, s.user.shape) for g, s in zip(grid, samples)
        ]
    return masks


def _threshold(name: str, values: list[Array], wrong: list[Array]) -> dict[str, list[Array]]:
    """Above or below one number of this tensor, if that parts wrong from right."""
    bad = np.concatenate([v[w] for v, w in zip(values, wrong)])
    good = np.concatenate([v[~w] for v, w in zip(values, wrong)])
    if len(bad) < 2 or len(good) < 2:
        return {}
    if bad.min() > good.max():
        text = f"where {name} is above a number between {good.max():.4g} and {bad.min():.4g}"
        return {text: [v >= bad.min() for v in values]}
    if bad.max() < good.min():
        text = f"where {name} is below a number between {bad.max():.4g} and {good.min():.4g}"
        return {text: [v <= bad.max() for v in values]}
    return {}


def _tied_along(v: Array, axis: int) -> Array:
    moved = np.moveaxis(v, axis, -1)
    if moved.shape[-1] > 256:
        return np.zeros(v.shape, bool)
    equal = (moved[..., :, None] == moved[..., None, :]).sum(-1) > 1
    return np.moveaxis(equal, -1, axis)


def _at(shape: tuple[int, ...], axes: list[int], indices: tuple[int, ...]) -> Array:
    mask = np.zeros(shape, bool)
    for axis in axes:
        for i in indices:
            mask[tuple([slice(None)] * axis + [i])] = True
    return mask
