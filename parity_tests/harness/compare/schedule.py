"""Two schedules side by side, rate by rate, and why they part."""

from __future__ import annotations

import functools
import inspect
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from parity_tests.harness.compare.cause import Cause
from parity_tests.harness.compare.declared import cases_for, spoken
from parity_tests.harness.compare.evidence import NEAR
from parity_tests.harness.compare.explain import Comparison
from parity_tests.harness.compare.fits import fits
from parity_tests.harness.compare.locate import Gap, gap, measure
from parity_tests.harness.compare.mapping import Uncomparable
from parity_tests.harness.compare.own_names import say
from parity_tests.harness.compare.own_optimizer import RATE_NAMES
from parity_tests.harness.compare.own_schedule import is_bound, rates
from parity_tests.harness.compare.sample import Sample
from parity_tests.harness.compare.trajectory_causes import defaults_of
from parity_tests.harness.compare.trials import Trial
from parity_tests.harness.mistake import Mistake

Array = np.ndarray[Any, np.dtype[Any]]


PLAIN, BY_HAND = "learning rate by step", "learning rate after a change by hand"
Rates = dict[str, Array]


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
    count = steps or 40
    kind = theirs if inspect.isclass(theirs) else type(theirs)
    takes = inspect.signature(kind).parameters
    if not inspect.isclass(theirs):
        lr = theirs.base_lrs[0] if lr is None else lr
        held = [k for k in takes if hasattr(theirs, k) and k not in ("optimizer", "last_epoch")]
        their_kwargs = {k: getattr(theirs, k) for k in held}
    elif same_call:
        their_kwargs = {k: v for k, v in their_kwargs.items() if k in takes}
    start = lr
    if start is None:
        start = next((mine_kwargs[k] for k in RATE_NAMES if k in mine_kwargs), None)
    bound = is_bound(mine)
    given = mine_args if bound or not same_call else ()
    shown = ", ".join([*map(repr, their_args), *(f"{k}={v!r}" for k, v in their_kwargs.items())])
    result = Comparison(
        getattr(mine, "__name__", type(mine).__name__),
        f"torch.optim.lr_scheduler.{kind.__name__}({shown})",
        trials=1 + bound,
    )
    hands = {PLAIN: None, BY_HAND: count // 3} if bound else {PLAIN: None}
    trial = Trial("", "unit", "train", seed, {})
    if issubclass(kind, torch.optim.lr_scheduler.ReduceLROnPlateau):
        raise Uncomparable(
            "ReduceLROnPlateau follows a metric, not the step: there is no sequence of rates to "
            "compare; feed both sides the same metrics and compare the rates by hand"
        )
    try:
        torch_rates(kind, their_args, their_kwargs, 0.1 if start is None else start, 2)
    except Exception as error:
        raise Uncomparable(f"torch's {kind.__name__} does not take that: {error}") from error
    try:
        for label, hand in hands.items():
            ours, start = rates(mine, given, mine_kwargs, start, count, result.notes, hand)
            trial.user.found[label] = ours
    except Uncomparable:
        raise
    except Exception as error:
        text = f"raised {say(error)}"
        result.gaps.append(Gap("contract step", "", text))
        result.causes.append(Cause("contract step", text, "contract", 0.0, ("contract step",)))
        return result
    assert start is not None
    trial.name = f"{count} steps from {start:g}"
    reference = _Torch(kind, their_args, their_kwargs, start, hands, count)
    trial.reference = reference()
    moved = reference(start * (1 + np.finfo(float).eps))
    for label, right in trial.reference.items():
        rounding = 4 * np.finfo(float).eps * np.abs(right)  # a step each way, as torch takes them
        trial.noise[label] = [np.abs(moved[label] - right) + rounding]
    worst = max((d.units for d in measure(trial)), default=0.0)
    result.places = list(hands)
    result.margin = 1 / worst if worst else math.inf
    for label in trial.failed:
        ours, right = trial.user.found[label], trial.reference[label]
        at = int(np.argmax(np.abs(ours - right) > trial.allowed[label]))
        origin = f"first at step {at}: {float(ours[at])!r} for {float(right[at])!r}"
        result.gaps.append(replace(gap(trial, label), origin=origin))
    if trial.failed:
        _explain(result, reference, trial, mistakes)
    return result


@dataclass
class _Torch:
    """torch's schedule, to be run as it is or changed."""

    kind: Any
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    start: float
    hands: Mapping[str, int | None]
    count: int

    def __call__(self, start: float | None = None, **changes: Any) -> Rates:
        first = self.start if start is None else start
        args, kwargs = self.args, dict(self.kwargs)
        if changes:
            names = list(inspect.signature(self.kind).parameters)[1:]
            args, kwargs = (), {**dict(zip(names, self.args)), **kwargs, **changes}
        return {
            label: torch_rates(self.kind, args, kwargs, first, self.count, hand)
            for label, hand in self.hands.items()
        }

    def shifted(self, k: int) -> Rates:
        """The sequence begun k steps later or earlier."""
        found = {}
        for label, hand in self.hands.items():
            more = self.count + abs(k)
            moved = None if hand is None else hand + k
            long = torch_rates(self.kind, self.args, self.kwargs, self.start, more, moved)
            found[label] = (
                long[k:][: self.count] if k > 0 else np.append(long[:1], long)[: self.count]
            )
        return found


def _explain(
    result: Comparison, reference: _Torch, trial: Trial, mistakes: Mapping[str, Any]
) -> None:
    """Look for the schedule that gives the user's rates, every one of them."""
    label = trial.failed[0]
    samples = {
        k: Sample(ours, trial.reference[k], trial.allowed[k], {}, {"lr": reference.start})
        for k, ours in trial.user.found.items()
    }
    good: list[tuple[float, float, str, str]] = []
    near: list[tuple[float, float, str, str]] = []
    for name, text, cost, run in [*_mistaken(reference, mistakes), *_schedule_guesses(reference)]:
        try:
            with np.errstate(all="ignore"):
                found = run()
            units = max(s.near(found[k]) for k, s in samples.items())
            residual = max(s.residual(found[k]) for k, s in samples.items())
        except Exception:  # options that do not go together
            continue
        (good if units <= 1 else near).append((cost, residual, name, text))
    if list(samples) == [PLAIN]:  # a formula of the step knows nothing of a change by hand
        s = samples[PLAIN]
        for text, value in _curves(s.user, reference.start):
            if s.near(value) <= 100:
                good.append((2.0, s.residual(value), text, f"yours is {text}"))
        for fit in fits([s]):
            if fit.exact and fit.complete and fit.kind in ("factor", "offset", "constant", "zero"):
                good.append((1.5, fit.residual, fit.text, fit.text))
    if not good:  # nobody looks before the first step: the rest may be a step late
        late = reference.shifted(-1)
        rest = {k: Sample(s.user[1:], late[k][1:], s.allowed) for k, s in samples.items()}
        if all(s.near(s.reference) <= 1 for s in rest.values()):
            first = float(samples[label].user[0])
            text = (
                "yours is the reference's sequence a step behind: its rate at t is the "
                f"reference's at t-1, from t = 1 on; before that it is {first:g}"
            )
            far = max(s.residual(s.reference) for s in rest.values())
            good.append((1.2, far, "a step behind", text))
    good.sort()
    near = sorted((n for n in near if n[1] > 1e-11), key=lambda n: n[1])
    runner = (near[0][2], near[0][1]) if near else ("", math.inf)
    if good:
        _, residual, _, text = good[0]
        also = tuple(g[3] for g in good[1:3])
        where = tuple(trial.failed)
        result.causes.append(
            Cause(label, text, "counterfactual", residual, where, runner[0], runner[1], also)
        )
        return
    result.unexplained.append(label)
    if PLAIN not in trial.failed:
        result.evidence.append(
            "only a rate changed by hand shows it: torch makes the next rate from the present one, "
            "yours from the first rate and the step"
        )
    elif runner[1] < NEAR:
        result.evidence.append(f"nearest guess: {runner[0]} (leaves {runner[1]:.2g} of the rate)")


def _mistaken(
    reference: _Torch, mistakes: Mapping[str, Any]
) -> Iterator[tuple[str, str, float, Callable[[], Rates]]]:
    known = {name: Mistake.of(mistake) for name, mistake in mistakes.items()}
    for case in cases_for(reference.kind):
        known |= case.mistakes
    for name, mistake in known.items():

        def run(mistake: Any = mistake.stand_in) -> Rates:
            r = reference
            return {
                k: rates(mistake, r.args, r.kwargs, r.start, r.count, [], hand)[0]
                for k, hand in r.hands.items()
            }

        yield name, spoken(name, mistake), 0.5, run


def torch_rates(
    kind: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    start: float,
    count: int,
    by_hand: int | None = None,
) -> Array:
    """The rates that torch's schedule gives, step by step from the start; halved once by hand."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=start)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scheduler = kind(optimizer, *args, **kwargs)
        found = []
        for t in range(count):
            if t == by_hand:
                optimizer.param_groups[0]["lr"] *= 0.5
            found.append(float(optimizer.param_groups[0]["lr"]))
            optimizer.step()
            scheduler.step()
    return np.array(found)


def _schedule_guesses(
    reference: _Torch,
) -> Iterator[tuple[str, str, float, Callable[[], Rates]]]:
    names = list(inspect.signature(reference.kind).parameters)[1:]
    options = {
        **defaults_of(reference.kind),
        **dict(zip(names, reference.args)),
        **reference.kwargs,
    }
    for name, value in options.items():
        if name in ("optimizer", "last_epoch") or not isinstance(value, int | float | bool):
            continue
        others: list[Any] = [2 * value, value / 2, 1 - value, 0.0, value**2, abs(value) ** 0.5]
        if isinstance(value, bool):
            others = [not value]
        elif isinstance(value, int):
            others = [value - 1, value + 1]
        for other in others:
            text = (
                f"yours does what torch does with {name}={other:g}; "
                f"the reference has {name}={value!r}"
            )
            yield f"{name}={other:g}", text, 1.0, functools.partial(reference, **{name: other})
    for k in (1, 2, -1):
        way = f"{k} step{'s'[: k > 1]} ahead" if k > 0 else "a step behind"
        text = (
            f"yours is the reference's sequence {way}: its rate at t is the reference's at t{k:+d}"
        )
        yield f"shifted by {k}", text, 1.1, functools.partial(reference.shifted, k)


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
