"""Optimizers and schedules are compared as trajectories, scenario by scenario.

Each scenario adds one thing to the plainest run (a second parameter, a changed rate, a missing
gradient, gradients near eps), so that the first scenario to fail says what matters.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from parity_tests.harness.compare.cause import Cause
from parity_tests.harness.compare.explain import Comparison
from parity_tests.harness.compare.locate import Nearby, distances, gap, measure
from parity_tests.harness.compare.own_optimizer import OwnOptimizer, translate
from parity_tests.harness.compare.scenario import Scenario, run_torch, scenarios
from parity_tests.harness.compare.trajectory_causes import explain_trajectory
from parity_tests.harness.compare.trials import Trial

Array = np.ndarray[Any, np.dtype[Any]]


def compare_optimizer(
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
    """Hold two optimizers side by side over every scenario."""
    kind, their_kwargs = _torch_optimizer(theirs, their_args, their_kwargs)
    if lr is not None:
        their_kwargs = {**their_kwargs, "lr": lr}
        mine_kwargs = {**mine_kwargs, "lr": lr}
    notes: list[str] = []
    code = OwnOptimizer(mine, () if same_call else mine_args, mine_kwargs, notes)
    shown = ", ".join(f"{k}={v!r}" for k, v in their_kwargs.items())
    result = Comparison(code.name, f"torch.optim.{kind.__name__}({shown})")
    result.notes += notes
    trials: list[tuple[Scenario, Trial]] = []
    for scenario in scenarios(seed, max(steps or 9, 6)):
        if scenario.rates and not code.has_rate:
            result.notes.append(
                f"'{scenario.name}' not tried: yours keeps no lr or learning_rate to set"
            )
            continue
        if scenario.in_place and code.form != "held":
            continue
        if not code.skips and any(g is None for step in scenario.grads for g in step):
            continue
        trial = Trial(scenario.name, "unit", "train", seed, {})
        trial.user.found, problem = code.run(scenario)
        compared = "state and " if any(" state " in k for k in trial.user.found) else ""
        trial.reference = run_torch(kind, their_kwargs, scenario)
        near = Nearby(seed=seed)
        noise = [
            distances(run_torch(kind, their_kwargs, scenario.moved(near)), trial.reference)
            for _ in range(2)
        ]
        trial.noise = {k: [n[k] for n in noise] for k in trial.reference}
        if problem:
            trial.user.problems.append(("step", problem))
        deviations = measure(trial)
        worst = max((d.units for d in deviations), default=0.0)
        trial.margin = 1 / worst if worst else math.inf
        trials.append((scenario, trial))
    result.trials = len(trials)
    result.places = [s.name for s, t in trials if not t.failed and not t.user.problems]
    result.compact = True
    result.notes.append(f"{compared}parameters compared after every step of every run")
    result.margin = min((t.margin for _, t in trials if not t.failed), default=math.inf)
    for scenario, trial in trials:
        for _, problem in trial.user.problems:
            text = f"raised {problem}"
            if any(cause.text == text for cause in result.causes):
                continue
            result.gaps.append(replace(_problem(trial, text), origin=scenario.name))
            result.causes.append(Cause("contract step", text, "contract", 0.0, ("contract step",)))
        if trial.failed:
            label = trial.failed[0]
            result.gaps.append(replace(gap(trial, label), label=f"{scenario.name}: {label}"))
    if result.gaps and not result.causes:
        explain_trajectory(result, code, kind, their_kwargs, trials, mistakes)
    return result


def _problem(trial: Trial, text: str) -> Any:
    from parity_tests.harness.compare.locate import Gap

    return Gap("contract step", trial.name, text)


def _torch_optimizer(
    theirs: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Any, dict[str, Any]]:
    if not inspect.isclass(theirs):
        group = {
            k: v for k, v in theirs.param_groups[0].items() if k not in ("params", "param_names")
        }
        takes = inspect.signature(type(theirs)).parameters
        return type(theirs), {k: v for k, v in group.items() if k in takes and k != "foreach"}
    takes = inspect.signature(theirs).parameters
    kwargs = translate(kwargs, list(takes), theirs.__name__)
    for name, value in zip(list(takes)[1:], args):
        kwargs[name] = value
    return theirs, kwargs
