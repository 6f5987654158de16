"""What can be said of a difference beside its numbers: probes of the code, patterns, sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from parity_tests.harness.compare.cause import Cause, Diagnosis
from parity_tests.harness.compare.context import sample
from parity_tests.harness.compare.own_code import OwnCode
from parity_tests.harness.compare.probes import (
    narrowed,
    own_slopes,
    reshaped,
    unstable,
    updates_early,
    wide_agrees,
)
from parity_tests.harness.compare.reference import Reference
from parity_tests.harness.compare.sample import Fit, Sample
from parity_tests.harness.compare.trials import Trial

Array = np.ndarray[Any, np.dtype[Any]]


def by_probes(
    result: Diagnosis,
    code: OwnCode,
    reference: Reference,
    trial: Trial,
    left: list[str],
) -> list[str]:
    """Causes that show in how the user's code answers, not in its numbers."""
    first = left[0]
    if first.startswith("gradient input") and updates_early(code, trial, first):
        text = "backward updates the parameters before it uses them for the gradient of the input"
        result.causes.append(Cause(first, text, "probe", 0.0, (first,)))
        return left[1:]
    if first.startswith("forward") and (told := reshaped(code, trial, first)):
        result.causes.append(Cause(first, told, "probe", 0.0, (first,)))
        return left[1:]
    small = Sample(trial.user.found[first], trial.reference[first], trial.allowed.get(first, 0.0))
    apart = small.residual(small.reference)
    if 1e-11 < apart < 1e-4 and first.startswith(("forward", "tap")) and not trial.warm:
        what = narrowed(code, reference, trial)
        if what:
            text = (
                f"yours rounds {', '.join(what)} to float32 before it "
                f"computes: handing it the rounded "
                f"numbers changes nothing (the outputs are {apart:.1g} of their size apart)"
            )
            same = [k for k in left if _float32_sized(trial, k)]
            result.causes.append(Cause(first, text, "probe", 0.0, tuple(same)))
            return [k for k in left if k not in same]
    return left


def by_size(
    result: Diagnosis, code: OwnCode, trial: Trial, left: list[str], trials: Sequence[Trial]
) -> list[str]:
    """Right on ordinary numbers; overflow, loss of digits or unsteadiness on others."""
    rest = []
    for label in left:
        if (
            label not in trial.failed
            or trial.user.found[label].shape != trial.reference[label].shape
        ):
            rest.append(label)
            continue
        shown = next((t for t in trials if label in t.failed and _overflows(t, label)), trial)
        fine = max(
            (
                _largest(t)
                for t in trials
                if label in t.reference and label not in t.failed and t.plain
            ),
            default=0.0,
        )
        if _overflows(shown, label):
            text = _not_finite(shown, label, fine)
        elif wide_agrees(code, trial, label):
            text = (
                "yours loses digits on these inputs: in extended precision the same code agrees, "
                "so something cancels on the way (a variance as <x^2> - <x>^2, exp(x) - 1 for "
                "expm1(x), log(1 + x) for log1p(x), 1 - y, ...)"
            )
        elif (share := unstable(code, trial, label)) > 0.1:
            text = (
                "yours is unsteady on these inputs: one unit in their last place moves "
                f"your own result by {share:.1g} of the difference. Digits cancel on the way (a "
                "variance as <x^2> - <x>^2, a logarithm of a sum, ...), or a comparison turns over "
                "(a maximum, a rank, a rounding)"
            )
        else:
            rest.append(label)
            continue
        same = [c for c in result.causes if c.text == text]
        if same:
            at = result.causes.index(same[0])
            result.causes[at] = replace(same[0], explains=(*same[0].explains, label))
        else:
            result.causes.append(Cause(label, text, "probe", 0.0, (label,)))
    return rest


def _not_finite(trial: Trial, label: str, fine: float) -> str:
    """Where NaN and infinity came from: zeros, negative numbers, or large ones."""
    text = "yours is NaN or infinite where the reference is finite"
    ours, wanted = trial.user.found[label], trial.reference[label]
    bad = ~np.isfinite(ours) & np.isfinite(wanted)
    for name, x in trial.given.items():
        if not name.startswith("input") or x.dtype.kind != "f" or x.shape != bad.shape:
            continue
        if np.all(x[bad] == 0):
            return f"{text}, where {name} is exactly 0: a quotient 0/0 or 1/0, or a logarithm of 0"
        if np.all(x[bad] < 0) and np.all(bad[x < 0]):
            return f"{text}, where {name} is negative: a logarithm, a root or a power of it"
    if _largest(trial) > fine:
        return (
            f"{text}, on large inputs only (right up to |x| = {fine:.3g}, not at "
            f"{_largest(trial):.3g}): an exp, a power or a quotient overflows, or a probability "
            "becomes 0 before its logarithm"
        )
    return f"{text}, on {trial.regime} numbers: a quotient 0/0, or a logarithm or root out of range"


def _overflows(trial: Trial, label: str) -> bool:
    ours, wanted = trial.user.found[label], trial.reference[label]
    return ours.shape == wanted.shape and bool(np.any(~np.isfinite(ours) & np.isfinite(wanted)))


def _largest(trial: Trial) -> float:
    return max(
        (
            float(np.max(np.abs(x), initial=0))
            for k, x in trial.given.items()
            if k.startswith("input") and x.dtype.kind == "f"
        ),
        default=0.0,
    )


def _float32_sized(trial: Trial, label: str) -> bool:
    if label not in trial.user.found:
        return False
    s = Sample(trial.user.found[label], trial.reference[label], 0.0)
    return s.residual(s.reference) < 1e-4


def own_gradients(
    code: OwnCode, trial: Trial, failing: Sequence[str]
) -> dict[str, tuple[bool, float, float]]:
    """For each gradient that differs: is it at least the slope of the own forward?"""
    wanted = [k for k in failing if k.startswith("gradient")]
    if not wanted or "target" in trial.given:
        return {}
    try:
        return own_slopes(code, trial, wanted)
    except Exception:
        return {}


NEAR = 0.1
"""A guess that leaves more than this share of the value is not worth a word."""


def what_is_seen(
    code: OwnCode,
    reference: Reference,
    plain: Sequence[Trial],
    trials: Sequence[Trial],
    label: str,
    base: Mapping[int, Mapping[str, Array]],
    others: Sequence[Fit],
    near: tuple[float, str],
) -> list[str]:
    """What can be said of a difference that nothing explains."""
    lines = [f.text for f in others if f.exact and not f.complete][:2]
    numbers = max((t.user.found[label].size for t in plain if label in t.user.found), default=0)
    if near[1] and near[0] < NEAR and numbers > 1:  # one number is always met by one
        lines.append(f"nearest guess: {near[1]} (leaves {near[0]:.2g} of the value)")
    for t in plain[:1]:
        if label not in t.user.found:
            continue
        s = sample(reference, code, t, label)
        lines += _pattern(s)
    first = trials[0]
    same = [t for t in plain if t is not first and _shapes(t) == _shapes(first)]
    if (
        label not in first.failed
        and label in first.user.found
        and any(label in t.failed for t in same)
    ):
        lines.append(
            "the first numbers agree, the next of the same shapes do not: is something kept from "
            "an earlier call?"
        )
    sizes_by_regime: list[tuple[str, str]] = []
    for t in trials:
        if (
            label in t.user.found
            and label in t.reference
            and t.user.found[label].shape == np.shape(t.reference[label])
        ):
            s = Sample(t.user.found[label], t.reference[label], t.allowed.get(label, 0.0))
            state = "agrees" if label not in t.failed else f"{s.residual(s.reference):.2g}"
            if not any(r == t.regime for r, _ in sizes_by_regime):
                sizes_by_regime.append((t.regime, state))
    if len(sizes_by_regime) > 1:
        lines.append(
            "relative difference by kind of numbers: "
            + ", ".join(f"{r} {v}" for r, v in sizes_by_regime)
        )
    return lines


def _shapes(trial: Trial) -> list[tuple[int, ...]]:
    return [x.shape for k, x in trial.given.items() if k.startswith("input")]


def _pattern(s: Sample) -> list[str]:
    """Where the wrong elements lie, and what the ratios look like."""
    if s.user.shape != s.reference.shape or s.user.ndim == 0:
        return []
    lines = []
    with np.errstate(all="ignore"):
        wrong = ~(np.abs(s.user - s.reference) <= 8 * s.allowed + 1e-14 * np.abs(s.reference))
        both = np.isnan(s.user) & np.isnan(s.reference)
        wrong &= ~both
        for axis in range(wrong.ndim):
            others = tuple(a for a in range(wrong.ndim) if a != axis)
            rows = np.flatnonzero(wrong.any(axis=others))
            if 0 < len(rows) < wrong.shape[axis]:
                lines.append(f"only at {_few(rows)} of axis {axis} (of {wrong.shape[axis]})")
        ratio = (s.user / s.reference)[wrong & (s.reference != 0)]
        ratio = ratio[np.isfinite(ratio)]
        if len(ratio) > 1:
            lines.append(f"yours / reference runs from {ratio.min():.4g} to {ratio.max():.4g}")
    return lines


def _few(rows: Array) -> str:
    text = ", ".join(str(int(r)) for r in rows[:6])
    return f"index {text}" + (", ..." if len(rows) > 6 else "")
