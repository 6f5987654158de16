"""A smooth function of a few numbers taken to its minimum, and to the last digits of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from numpy_impl.module import Array, Parameter

__all__ = ["minimize"]

POLISH = 30  # whole quasi-Newton steps at the end, at most
Slope = tuple[float, float, Array, float]  # step, value, gradient, its product with the direction


def minimize(
    closure: Callable[[], float],
    parameters: Sequence[Parameter],
    max_iter: int = 200,
    tolerance: float = 1e-10,
) -> float:
    """Move the parameters to a minimum of what the closure returns; returns the value there.

    L-BFGS (Liu & Nocedal 1989; Nocedal & Wright 2006, algorithms 7.4, 3.5 and 3.6): with s the
    steps and y the changes of the gradient that they made,

        direction = -H g,   H from the pairs (s, y) by the two-loop recursion

    and along it a step to where the value has fallen enough and the slope is gentle (the strong
    Wolfe conditions), found by cubic interpolation. Differences of values drown in rounding while
    the gradient is still 1e-8 or so; from there on whole steps are taken by the gradient alone.

    Args:
        closure: computes the value and puts the gradient into each parameter's `.grad`.
        tolerance: on every element of the gradient.

    Raises:
        FloatingPointError: the value or the gradient is NaN or infinite where it starts.
    """
    x = np.concatenate([p.data.ravel() for p in parameters]).astype(np.float64)

    def evaluate(at: Array) -> tuple[float, Array]:
        start = 0
        for p in parameters:
            stop = start + p.data.size
            p.data[...] = at[start:stop].reshape(p.shape)
            start = stop
        value = float(closure())
        grads = [np.zeros(p.shape) if p.grad is None else p.grad for p in parameters]
        return value, np.concatenate([np.ravel(g) for g in grads]).astype(np.float64)

    value, g = evaluate(x)
    if not (np.isfinite(value) and np.isfinite(g).all()):
        raise FloatingPointError(f"the value is {value} where the search starts, gradient {g}")
    pairs: list[tuple[Array, Array]] = []
    for iteration in range(max_iter):
        if np.abs(g).max() <= tolerance:
            break
        d = -_times_inverse_hessian(pairs, g)
        slope = float(g @ d)
        if slope > -1e-12:
            break
        first = 1.0 if iteration else min(1.0, 1.0 / float(np.abs(g).sum()))
        t, new_value, new_g = _line_search(lambda t: evaluate(x + t * d), first, value, g, d)  # noqa: B023
        _remember(pairs, t * d, new_g - g)
        x, fallen = x + t * d, value - new_value
        value, g = new_value, new_g
        if np.abs(t * d).max() <= 1e-12 or abs(fallen) < 1e-12:
            break
    for _ in range(POLISH if np.abs(g).max() > tolerance else 0):
        step = -_times_inverse_hessian(pairs, g)
        new_value, new_g = evaluate(x + step)
        if not np.abs(new_g).max() < np.abs(g).max():
            break
        _remember(pairs, step, new_g - g)
        x, value, g = x + step, new_value, new_g
    return evaluate(x)[0]


def _times_inverse_hessian(pairs: list[tuple[Array, Array]], g: Array) -> Array:
    """H g, where H takes each y to its s and is a multiple of the identity across them."""
    q, weights = g.copy(), []
    for s, y in reversed(pairs):
        weights.append(float(s @ q) / float(y @ s))
        q -= weights[-1] * y
    if pairs:
        s, y = pairs[-1]
        q *= float(y @ s) / float(y @ y)
    for (s, y), weight in zip(pairs, reversed(weights)):
        q += (weight - float(y @ q) / float(y @ s)) * s
    return q


def _remember(pairs: list[tuple[Array, Array]], s: Array, y: Array) -> None:
    if s @ y > 1e-10:  # curvature upwards, and more than rounding
        pairs.append((s, y))


def _line_search(
    evaluate: Callable[[float], tuple[float, Array]], t: float, value: float, g: Array, d: Array
) -> tuple[float, float, Array]:
    """A step t along d that meets the strong Wolfe conditions, with the value and gradient there.

    Steps grow until two of them bracket such a point, then the bracket shrinks around it.
    """
    slope = float(g @ d)

    def at(t: float) -> Slope:
        value, g = evaluate(t)
        return t, value, g, float(g @ d)

    def too_high(end: Slope) -> bool:
        return not end[1] <= value + 1e-4 * end[0] * slope  # NaN is too high

    def gentle(end: Slope) -> bool:
        return abs(end[3]) <= -0.9 * slope

    previous, end = (0.0, value, g, slope), at(t)
    for tries in range(25):
        if too_high(end) or (tries > 1 and end[1] >= previous[1]):
            break
        if gentle(end):
            return end[:3]
        if end[3] >= 0:
            break
        t = _cubic(previous, end, end[0] + 0.01 * (end[0] - previous[0]), 10 * end[0])
        previous, end = end, at(t)
    low, high = (end, previous) if end[1] < previous[1] else (previous, end)  # NaN is never low
    stuck = False
    for _ in range(25):
        left, right = sorted((low[0], high[0]))
        if (right - left) * np.abs(d).max() < 1e-12:
            break
        t = _cubic(low, high, left, right)
        margin = 0.1 * (right - left)
        if min(right - t, t - left) < margin:  # again and again the same end: step away from it
            if stuck or t >= right or t <= left:
                t = right - margin if right - t < t - left else left + margin
                stuck = False
            else:
                stuck = True
        else:
            stuck = False
        new = at(t)
        if too_high(new) or new[1] >= low[1]:
            high = new
            if high[1] < low[1]:
                low, high = high, low
        else:
            if gentle(new):
                return new[:3]
            if new[3] * (high[0] - low[0]) >= 0:
                high = low
            low = new
    return low[:3]


def _cubic(a: Slope, b: Slope, lowest: float, highest: float) -> float:
    """Where the cubic through two values and slopes is least, within bounds."""
    (ta, fa, _, ga), (tb, fb, _, gb) = (a, b) if a[0] <= b[0] else (b, a)
    d1 = ga + gb - 3 * (fa - fb) / (ta - tb)
    square = d1 * d1 - ga * gb
    if not square >= 0:
        return 0.5 * (lowest + highest)
    d2 = float(np.sqrt(square))
    least = tb - (tb - ta) * ((gb + d2 - d1) / (gb - ga + 2 * d2))
    return min(max(least, lowest), highest)
