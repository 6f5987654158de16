"""A smooth function of a few numbers taken to its minimum, and to the last digits of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import numpy as np

from numpy_impl.module import Array, Parameter

__all__ = ["minimize"]

POLISH = 30  # whole quasi-Newton steps at the end, at most
STILL = 1e-12  # what has moved or fallen by less has stopped
NARROW = 1e-9  # a bracket of steps that differ by less is not searched any further
Pairs = deque[tuple[Array, Array]]  # the last steps, and the changes of the gradient they made
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
        max_iter: directions tried at most; all line searches together may call the closure ten
            times as often.
        tolerance: on every element of the gradient.

    Raises:
        FloatingPointError: the value or the gradient is NaN or infinite where it starts.
    """
    x = np.concatenate([p.data.ravel() for p in parameters])

    def evaluate(at: Array) -> tuple[float, Array]:
        start = 0
        for p in parameters:
            stop = start + p.data.size
            p.data[...] = at[start:stop].reshape(p.shape)
            start = stop
        value = float(closure())
        grads = [np.zeros_like(p.data) if p.grad is None else p.grad for p in parameters]
        return value, np.concatenate([np.ravel(g) for g in grads])

    value, g = evaluate(x)
    if not (np.isfinite(value) and np.isfinite(g).all()):
        raise FloatingPointError(f"the value is {value} where the search starts, gradient {g}")
    pairs: Pairs = deque(maxlen=100)
    tries_left = 10 * max_iter  # as torch counts them
    for iteration in range(max_iter):
        if np.abs(g).max() <= tolerance or tries_left <= 1:
            break
        d = -_times_inverse_hessian(pairs, g)
        slope = float(g @ d)
        if slope > -STILL:
            break
        first = 1.0 if iteration else min(1.0, 1.0 / float(np.abs(g).sum()))
        search = _LineSearch(lambda t: evaluate(x + t * d), d, (0.0, value, g, slope), tries_left)  # noqa: B023
        t, new_value, new_g, _ = search.run(first)
        tries_left = search.tries_left
        _remember(pairs, t * d, new_g - g)
        x, fallen = x + t * d, value - new_value
        value, g = new_value, new_g
        if np.abs(t * d).max() <= STILL or abs(fallen) < STILL:
            break
    for _ in range(POLISH):
        if np.abs(g).max() <= tolerance:
            break
        step = -_times_inverse_hessian(pairs, g)
        _, new_g = evaluate(x + step)
        if not np.abs(new_g).max() < np.abs(g).max():
            break
        _remember(pairs, step, new_g - g)
        x, g = x + step, new_g
    return evaluate(x)[0]


def _times_inverse_hessian(pairs: Pairs, g: Array) -> Array:
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


def _remember(pairs: Pairs, s: Array, y: Array) -> None:
    if s @ y > 1e-10:  # curvature upwards, and more than rounding
        pairs.append((s, y))


class _LineSearch:
    """Looks for a step t along d after which the value has fallen enough and the slope is gentle:

        value(t) <= value(0) + 1e-4 t slope(0),   |slope(t)| <= 0.9 |slope(0)|

    the strong Wolfe conditions (Nocedal & Wright 2006, eq. 3.7). Steps grow until two of them
    bracket such a point, then the bracket shrinks around it.
    """

    def __init__(
        self,
        evaluate: Callable[[float], tuple[float, Array]],
        d: Array,
        start: Slope,
        tries_left: int,
    ) -> None:
        self.evaluate, self.d, self.start, self.tries_left = evaluate, d, start, tries_left

    def run(self, t: float) -> Slope:
        previous, end = self.start, self.at(t)
        steps = 0
        while self.tries_left > 0:
            if self.too_high(end) or (steps > 1 and end[1] >= previous[1]):
                break
            if self.gentle(end):
                return end
            if end[3] >= 0:
                break
            t = _cubic(previous, end, end[0] + 0.01 * (end[0] - previous[0]), 10 * end[0])
            previous, end = end, self.at(t)
            steps += 1
        else:
            previous = self.start
        return self.zoom(previous, end)

    def zoom(self, a: Slope, b: Slope) -> Slope:
        """Shrink the bracket from a to b around the lower of the two, `low`."""
        low, high = (b, a) if b[1] < a[1] else (a, b)  # NaN is never low
        stuck = False
        while self.tries_left > 0:
            left, right = sorted((low[0], high[0]))
            if (right - left) * np.abs(self.d).max() < NARROW:
                break
            t = _cubic(low, high, left, right)
            margin = 0.1 * (right - left)
            close = min(right - t, t - left) < margin
            again = close and (stuck or not left < t < right)
            if again:  # step away from that end
                t = right - margin if right - t < t - left else left + margin
            stuck = close and not again
            new = self.at(t)
            if self.too_high(new) or new[1] >= low[1]:
                low, high = (new, low) if new[1] < low[1] else (low, new)
            elif self.gentle(new):
                return new
            else:
                low, high = new, low if new[3] * (high[0] - low[0]) >= 0 else high
        return low

    def at(self, t: float) -> Slope:
        self.tries_left -= 1
        value, g = self.evaluate(t)
        return t, value, g, float(g @ self.d)

    def too_high(self, end: Slope) -> bool:
        _, value, _, slope = self.start
        return not end[1] <= value + 1e-4 * end[0] * slope  # NaN is too high

    def gentle(self, end: Slope) -> bool:
        return abs(end[3]) <= -0.9 * self.start[3]


def _cubic(a: Slope, b: Slope, lowest: float, highest: float) -> float:
    """Where the cubic through two values and slopes is least, within bounds."""
    (ta, fa, _, ga), (tb, fb, _, gb) = (a, b) if a[0] <= b[0] else (b, a)
    d1 = ga + gb - 3 * (fa - fb) / (ta - tb)
    square = d1 * d1 - ga * gb
    if not square >= 0:
        return 0.5 * (lowest + highest)
    d2 = float(np.sqrt(square))
    below = gb - ga + 2 * d2
    if below == 0:  # no cubic but a parabola, and open downwards
        return highest
    return min(max(tb - (tb - ta) * ((gb + d2 - d1) / below), lowest), highest)
