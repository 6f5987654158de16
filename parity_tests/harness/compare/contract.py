"""What holds for any program: inputs left alone, any memory layout, dtypes, repeated calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from parity_tests.harness.compare.cause import Cause
from parity_tests.harness.compare.explain import Comparison
from parity_tests.harness.compare.locate import Gap, order
from parity_tests.harness.compare.own_code import OwnCode
from parity_tests.harness.compare.own_names import Ran
from parity_tests.harness.compare.reference import Reference
from parity_tests.harness.compare.trials import Trial
from parity_tests.harness.inputs import LAYOUTS, same

Array = np.ndarray[Any, np.dtype[Any]]


def check_contract(
    code: OwnCode, reference: Reference, trials: Sequence[Trial], result: Comparison
) -> None:
    """Inputs left alone, layouts, dtypes, repeated calls: what holds for any program."""
    first = trials[0]
    found: list[tuple[str, str]] = []
    for text in dict.fromkeys(m for t in trials for m in t.user.mutated):
        found.append(("contract inputs", text))
    if first.user.found and not first.user.problems:
        for label, ours in first.user.found.items():
            wanted = first.reference.get(label)
            if label.startswith("forward") and wanted is not None and wanted.dtype.kind == "f":
                expected = (
                    np.float32
                    if any(v.dtype == np.float32 for v in first.given.values())
                    else np.float64
                )
                if ours.dtype != expected and ours.dtype.kind in "fiu":
                    found.append(
                        ("contract dtype", f"{label} is {ours.dtype} for {expected.__name__} input")
                    )
        again = _kept(code, first) or _drawn(code, reference, first) or _again(code, first)
        if again:
            found.append(("contract repeat", again))
        if not found and "mask" not in first.given:
            found += _layouts(code, first)
    gaps: list[Gap] = []
    for label, text in found:
        if not any(g.label == label for g in gaps):
            gaps.append(Gap(label, first.name, text))
            result.causes.insert(len(gaps) - 1, Cause(label, text, "contract", 0.0, (label,)))
    result.gaps = gaps + result.gaps
    result.gaps.sort(key=lambda g: order(g.label) > order("contract"))


def _layouts(code: OwnCode, trial: Trial) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    other = code.run(trial.given, trial.mode, trial.seed + 1, trial.set_buffers, False, trial.warm)
    ours = trial.user.found.get("forward output")
    if ours is not None and not same(other.found.get("forward output", ours), ours):
        return found  # it draws at random, and what it draws may follow the memory, as torch's does
    moved = ("input", "cotangent")
    for name in ("F", "strided", "negative", "readonly"):
        given = {k: LAYOUTS[name](v) if k.startswith(moved) else v for k, v in trial.given.items()}
        ran = code.run(given, trial.mode, trial.seed, trial.set_buffers, True, trial.warm)
        for where, problem in ran.problems:
            found.append(
                (f"contract {name} layout", f"{where} raised for a {name} input: {problem}")
            )
            break
        for label, y in ran.found.items():
            before = trial.user.found.get(label)
            if before is None or before.shape != y.shape:
                continue
            if not _alike(y, before, trial.allowed.get(label, 0.0)):
                found.append(
                    (
                        f"contract {name} layout",
                        f"{label} changes when the inputs lie in memory otherwise ({name})",
                    )
                )
                break
    return found[:1]


def _kept(code: OwnCode, trial: Trial) -> str:
    """Whether the first numbers give something else now that others have been through."""
    if "mask" in trial.given:
        return ""  # what is dropped is another matter
    again = code.run(trial.given, trial.mode, trial.seed, trial.set_buffers, True, trial.warm)
    for earlier in (code.first.found, trial.user.found):
        for label, before in earlier.items():
            now = again.found.get(label)
            if now is not None and label.startswith(("forward", "gradient")):
                if earlier is code.first.found and not label.startswith("forward"):
                    continue  # what goes back was chosen only after the first call
                if not _alike(now, before, trial.allowed.get(label, 0.0)):
                    what = "function" if code.is_function else "new object"
                    return (
                        f"{label} changes when the same numbers come again, to a {what}, after "
                        "others: something is kept between calls (a global, a class attribute, a "
                        "default argument, a cache that is not renewed)"
                    )
    return ""


def _drawn(code: OwnCode, reference: Reference, trial: Trial) -> str:
    """Whether the forward draws random numbers where torch draws none."""
    if "mask" in trial.given:
        return ""

    def ours(seed: int) -> Ran:
        instance = code.fresh(trial.seed)
        return code.run(trial.given, trial.mode, seed, trial.set_buffers, False, (), instance)

    one, two = (ours(seed).found.get("forward output") for seed in (1, 2))
    if one is None or two is None or _alike(one, two, trial.allowed.get("forward output", 0.0)):
        return ""
    a, b = (
        reference.run(trial.given, trial.mode, seed, trial.set_buffers, backward=False)
        for seed in (1, 2)
    )
    if not np.array_equal(a["forward output"], b["forward output"], equal_nan=True):
        return ""
    return (
        "forward draws random numbers: from another seed of np.random the same input gives "
        "another output, and torch's does not"
    )


def _alike(now: Array, before: Array, allowed: float) -> bool:
    """Whether two results of the same code are the same numbers up to the order of its sums."""
    if now.shape != before.shape:
        return False
    before = np.asarray(before, float)
    with np.errstate(all="ignore"):
        size = float(np.max(np.abs(before[np.isfinite(before)]), initial=0.0))
        apart = np.abs(np.asarray(now, float) - before)
    near = apart <= 4 * allowed + 1e-13 * size + 1e-5 * size * (now.dtype == np.float32)
    return bool(np.all(near | (np.isnan(now) & np.isnan(before)) | (now == before)))


def _again(code: OwnCode, trial: Trial) -> str:
    """Whether a second call on the same object gives something else."""
    if code.is_function or any(link.key in code.buffers for link in code.links):
        return ""
    instance = code.fresh(trial.seed)
    one = code.run(trial.given, trial.mode, trial.seed, True, True, (), instance)
    two = code.run(trial.given, trial.mode, trial.seed, True, True, (), instance)
    for label in ("forward output", "gradient input 0"):
        a, b = one.found.get(label), two.found.get(label)
        if a is not None and b is not None and not _alike(b, a, trial.allowed.get(label, 0.0)):
            return f"{label} changes when the same object is called again with the same numbers"
    return ""
