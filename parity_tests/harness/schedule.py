"""Two schedules side by side, rate by rate, and why they part."""

from __future__ import annotations

import functools
import inspect
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from parity_tests.harness.cause import Cause
from parity_tests.harness.explain import Comparison
from parity_tests.harness.fits import fits
from parity_tests.harness.locate import gap, measure
from parity_tests.harness.own_optimizer import RATE_NAMES
from parity_tests.harness.sample import Sample
from parity_tests.harness.trajectory_causes import defaults_of
from parity_tests.harness.trials import Trial

Array = np.ndarray[Any, np.dtype[Any]]


def compare_scheduler(
    mine: Any,
    theirs: Any,
    mine_args: Sequence[Any],
    mine_kwargs: Mapping[str, Any],
    their_args: Sequence[Any],
    their_kwargs: Mapping[str, Any],
    same_call: bool,
    mistakes: Mapping[str, Any],
    steps: int | None,
    lr: float | None,
    seed: int,
) -> Comparison:
    """Hold two schedules side by side, rate by rate."""
    from parity_tests.harness.own_schedule import rates

    count = steps or 40
    kind = theirs if inspect.isclass(theirs) else type(theirs)
    takes = inspect.signature(kind).parameters
    if not inspect.isclass(theirs):
        lr = theirs.base_lrs[0] if lr is None else lr
        their_kwargs = {
            k: getattr(theirs, k)
            for k in takes
            if hasattr(theirs, k) and k not in ("optimizer", "last_epoch")
        }
    elif same_call:
        their_kwargs = {k: v for k, v in their_kwargs.items() if k in takes}
    start = (
        lr
        if lr is not None
        else next((mine_kwargs[k] for k in RATE_NAMES if k in mine_kwargs), None)
    )
    notes: list[str] = []
    ours, start = rates(mine, mine_args if not same_call else (), mine_kwargs, start, count, notes)
    reference = torch_rates(kind, their_args, their_kwargs, start, count)
    shown = ", ".join([*map(repr, their_args), *(f"{k}={v!r}" for k, v in their_kwargs.items())])
    result = Comparison(
        getattr(mine, "__name__", type(mine).__name__),
        f"torch.optim.lr_scheduler.{kind.__name__}({shown})",
        trials=1,
        notes=notes,
    )
    trial = Trial(f"{count} steps from {start:g}", "unit", "train", seed, {})
    label = "learning rate by step"
    trial.user.found, trial.reference = {label: ours}, {label: reference}
    with np.errstate(all="ignore"):
        moved = torch_rates(
            kind, their_args, their_kwargs, start * (1 + np.finfo(float).eps), count
        )
    trial.noise = {label: [np.abs(moved - reference) + 4 * np.finfo(float).eps * np.abs(reference)]}
    deviations = measure(trial)
    result.places = [label]
    result.margin = 1 / deviations[0].units if deviations and deviations[0].units else math.inf
    if not trial.failed:
        return result
    one = gap(trial, label)
    bad = np.abs(ours - reference) > trial.allowed[label]
    at = int(np.argmax(bad))
    result.gaps.append(
        replace(one, origin=f"first at step {at}: {float(ours[at])!r} for {float(reference[at])!r}")
    )
    s = Sample(ours, reference, trial.allowed[label], {}, {"lr": start, "steps": float(count)})
    good: list[tuple[float, float, str, str]] = []
    near: list[tuple[float, float, str, str]] = []
    for name, text, cost, change in _schedule_guesses(kind, their_args, their_kwargs, start, count):
        try:
            value = change()
        except Exception:
            continue
        (good if s.near(value) <= 1 else near).append((cost, s.residual(value), name, text))
    for text, value in _curves(ours, start):
        if s.near(value) <= 100:
            good.append((2.0, s.residual(value), text, f"yours is {text}"))
    for fit in fits([s]):
        if (
            fit.exact
            and fit.complete
            and fit.kind in ("factor", "offset", "shift", "constant", "zero")
        ):
            good.append((1.5, fit.residual, fit.text, fit.text))
    good.sort()
    near.sort(key=lambda n: n[1])
    runner = (near[0][2], near[0][1]) if near else ("", math.inf)
    if good:
        also = tuple(g[3] for g in good[1:3])
        result.causes.append(
            Cause(
                label,
                good[0][3],
                "counterfactual",
                good[0][1],
                (label,),
                runner[0],
                runner[1],
                also,
            )
        )
    else:
        result.unexplained.append(label)
        if runner[0]:
            result.evidence.append(
                f"nearest guess: {runner[0]} (leaves {runner[1]:.2g} of the rate)"
            )
    return result


def torch_rates(
    kind: Any, args: Sequence[Any], kwargs: Mapping[str, Any], start: float, count: int
) -> Array:
    """The rates that torch's schedule gives, step by step from the start."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=start)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scheduler = kind(optimizer, *args, **kwargs)
        found = []
        for _ in range(count):
            found.append(float(optimizer.param_groups[0]["lr"]))
            optimizer.step()
            scheduler.step()
    return np.array(found)


def _schedule_guesses(
    kind: Any, args: Sequence[Any], kwargs: Mapping[str, Any], start: float, count: int
) -> Iterator[tuple[str, str, float, Callable[[], Array]]]:
    options = {
        **defaults_of(kind),
        **dict(zip(list(inspect.signature(kind).parameters)[1:], args)),
        **kwargs,
    }
    options.pop("last_epoch", None)
    for name, value in options.items():
        if name == "optimizer" or not isinstance(value, int | float | bool):
            continue
        others: list[Any] = (
            [not value]
            if isinstance(value, bool)
            else (
                [value - 1, value + 1]
                if isinstance(value, int)
                else [2 * value, value / 2, 1 - value, 0.0, value**2, math.sqrt(abs(value))]
            )
        )
        for other in others:
            yield (
                f"{name}={other:g}",
                f"yours does what torch does with {name}={other:g}; the "
                f"reference has {name}={value!r}",
                1.0,
                functools.partial(torch_rates, kind, (), {**options, name: other}, start, count),
            )
    for k in (1, 2, -1):

        def shifted(k: int = k) -> Array:
            long = torch_rates(kind, args, kwargs, start, count + abs(k))
            return long[k:][:count] if k > 0 else np.concatenate([long[:1], long[: count - 1]])

        way = f"{k} step{'s'[: k > 1]} ahead" if k > 0 else "a step behind"
        yield (
            f"shifted by {k}",
            f"yours is the reference's sequence {way}: its rate at t is the reference's at t{k:+d}",
            1.1,
            shifted,
        )


def _curves(ours: Array, start: float) -> Iterator[tuple[str, Array]]:
    """Closed forms of one or two numbers, fitted to the first steps."""
    t = np.arange(len(ours), dtype=float)
    a = ours[0]
    if len(ours) < 5 or not np.isfinite(ours).all() or a == 0:
        return
    if np.ptp(ours) == 0:
        yield f"constant at {a:g}", np.full_like(ours, a)
        return
    g = ours[1] / a
    yield f"{a:g} * {g:.6g}^t (exponential)", a * g**t
    if ours[1]:
        k = a / ours[1] - 1
        yield f"{a:g} / (1 + {k:.6g} * t) (inverse-time decay)", a / (1 + k * t)
        k = (a / ours[1]) ** 2 - 1
        with np.errstate(all="ignore"):
            yield f"{a:g} / sqrt(1 + {k:.6g} * t)", a / np.sqrt(1 + k * t)
    yield f"{a:g} {ours[1] - a:+.6g} * t (linear)", a + (ours[1] - a) * t
    drops = np.flatnonzero(np.diff(ours))
    if len(drops) and drops[0] > 0:
        n = int(drops[0]) + 1
        factor = ours[n] / a
        yield f"{a:g} * {factor:.6g}^(t // {n}) (steps)", a * factor ** (t // n)
