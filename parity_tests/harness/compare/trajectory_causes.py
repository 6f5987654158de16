"""Why two trajectories part: the optimizer, changed in one way, that takes the user's steps."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from parity_tests.harness.compare import adam_family
from parity_tests.harness.compare.cause import Cause
from parity_tests.harness.compare.declared import cases_for, spoken
from parity_tests.harness.compare.evidence import NEAR
from parity_tests.harness.compare.explain import Comparison
from parity_tests.harness.compare.fits import fits
from parity_tests.harness.compare.mapping import Uncomparable
from parity_tests.harness.compare.own_optimizer import OwnOptimizer
from parity_tests.harness.compare.sample import Sample
from parity_tests.harness.compare.scenario import IN_PLACE, Scenario, Tweak, run_torch
from parity_tests.harness.compare.trials import Trial
from parity_tests.harness.mistake import Mistake

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass
class _Guess:
    name: str
    text: str
    run: Callable[[Scenario], dict[str, Array]]
    cost: float = 1.0


def explain_trajectory(
    result: Comparison,
    code: OwnOptimizer,
    kind: Any,
    kwargs: Mapping[str, Any],
    trials: Sequence[tuple[Scenario, Trial]],
    mistakes: Mapping[str, Any],
) -> None:
    """Look for the cause of the first step that differs, and put it into the result."""
    failed = [(s, t) for s, t in trials if t.failed]
    first_scenario, first = failed[0]
    label = f"{first_scenario.name}: {first.failed[0]}"
    step = int(first.failed[0].split()[1])
    fine = [s.name for s, t in trials if not t.failed]
    special = first_scenario.special.get(step)
    if special:
        result.gaps[0] = replace(result.gaps[0], origin=special)
    if [s.name for s, _ in failed] == [IN_PLACE]:
        text = (
            "yours keeps the gradient array itself, not a copy (v = p.grad), or changes it: where "
            "the next gradient is written into the same array, as zero_grad(set_to_none=False) and "
            "+= do, what it kept changes with it"
        )
        result.causes.append(Cause(label, text, "probe", 0.0, (label,)))
        return
    good: list[tuple[_Guess, float]] = []
    others: list[tuple[_Guess, float]] = []
    for guess in _guesses(kind, kwargs, code, mistakes):
        units, residual = _hold(guess, trials)
        (good if units <= 1 else others).append((guess, residual))
    good.sort(key=lambda g: g[0].cost)
    others.sort(key=lambda g: g[1])
    fit = _update_fit(code, kind, kwargs, trials, first_scenario, first)
    runner = (others[0][0].name, others[0][1]) if others else ("", math.inf)
    names = tuple(f"{s.name} (from step {t.failed[0].split()[1]})" for s, t in failed)
    if len(failed) == len(trials):
        names = (f"all {len(trials)} runs",)
    if good:
        guess, residual = good[0]
        also = tuple(dict.fromkeys(g.text for g, _ in good[1:4] if g.text != guess.text))
        if fit and fit.exact and fit.complete:
            also = (f"the update: {fit.text}", *also)
        result.causes.append(
            Cause(
                label,
                guess.text,
                "counterfactual",
                residual,
                (label, *names),
                runner[0],
                runner[1],
                also,
            )
        )
    elif fit is not None and fit.exact and fit.complete:
        result.causes.append(
            Cause(
                label,
                f"the change made at step {step}: {fit.text}",
                fit.kind,
                fit.residual,
                (label,),
                runner[0],
                runner[1],
            )
        )
    else:
        result.unexplained.append(label)
        result.evidence += _story(failed, fine)
        if runner[0] and runner[1] < NEAR:
            result.evidence.append(
                f"nearest guess: {runner[0]} (leaves {runner[1]:.2g} of the change)"
            )
        if fit is not None and fit.exact:
            result.evidence.append(f"the change made at step {step}: {fit.text}")


def _story(failed: Sequence[tuple[Scenario, Trial]], fine: Sequence[str]) -> list[str]:
    """What the pattern of scenarios says, without naming a cause."""
    names = [s.name for s, _ in failed]
    if names == ["two parameters", "a missing gradient"] or names == ["two parameters"]:
        return ["one parameter alone agrees, two do not: something is shared between parameters"]
    if names == ["a learning rate that changes"]:
        return [
            "only a changed learning rate shows it: the rate is kept somewhere (in the buffer?)"
        ]
    if names == ["a missing gradient"]:
        return ["only a missing gradient shows it: torch skips such a parameter and its step count"]
    if "one parameter" not in names and any("1e-" in n for n in names):
        return ["only tiny gradients show it: eps, and where it is added, matters there"]
    return []


def _hold(guess: _Guess, trials: Sequence[tuple[Scenario, Trial]]) -> tuple[float, float]:
    """How near a guess comes to the user's trajectory in every scenario."""
    units, residual = 0.0, 0.0
    for scenario, trial in trials:
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = guess.run(scenario)
        except Exception:
            return math.inf, math.inf
        for label, value in found.items():
            if label not in trial.user.found or label in trial.unclear:
                continue
            i = int(label.split()[3])
            start = (
                scenario.params[i] if "parameter" in label else np.zeros_like(scenario.params[i])
            )
            mine = trial.user.found[label]
            if np.array_equal(mine, value, equal_nan=True):
                continue
            s = Sample(mine, value, trial.allowed.get(label, 0.0))
            units = max(units, s.near(s.reference))
            travelled = float(np.max(np.abs(mine - start), initial=0.0))
            apart = (
                float(np.max(np.abs(mine - value), initial=0.0))
                if mine.shape == value.shape
                else math.inf
            )
            share = apart / travelled if travelled else apart
            residual = max(residual, share if math.isfinite(share) else math.inf)
        if units > 1:
            break
    return units, residual


def _guesses(
    kind: Any, kwargs: Mapping[str, Any], code: OwnOptimizer, mistakes: Mapping[str, Any]
) -> Iterator[_Guess]:
    for case in cases_for(kind):
        for name, mistake in case.mistakes.items():
            yield from _stand_in(name, mistake, kwargs, 0.5)
    for name, mistake in mistakes.items():
        yield from _stand_in(name, Mistake.of(mistake), kwargs, 0.5)
    defaults = {
        k: p.default
        for k, p in inspect.signature(kind).parameters.items()
        if p.default is not p.empty
        and k not in ("foreach", "capturable", "differentiable", "fused", "maximize")
    }
    options = {**defaults, **kwargs}
    for name, other in _option_changes(options):
        shown = f"{other:g}" if isinstance(other, float) else repr(other)
        yield _Guess(
            f"{name}={shown}",
            f"yours does what torch does with {name}={shown}; the "
            f"reference has {name}={options[name]!r}",
            _torch(kind, {**kwargs, name: other}),
        )
    yield _Guess(
        "maximize",
        "yours goes up the gradient, not down: the sign of the update is wrong",
        _torch(kind, {**kwargs, "maximize": True}),
        1.1,
    )
    yield _Guess(
        "delay",
        "yours uses the gradient of the step before",
        _torch(kind, kwargs, delay=1),
        1.2,
    )
    for other in _other_kinds():
        if other is kind:
            continue
        takes = inspect.signature(other).parameters
        shared = {k: v for k, v in options.items() if k in takes}
        yield _Guess(
            f"torch.optim.{other.__name__}",
            f"yours does what torch.optim.{other.__name__} does",
            _torch(other, shared),
            1.3,
        )
    for name, text, count in (
        (
            "a shared step count",
            "the step count is advanced once a parameter, not once a step: it is "
            "shared between parameters",
            lambda own, calls, t: calls,
        ),
        (
            "step count one ahead",
            "the step count is one ahead: the first step is taken as step 2",
            lambda own, calls, t: own + 1,
        ),
        ("no bias correction", "there is no bias correction", lambda own, calls, t: 10_000_000),
        (
            "a step count that stays at 1",
            "the step count never advances: every step is taken as step 1",
            lambda own, calls, t: 0,
        ),
        (
            "one step count for all",
            "the step count goes on for a parameter without a gradient",
            lambda own, calls, t: t,
        ),
    ):
        yield _Guess(name, text, _torch(kind, kwargs, _counter(count)))
    for n, (name, text, parts) in enumerate(adam_family.members(kind, options)):
        run = partial(adam_family.run, kind, options, parts)
        yield _Guess(name, text, run, 1.15 if len(parts) == 1 else 1.6 + 1e-4 * n)
    yield _Guess(
        "zero for missing",
        "a missing gradient is treated as one of zeros: torch skips that parameter",
        lambda s: run_torch(kind, kwargs, _filled(s)),
        1.1,
    )


def _torch(
    kind: Any, kwargs: Mapping[str, Any], tweak: Tweak | None = None, delay: int = 0
) -> Callable[[Scenario], dict[str, Array]]:
    return lambda scenario: run_torch(kind, kwargs, scenario, tweak, delay)


def _filled(s: Scenario) -> Scenario:
    grads = tuple(
        tuple(np.zeros_like(p) if g is None else g for p, g in zip(s.params, step))
        for step in s.grads
    )
    return replace(s, grads=grads)


def _stand_in(
    name: str, mistake: Mistake, kwargs: Mapping[str, Any], cost: float
) -> Iterator[_Guess]:
    try:
        other = OwnOptimizer(mistake.stand_in, (), kwargs, [])
    except (Uncomparable, TypeError, ValueError):
        return

    def run(scenario: Scenario) -> dict[str, Array]:
        found, problem = other.run(scenario)
        if problem:
            raise ValueError(problem)
        return found

    yield _Guess(name, spoken(name, mistake), run, cost)


def _counter(count: Callable[[int, int, int], int]) -> Tweak:
    """Set torch's step counts before each step: count(own steps, all updates, steps) so far."""
    own: dict[torch.nn.Parameter, int] = {}

    def tweak(optimizer: torch.optim.Optimizer, t: int, params: list[torch.nn.Parameter]) -> None:
        if t == 1:  # torch makes its state at the first step: let it, then start over
            own.clear()
            kept = [(p.detach().clone(), p.grad) for p in params]
            for p in params:
                p.grad = torch.zeros_like(p)
            optimizer.step()
            with torch.no_grad():
                for p, (old, g) in zip(params, kept):
                    p.copy_(old)
                    p.grad = g
            for state in optimizer.state.values():
                for key, value in state.items():
                    if isinstance(value, torch.Tensor) and key != "step":
                        value.zero_()
        for p in params:
            state = optimizer.state.get(p, {})
            if "step" not in state:
                raise ValueError("keeps no step count")
            state["step"].fill_(count(own.get(p, 0), sum(own.values()), t - 1))
            if p.grad is not None:
                own[p] = own.get(p, 0) + 1

    return tweak


def _option_changes(options: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in options.items():
        if isinstance(value, bool):
            yield name, not value
        elif name == "betas":
            a, b = value
            for other in (
                (b, a),
                (1 - a, 1 - b),
                (a, 0.99),
                (a, 0.999),
                (a, 0.9),
                (0.9, b),
                (a, 0.98),
                (0.0, b),
                (1 - a, b),
                (a, 1 - b),
            ):
                if other != (a, b):
                    yield name, other
        elif isinstance(value, float | int):
            found = [2 * value, value / 2, 1 - value, 0.0, 10 * value, value / 10]
            if name == "eps":
                found = [1e-3, 1e-5, 1e-6, 1e-7, 1e-8, 1e-10, 1e-12, 1e-15, 0.0]
            if name == "lr":
                found += [1.0, 0.1, 0.01, 0.001, 1e-4, -value]
            if name in ("weight_decay", "lr") and isinstance(options.get("lr"), float):
                wd = options.get("weight_decay", 0)
                found += (
                    [wd * options["lr"], wd / options["lr"]]
                    if wd and name == "weight_decay"
                    else []
                )
                found += [1e-2, 1e-4] if name == "weight_decay" else []
            for number in dict.fromkeys(float(f) for f in found):
                if number != value:
                    yield name, number


def _other_kinds() -> list[Any]:
    o = torch.optim
    return [o.SGD, o.Adam, o.AdamW, o.RMSprop, o.Adagrad, o.Adadelta, o.Adamax, o.NAdam, o.RAdam]


def _update_fit(
    code: OwnOptimizer,
    kind: Any,
    kwargs: Mapping[str, Any],
    trials: Sequence[tuple[Scenario, Trial]],
    scenario: Scenario,
    first: Trial,
) -> Any:
    """Generic fits of the change that was made at the first bad step."""
    label = first.failed[0]
    if " state " in label:
        label = f"step {label.split()[1]} parameter {label.split()[3]}"
    step, i = int(label.split()[1]), int(label.split()[3])
    samples = []
    alike = [(s, t) for s, t in trials if s.name.startswith("one parameter")]
    for s, t in alike if scenario.name.startswith("one parameter") else [(scenario, first)]:
        if label not in t.user.found:
            continue
        g = s.grads[step - 1][i]
        if g is None:
            continue
        before = s.params[i] if step == 1 else t.user.found[f"step {step - 1} parameter {i}"]
        theirs = s.params[i] if step == 1 else t.reference[f"step {step - 1} parameter {i}"]
        sizes = {"t": float(step)}
        for name, value in {**defaults_of(kind), **kwargs}.items():
            if name == "betas":
                sizes |= {"beta1": value[0], "beta2": value[1]}
            elif isinstance(value, float) and value not in (0.0, 1.0):
                sizes[name] = value
        eps = float(np.finfo(np.float64).eps)
        size = float(np.max(np.abs(before), initial=1.0))
        samples.append(
            Sample(
                t.user.found[label] - before,
                t.reference[label] - theirs,
                t.allowed.get(label, 0.0) + eps * size,
                {"the parameter": theirs, "the gradient": g},
                sizes,
            )
        )
    if not samples:
        return None
    found = fits(samples)
    return found[0] if found else None


def defaults_of(kind: Any) -> dict[str, Any]:
    """The options of a torch optimizer or schedule that have a default."""
    return {
        k: p.default
        for k, p in inspect.signature(kind).parameters.items()
        if p.default is not p.empty
    }
