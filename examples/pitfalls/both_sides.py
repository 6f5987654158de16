"""One setting trained in NumPy and in PyTorch, and whether the two runs are the same.

Both sides start from the same weights and draw the same shuffles and dropout masks, in float64. How
far their numbers may be apart is derived as the parity suite derives it: torch trains again, twice
(once for a quick look), with weights and data one unit in the last place off, and with every layer,
every step of a recurrence and of the training rounded as another right program could have done:

    allowed = 16 * (epsilon * |reference| + what that moved up to this step)

One or two such runs may happen to move little. So where an allowance is exceeded, and not a
thousand times, four more are trained, and what rounding moves is the most that it did.

Training that goes wrong magnifies rounding without bound. So a curve is held up to the step where
the allowance reaches 1e-4 of the number itself: on what comes later no two right programs agree.
How many steps were held is counted and said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

import numpy_impl.architectures
import numpy_impl.debugging
import torch_impl.architectures
import torch_impl.debugging
import torch_impl.initialization
import torch_impl.optimization
from parity_tests.harness.bridge import to_numpy, to_torch
from parity_tests.harness.budget import Deviation, by_chance, deviation, jitter
from parity_tests.harness.rounding import rounded_layers, rounded_recurrences, rounded_steps
from parity_tests.harness.training_case import Data

Array = np.ndarray[Any, np.dtype[Any]]
Numbers = dict[str, Array]

TELLING = 1e-4  # an allowance above this share of a number proves nothing

CLOSER = 4  # more runs of the reference, where chance may have exceeded an allowance
FEW = 3  # steps that must be held at least: with fewer, agreement would mean nothing

LOSS, NORM = "loss", "gradient norm"  # of each step
VAL_LOSS, VAL_METRIC = "validation loss", "validation metric"  # of each epoch
RATE = "learning rate"
CURVES = LOSS, NORM, RATE, VAL_LOSS, VAL_METRIC
GRADIENTS, SPREADS = "gradient by layer, log10", "activations' std by layer, log10"
BROKE_DOWN = "broke down at step"  # 0 if it did not


@dataclass(frozen=True)
class Setting:
    """One way to train.

    Attributes:
        name: what the table and the figure call it.
        make: makes the model, from a side: numpy_impl or torch_impl, which have the same names.
        train: trains a side's model on data and writes into a history.
        arrays: what it trains on: x, y, x_val and y_val, floats as float64.
        measure: numbers of a model on data, taken before the training and after it.
        role: "before" what goes wrong, "after" a cure, or a "test" that is neither.
    """

    name: str
    make: Callable[[Any], Any]
    train: Callable[[Any, Any, Data, Any], object]
    arrays: Mapping[str, Array]
    measure: Callable[[Any, Any, Data], Mapping[str, Any]] = lambda impl, model, data: {}
    role: Literal["before", "after", "test"] = "after"


@dataclass(frozen=True)
class Pair:
    """What came out on both sides, by what it is called, and how the two were held together."""

    name: str
    role: str
    ours: Numbers
    theirs: Numbers
    deviations: list[Deviation]
    held: int

    def __getitem__(self, label: str) -> Array:
        return self.ours[label]

    def last(self, label: str, n: int = 1) -> float:
        """The mean of a curve's last n entries; NaN if it broke down before the first."""
        return float(np.mean(self[label][-n:])) if len(self[label]) else float("nan")

    def turned(self) -> Pair:
        """The same with PyTorch's numbers as ours."""
        return replace(self, ours=self.theirs, theirs=self.ours)

    @property
    def steps(self) -> int:
        """How many steps were taken."""
        return len(self[LOSS])

    @property
    def difference(self) -> float:
        """The largest difference of a step's loss, as a share of it, as far as it is held."""
        ours, theirs = self.ours[LOSS][: self.held], self.theirs[LOSS][: self.held]
        return float((np.abs(ours - theirs) / np.abs(theirs)).max(initial=0.0))

    @property
    def share(self) -> float:
        """The largest share that was taken of an allowance; 1 would be the limit."""
        return max(d.units for d in self.deviations)

    @property
    def disagreements(self) -> list[Deviation]:
        """What is further apart than allowed."""
        return [d for d in self.deviations if not d.passed]


def train_both(setting: Setting, seed: int, nearby: int, tick: Callable[[], object]) -> Pair:
    """Train on both sides, and then nearby runs of the reference; `tick` is called after each."""
    numpy_impl.manual_seed(seed)
    state = setting.make(numpy_impl).double().state_dict()
    given = {f"state {key}": value.copy() for key, value in state.items()} | dict(setting.arrays)
    rng = np.random.default_rng(seed)

    def run(impl: Any, given: Mapping[str, Array]) -> Numbers:
        found = _run(impl, setting, given, seed)
        tick()
        return found

    ours, theirs = run(numpy_impl, given), run(torch_impl, given)

    def others(n: int) -> list[Numbers]:
        with rounded_layers(rng), rounded_recurrences(rng), rounded_steps(rng):
            return [run(torch_impl, jitter(given, rng)) for _ in range(n)]

    moved = others(nearby)
    deviations, held = _held(ours, theirs, moved)
    if by_chance(deviations):
        deviations, held = _held(ours, theirs, moved + others(CLOSER))
    if held < min(FEW, len(theirs[LOSS])):
        text = f"only {held} steps come before rounding decides, wanted {FEW}"
        deviations.append(Deviation(LOSS, "float64", 0, 0, 0, 0, (), 0, 0, problem=text))
    return Pair(setting.name, setting.role, ours, theirs, deviations, held)


def by_layer(impl: Any, model: Any, data: Data) -> dict[str, Array]:
    """log10 of each weight's gradient, and of how far each activation spreads, on all of the data.

    One watched step at a rate of 0: the gradient's norm by weight matrix, and the standard
    deviation of what comes out of each activation.
    """
    kinds, spreads = (impl.layers.ReLU, impl.layers.Sigmoid, impl.layers.Tanh), []
    hooks = [
        module.register_forward_hook(lambda module, x, y: spreads.append(np.std(to_numpy(y))))
        for module in model.modules()
        if isinstance(module, kinds)
    ]
    optimizer = impl.optimization.SGD(model.parameters(), lr=0.0)
    with impl.debugging.Monitor(model, optimizer) as monitor:
        criterion = impl.losses.CrossEntropyLoss()
        impl.training.train_step(model, (data.x, data.y), criterion, optimizer)
    for hook in hooks:
        hook.remove()
    weights = [name for name, p in model.named_parameters() if p.ndim > 1]
    with np.errstate(divide="ignore"):  # where all is 0, that is what is to be seen
        return {
            GRADIENTS: np.log10([monitor.grad_norm[name][0] for name in weights]),
            SPREADS: np.log10(spreads),
        }


def _run(impl: Any, setting: Setting, given: Mapping[str, Array], seed: int) -> Numbers:
    """One run on one side."""
    numpy_side = impl is numpy_impl
    stream, carry = (numpy_impl, dict) if numpy_side else (torch.default_generator, to_torch)
    model = setting.make(impl).double()
    state = carry({k[6:]: x for k, x in given.items() if k.startswith("state ")})
    arrays = carry({k: x for k, x in given.items() if not k.startswith("state ")})
    data = Data(**arrays, generator=(impl if numpy_side else torch).Generator().manual_seed(seed))
    model.load_state_dict(state)
    found = {f"{k} before": v for k, v in setting.measure(impl, model, data).items()}
    model.load_state_dict(state)  # a norm's statistics have moved
    stream.manual_seed(seed)  # of dropout
    history, broke_down = impl.training.History(), 0
    try:
        setting.train(impl, model, data, history)
        found |= {f"{k} after": v for k, v in setting.measure(impl, model, data).items()}
    except impl.training.NonFiniteError:
        broke_down = history.steps + 1
    found |= {
        LOSS: history.step_loss,
        NORM: history.step_grad_norm,
        RATE: history.step_lr,
        VAL_LOSS: history.val_loss,
        VAL_METRIC: history.val_metric,
        BROKE_DOWN: broke_down,
    }
    return {label: np.atleast_1d(np.asarray(to_numpy(x))) for label, x in found.items()}


def _held(ours: Numbers, theirs: Numbers, nearby: list[Numbers]) -> tuple[list[Deviation], int]:
    """Every number against its allowance, and how many steps an allowance tells anything."""
    found, steps = [], len(theirs[LOSS])
    noise = {k: [_moved(o[k], x, k in CURVES) for o in nearby] for k, x in theirs.items()}
    held = min(_telling(theirs[k], noise[k]) for k in (LOSS, NORM))
    for label, truth in theirs.items():
        if label in CURVES:
            n = _telling(truth, noise[label])
        elif label.endswith("after") and held < steps:
            continue  # no two right programs end alike
        else:
            n = len(truth)
        cut = [x[:n] for x in noise[label]]
        mine = ours[label] if n == len(truth) else ours[label][:n]
        found.append(deviation(label, mine, truth[:n], cut, "float64", by_step=label in CURVES))
    return found, held


def _moved(other: Array, truth: Array, curve: bool) -> Array:
    """How far from the reference a nearby run is; along a curve, has been up to each step."""
    if truth.dtype.kind != "f":
        return np.zeros(truth.shape)
    n = min(len(truth), len(other))
    apart = np.full(truth.shape, np.inf)  # from where the nearby run broke down
    apart[:n] = 0.0
    np.subtract(truth[:n], other[:n], out=apart[:n], where=truth[:n] != other[:n])  # not inf - inf
    np.abs(apart, out=apart)
    return np.maximum.accumulate(apart, axis=0) if curve else apart


def _telling(truth: Array, noise: list[Array]) -> int:
    """How many steps come before the first whose allowance tells nothing."""
    blind = 16 * np.max(noise, axis=0) > TELLING * np.abs(truth)
    return int(np.argmax(blind)) if blind.any() else len(truth)
