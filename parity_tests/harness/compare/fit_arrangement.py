"""Generic fits: the right numbers in the wrong shape, order or place."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from parity_tests.harness.compare.sample import EPS, SLACK, Fit, Sample, alike, finite_in, judge

Array = np.ndarray[Any, np.dtype[Any]]


REDUCTIONS: dict[str, Callable[..., Array]] = {"summed": np.sum, "averaged": np.mean}


def shapes(samples: Sequence[Sample]) -> list[Fit]:
    """A wrong shape: reduced, not reduced, or laid out in another way."""
    found: list[Fit] = []
    if alike(samples):
        return found
    u, r = samples[0].user, samples[0].reference

    def add(text: str, predict: Callable[[Array], Array]) -> None:
        try:
            predicted = [predict(s.reference) for s in samples]
        except ValueError:
            return
        fit = judge("shape", text, samples, predicted)
        if fit.exact:
            found.append(fit)

    if u.size == r.size:
        add(
            f"the numbers are right, only the shape is not: {u.shape} for {r.shape}",
            lambda x: x.reshape(u.shape) if x.size == u.size else x,
        )
    for axes in itertools.permutations(range(r.ndim)) if 1 < r.ndim <= 4 else []:
        if axes != tuple(range(r.ndim)) and tuple(r.shape[a] for a in axes) == u.shape:
            add(
                f"yours is the reference with its axes in the order {axes}"
                if r.ndim > 2
                else "yours is the reference transposed",
                functools.partial(np.transpose, axes=axes),
            )
    short = [a for a in range(r.ndim) if u.ndim == r.ndim and u.shape[a] != r.shape[a]]
    if len(short) == 1 and u.shape[short[0]] < r.shape[short[0]]:
        axis = short[0]
        less = r.shape[axis] - u.shape[axis]
        for first in range(less + 1):
            lost = [f"the first {first}"] * (first > 0) + [f"the last {less - first}"] * (
                first < less
            )

            def cut(x: Array, first: int = first) -> Array:
                kept = slice(first, x.shape[axis] - (less - first))
                return x[(slice(None),) * axis + (kept,)]

            add(f"yours is the reference without {' and '.join(lost)} of axis {axis}", cut)
    if u.ndim < r.ndim or u.size < r.size:
        for k in range(1, r.ndim + 1):
            for axes in itertools.combinations(range(r.ndim), k):
                for keep in (False, True):
                    for name, reduce in REDUCTIONS.items():
                        if reduce(r, axis=axes, keepdims=keep).shape == u.shape:
                            where = (
                                "everything" if k == r.ndim else f"axis {', '.join(map(str, axes))}"
                            )
                            add(
                                f"yours is the reference {name} over {where}",
                                functools.partial(reduce, axis=axes, keepdims=keep),
                            )
    if u.size > r.size:
        for k in range(1, u.ndim + 1):
            for axes in itertools.combinations(range(u.ndim), k):
                for name, reduce in (("sum", np.sum), ("mean", np.mean)):
                    if (
                        reduce(u, axis=axes).shape == r.shape
                        or reduce(u, axis=axes, keepdims=True).shape == r.shape
                    ):
                        swapped = [
                            Sample(
                                s.reference.reshape(s.reference.shape),
                                reduce(s.user, axis=axes).reshape(s.reference.shape),
                                s.allowed,
                            )
                            for s in samples
                        ]
                        fit = judge(
                            "shape",
                            f"yours is not reduced: the reference is its {name} over "
                            f"axis {', '.join(map(str, axes))}",
                            swapped,
                            [s.reference for s in swapped],
                        )
                        if fit.exact:
                            found.append(fit)
    return found[:3]


def rearranged(samples: Sequence[Sample]) -> list[Fit]:
    """Transposed, reshaped where it should be transposed, flipped, shifted, or permuted."""
    found: list[Fit] = []
    if not alike(samples) or any(s.user.size < 3 for s in samples):
        return found
    if any(_sorted_apart(s) for s in samples):
        return [f for f in [*_shifts(samples), *_diagonal_shifts(samples)] if f.exact]
    shape = samples[0].user.shape
    ndim = len(shape)
    for axes in itertools.permutations(range(ndim)) if 1 < ndim <= 4 else []:
        if axes == tuple(range(ndim)):
            continue
        if all(tuple(s.reference.shape[a] for a in axes) == s.user.shape for s in samples):
            text = (
                "yours is the reference transposed"
                if ndim == 2
                else (f"yours is the reference with its axes in the order {axes}")
            )
            found.append(
                judge("transpose", text, samples, [s.reference.transpose(axes) for s in samples])
            )
        text = (
            f"yours is read in another order: as if axes {axes} had been reshaped, not transposed"
        )
        found.append(
            judge(
                "reshape",
                text,
                samples,
                [s.reference.transpose(axes).reshape(s.user.shape) for s in samples],
                2,
            )
        )
    for axis in range(ndim):
        found.append(
            judge(
                "flip",
                f"yours is the reference flipped along axis {axis}",
                samples,
                [np.flip(s.reference, axis) for s in samples],
            )
        )
        perm = _permutation(samples[0], axis)
        if perm is not None and sorted(perm) != perm:
            same = [s for s in samples if s.user.shape[axis] == len(perm)]
            if same:
                fit = judge(
                    "permutation",
                    f"yours is the reference with axis {axis} {_order(perm)}",
                    same,
                    [np.take(s.reference, perm, axis) for s in same],
                    2,
                )
                found.append(fit)
    for pair in itertools.combinations(range(ndim), 2):
        found.append(
            judge(
                "flip",
                f"yours is the reference flipped along axes {pair}",
                samples,
                [np.flip(s.reference, pair) for s in samples],
                2,
            )
        )
    return [f for f in found if f.exact]


def _sorted_apart(s: Sample) -> bool:
    """Whether the two do not even hold the same numbers, in whatever order."""
    a, b = np.sort(s.user, axis=None), np.sort(s.reference, axis=None)
    ok = finite_in(a, b)
    size = float(np.max(np.abs(b[ok]), initial=0.0))
    return bool(np.max(np.abs(a[ok] - b[ok]), initial=0.0) > SLACK * s.allowed + 64 * EPS * size)


def _shifts(samples: Sequence[Sample]) -> list[Fit]:
    found = []
    for axis in range(samples[0].user.ndim):
        n = min(s.user.shape[axis] for s in samples)
        for k in (*range(1, min(4, n)), *range(-min(3, n - 1), 0)):
            units, residual, count = 0.0, 0.0, 0
            for s in samples:
                a, b = np.moveaxis(s.user, axis, 0), np.moveaxis(s.reference, axis, 0)
                a, b = (a[k:], b[:-k]) if k > 0 else (a[:k], b[-k:])
                part = Sample(a, b, s.allowed)
                units, residual = max(units, part.near(b)), max(residual, part.residual(b))
                count += a.size if np.ptp(a) else 0
            if count > 4 and units <= 1:
                way = "later" if k > 0 else "earlier"
                found.append(
                    Fit(
                        "shift",
                        f"yours is the reference {abs(k)} place{'s'[: abs(k) > 1]} "
                        f"{way} along axis {axis}",
                        units,
                        residual,
                        cost=3,
                    )
                )
    return found


def _diagonal_shifts(samples: Sequence[Sample]) -> list[Fit]:
    """One place along each of the last two axes, away from the edges."""
    found: list[Fit] = []
    if samples[0].user.ndim < 3 or any(min(s.user.shape[-2:]) < 4 for s in samples):
        return found
    for a, b in ((1, 1), (-1, -1), (1, -1), (-1, 1)):
        units, residual = 0.0, 0.0
        for s in samples:
            moved = np.roll(s.reference, (a, b), (-2, -1))[..., 1:-1, 1:-1]
            part = Sample(s.user[..., 1:-1, 1:-1], moved, s.allowed)
            units, residual = max(units, part.near(moved)), max(residual, part.residual(moved))
        if units <= 1:
            way = " and ".join(
                f"one place {'later' if k > 0 else 'earlier'} along axis {axis}"
                for k, axis in ((a, "-2"), (b, "-1"))
            )
            found.append(
                Fit(
                    "shift",
                    f"away from the edges yours is the reference {way}",
                    units,
                    residual,
                    cost=3,
                )
            )
    return found


def _permutation(s: Sample, axis: int) -> list[int] | None:
    a, b = np.moveaxis(s.user, axis, 0), np.moveaxis(s.reference, axis, 0)
    n = len(a)
    if n < 2 or n > 512:
        return None
    a, b = a.reshape(n, -1), b.reshape(n, -1)
    allowed = SLACK * s.allowed + 64 * EPS * float(np.max(np.abs(b), initial=0.0))
    perm: list[int] = []
    for row in a:
        at = np.flatnonzero(np.max(np.abs(b - row), axis=1) <= allowed)
        if len(at) != 1:
            return None
        perm.append(int(at[0]))
    return perm if len(set(perm)) == n else None


def _order(perm: list[int]) -> str:
    n = len(perm)
    if perm == list(range(n))[::-1]:
        return "reversed"
    k = perm[0]
    if perm == [(i + k) % n for i in range(n)]:
        return f"rolled by {-k if k <= n // 2 else n - k}"
    for blocks in (2, 3, 4):
        if n % blocks == 0 and n > blocks:
            size = n // blocks
            parts = [perm[i * size : (i + 1) * size] for i in range(blocks)]
            if all(p == list(range(p[0], p[0] + size)) and p[0] % size == 0 for p in parts):
                return f"in blocks of {size} in the order {tuple(p[0] // size for p in parts)}"
    for groups in range(2, n):
        if n % groups == 0:
            if perm == np.arange(n).reshape(groups, -1).T.ravel().tolist():
                return f"interleaved: ({groups}, {n // groups}) read as ({n // groups}, {groups})"
    return f"in the order {perm}" if n <= 12 else "in another order"
