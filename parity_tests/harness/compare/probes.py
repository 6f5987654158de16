"""Probes of the user's code alone: does its backward fit its forward, what depends on what?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from parity_tests.harness.compare.locate import Nearby
from parity_tests.harness.compare.own_code import OwnCode
from parity_tests.harness.compare.reference import Reference
from parity_tests.harness.compare.sample import decimals
from parity_tests.harness.compare.trials import Trial

Array = np.ndarray[Any, np.dtype[Any]]
Index = tuple[int, ...]


def own_slopes(
    code: OwnCode, trial: Trial, labels: list[str]
) -> dict[str, tuple[bool, float, float]]:
    """Is the gradient the slope of the user's own forward? label -> (yes, slope, by backward)."""
    found = {}
    rng = np.random.default_rng(trial.seed)
    for label in labels:
        name = label.removeprefix("gradient ")
        key = name if name.startswith("input") else f"state {name}"
        gradient = trial.user.found.get(label)
        x = trial.given.get(key)
        if x is None or gradient is None or x.dtype.kind != "f" or gradient.shape != x.shape:
            continue
        v = rng.standard_normal(x.shape)

        def value(h: float, key: str = key, x: Array = x, v: Any = v) -> float:
            given = {**trial.given, key: x + h * v}
            ran = code.run(given, trial.mode, trial.seed, trial.set_buffers, False, trial.warm)
            return _scalar(trial.given, ran.found)

        h = 1e-5
        slope = (value(h) - value(-h)) / (2 * h)
        far = (value(2 * h) - value(-2 * h)) / (4 * h)
        ours = float(np.sum(gradient * v))
        allowed = 4 * abs(slope - far) + 1e-6 * (abs(slope) + abs(ours)) + 1e-9
        if np.isfinite(slope) and np.isfinite(ours):
            found[label] = abs(slope - ours) <= allowed, slope, ours
    return found


def _scalar(given: Mapping[str, Array], found: Mapping[str, Array]) -> float:
    total = 0.0
    for label, y in found.items():
        if label.startswith("forward output"):
            dy = given.get("cotangent" + label.removeprefix("forward output"))
            total += float(np.sum(dy * y)) if dy is not None and dy.shape == np.shape(y) else 0.0
    return total


def dependence(code: OwnCode, reference: Reference, trial: Trial) -> list[str]:
    """Which outputs move when one input does, on one side only: leaks along an axis."""
    y = trial.reference.get("forward output")
    if y is None or y.ndim == 0 or trial.user.found["forward output"].shape != y.shape:
        return []

    def mine(given: Mapping[str, Array]) -> Array:
        ran = code.run(given, trial.mode, trial.seed, trial.set_buffers, False, trial.warm)
        return ran.found["forward output"]

    def theirs(given: Mapping[str, Array]) -> Array:
        return reference.run(
            given, trial.mode, trial.seed, trial.set_buffers, trial.warm, backward=False
        )["forward output"]

    lines: list[str] = []
    for key, x in trial.given.items():
        if not key.startswith("input") or x.dtype.kind != "f" or not 1 < x.size <= 4096:
            continue
        pairs: dict[str, list[tuple[Index, Index]]] = {
            "moves yours and not the reference's": [],
            "moves the reference's and not yours": [],
        }
        for flat in np.unique(np.linspace(0, x.size - 1, min(x.size, 12)).astype(int)):
            at = tuple(int(i) for i in np.unravel_index(int(flat), x.shape))
            moved = x.copy()
            moved[at] += 0.37 * (1 + abs(moved[at]))
            try:
                a = _moved(mine, trial.given, {**trial.given, key: moved})
                b = _moved(theirs, trial.given, {**trial.given, key: moved})
            except Exception:
                return lines
            for out in np.argwhere(a & ~b):
                pairs["moves yours and not the reference's"].append((at, tuple(map(int, out))))
            for out in np.argwhere(b & ~a):
                pairs["moves the reference's and not yours"].append((at, tuple(map(int, out))))
        for text, found in pairs.items():
            if found:
                start, end = found[0]
                lines.append(f"{key}[{_at(start)}] {text} output[{_at(end)}]{_across(found)}")
    return lines


def _across(pairs: list[tuple[Index, Index]]) -> str:
    """What all these leaks have in common, axis by axis."""
    said = []
    for axis in range(min(len(pairs[0][0]), len(pairs[0][1]))):
        steps = [out[axis] - at[axis] for at, out in pairs]
        if all(s < 0 for s in steps):
            said.append(f"always from a later to an earlier index of axis {axis}")
        elif all(s > 0 for s in steps):
            said.append(f"always from an earlier to a later index of axis {axis}")
        elif all(s != 0 for s in steps):
            said.append(f"always across axis {axis}")
    return f" ({', '.join(said)})" if said and len(pairs) > 1 else ""


def narrowed(code: OwnCode, reference: Reference, trial: Trial) -> list[str]:
    """What the user's forward rounds to float32: rounding it beforehand changes nothing there."""
    found = []
    mine = code.run(trial.given, trial.mode, trial.seed, trial.set_buffers, False, trial.warm).found
    theirs = trial.reference.get("forward output")
    if decimals(mine["forward output"]) is not None:
        return []  # it is the output that is rounded
    for key, x in trial.given.items():
        if not key.startswith(("input", "state")) or x.dtype != np.float64 or not x.size:
            continue
        given = {**trial.given, key: x.astype(np.float32).astype(np.float64)}
        if np.array_equal(given[key], x):
            continue
        a = code.run(given, trial.mode, trial.seed, trial.set_buffers, False, trial.warm).found
        b = reference.run(
            given, trial.mode, trial.seed, trial.set_buffers, trial.warm, backward=False
        )
        same = np.array_equal(a["forward output"], mine["forward output"])
        if same and theirs is not None and not np.array_equal(b["forward output"], theirs):
            found.append(key.removeprefix("state "))
    return found


def updates_early(code: OwnCode, trial: Trial, label: str) -> bool:
    """Whether a backward that updates by itself does so before it uses the parameters."""
    if not code.rated:
        return False
    rate, code.rate = code.rate, 2.0**-60
    try:
        found = code.run(
            trial.given, trial.mode, trial.seed, trial.set_buffers, True, trial.warm
        ).found
    finally:
        code.rate = rate
    y, wanted = found.get(label), trial.reference[label]
    return (
        y is not None
        and y.shape == wanted.shape
        and bool(np.all(np.abs(y - wanted) <= 4 * trial.allowed[label]))
    )


def unstable(code: OwnCode, trial: Trial, label: str) -> float:
    """How much of the distance from the reference is noise: near 1 rounding, near 0 a formula.

    Measured by moving the inputs by one unit in the last place and seeing what that does to the
    user's own result.
    """
    near = Nearby(seed=trial.seed)
    mine = np.asarray(trial.user.found[label], float)
    distance = np.abs(mine - trial.reference[label])
    moved = np.zeros_like(distance)
    for _ in range(3):
        found = code.run(
            near.moved(trial.given), trial.mode, trial.seed, trial.set_buffers, True, trial.warm
        ).found
        other = np.asarray(found.get(label, mine), float)
        if other.shape != mine.shape:
            return 0.0
        moved = np.maximum(moved, np.abs(other - mine))
    bottom = float(np.sqrt(np.nanmean(distance**2)))
    return float(np.sqrt(np.nanmean(moved**2))) / bottom if bottom else 0.0


def reshaped(code: OwnCode, trial: Trial, label: str) -> str:
    """Whether the code is right once an input has the shape of another: what broadcasting hid."""
    inputs = {k: x for k, x in trial.given.items() if k.startswith("input")}
    wanted = trial.reference[label]
    for key, x in inputs.items():
        for other, like in inputs.items():
            if x.ndim >= like.ndim or x.size != like.size or x.dtype.kind != "f":
                continue
            given = {**trial.given, key: x.reshape(like.shape)}
            y = code.run(given, trial.mode, trial.seed, trial.set_buffers, False).found.get(label)
            if y is not None and y.shape == wanted.shape:
                if np.all(np.abs(y - wanted) <= 4 * trial.allowed.get(label, 0.0)):
                    wide = np.broadcast_shapes(x.shape, like.shape)
                    return (
                        f"yours broadcasts {other} {like.shape} with {key} {x.shape} to {wide}, "
                        f"every one with every other; with {key} as {like.shape} it agrees"
                    )
    return ""


def turned(code: OwnCode, trial: Trial) -> str:
    """Whether the code is right for inputs with features first, where torch has them last."""
    given = {
        k: x.T.copy() if k.startswith("input") and x.ndim == 2 else x
        for k, x in trial.given.items()
    }
    ran = code.run(given, trial.mode, trial.seed, trial.set_buffers, False)
    y, wanted = ran.found.get("forward output"), trial.reference.get("forward output")
    if y is None or wanted is None or wanted.ndim != 2 or y.T.shape != wanted.shape:
        return ""
    scale = float(np.max(np.abs(wanted), initial=0.0))
    if not np.all(np.abs(y.T - wanted) <= 1e-12 * scale):
        return ""
    return (
        "yours has features first and samples last, torch has samples first: with the input "
        "transposed and the output transposed back it agrees. Hand over x.T and take y.T to "
        "compare its gradients too"
    )


def wide_agrees(code: OwnCode, trial: Trial, label: str) -> bool:
    """Whether the user's code is right in extended precision, so that only rounding parts it."""
    if np.finfo(np.longdouble).eps >= np.finfo(np.float64).eps or trial.warm:
        return False
    given = {
        k: x.astype(np.longdouble) if x.dtype == np.float64 else x for k, x in trial.given.items()
    }
    ran = code.run(given, trial.mode, trial.seed, trial.set_buffers, True)
    y, wanted = ran.found.get(label), trial.reference[label]
    if y is None or y.dtype != np.longdouble or y.shape != wanted.shape:
        return False
    limit = max(trial.allowed.get(label, 0.0), float(np.finfo(np.float64).tiny))
    return bool(np.all(np.abs(y - wanted) <= limit))


def _moved(
    run: Callable[[Mapping[str, Array]], Array],
    before: Mapping[str, Array],
    after: Mapping[str, Array],
) -> Array:
    a, b = run(before), run(after)
    with np.errstate(all="ignore"):
        size = float(np.max(np.abs(a[np.isfinite(a)]), initial=1e-30))
        return np.asarray(~(np.abs(a - b) <= 1e-12 * size))


def _at(index: tuple[int, ...]) -> str:
    return ", ".join(map(str, index))
