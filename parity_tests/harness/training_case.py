"""Whole trainings under parity: the same network on the same digits, step by step.

    class TestMLP(TrainingParity):
        def make(self, impl):
            return impl.architectures.DeepMLP([64, 32, 10])

        def train(self, impl, model, data, epochs):
            return model.fit(data.x, data.y, epochs, self.batch_size, generator=data.generator)

`impl` is numpy_impl or torch_impl, so one declaration serves both. Both start from one seed and
nothing is copied: the same numbers of both generators make the weights, the shuffles and the
dropout masks. Where `copies_weights` says so, weights that stand already are loaded on both sides.

float64 is compared over the whole run, float32 over its first steps: two right float32 runs part
for good where the input of a ReLU is so near 0 that rounding gives it another sign. Where that
happens is in the title of the float32 curve.

The budget of a step: weights and data are put one ulp off in the reference, and every step is made
as another rounding could have made it (see `rounding`).
A difference goes on to all later steps, so what this has moved up to a step is allowed from there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

import numpy_impl.architectures
import numpy_impl.training
import torch_impl.architectures
import torch_impl.losses
import torch_impl.optimization
import torch_impl.regularization
import torch_impl.training
from examples.datasets import load_splits
from parity_tests.harness.bridge import same_stream, to_numpy, to_torch
from parity_tests.harness.budget import Arrays, Deviation, Known, hold, jitter
from parity_tests.harness.case import Case, Check, Curve, Log, Settings
from parity_tests.harness.inputs import Array
from parity_tests.harness.promised import far_from_promised
from parity_tests.harness.rounding import rounded_steps
from parity_tests.harness.stand_ins import Place

SEED = 5
NEARBY = 2  # runs of the reference an ulp away
DRAWN = {  # what is drawn of a run, and what a reader calls it
    "step loss": "loss",
    "gradient norm": "gradient norm",
    "step lr": "learning rate",
    "step val_loss": "validation loss",
}


@dataclass(frozen=True)
class Data:
    """What one side trains on: arrays or tensors, and a fresh generator for the shuffles."""

    x: Any
    y: Any
    x_val: Any
    y_val: Any
    generator: Any


class TrainingParity(Case):
    """A training run with `numpy_impl` beside the same run with `torch_impl`.

    Class attributes:
        epochs: of the whole run.
        batch_size: for `train` to use.
        samples: how many training digits; None takes all of them.
        steps: how many steps are compared in float32.
        copies_weights: whether both sides load the same weights rather than draw them.
        mistakes, rewrites: methods to put in the place of this case's, by name, for the NumPy side.
    """

    epochs: ClassVar[int] = 4
    batch_size: ClassVar[int] = 64
    samples: ClassVar[int | None] = 320
    steps: ClassVar[int] = 10
    copies_weights: ClassVar[bool] = False
    _references: dict[Any, Known]

    # ---- what a case writes -----------------------------------------------------------------

    def make(self, impl: Any) -> Any:
        """The model."""
        raise NotImplementedError

    def train(self, impl: Any, model: Any, data: Data, epochs: int) -> Any:
        """Train it for so many epochs; returns the history."""
        raise NotImplementedError

    def arrays(self) -> dict[str, Array]:
        """x, y, x_val and y_val: float64 digits as rows of 64, and their labels."""
        splits = load_splits()
        n = self.samples
        return {
            "x": splits.x_train[:n].reshape(-1, 64).astype(np.float64),
            "y": splits.y_train[:n],
            "x_val": splits.x_val.reshape(-1, 64).astype(np.float64),
            "y_val": splits.y_val,
        }

    # ---- the checks -------------------------------------------------------------------------

    def checks(self, settings: Settings) -> Iterator[Check]:
        """The whole run, the first steps, and that what is wrong is caught."""
        self._references = {}  # of torch's runs: every mistake is held against the same one
        epochs, seed = 1 if settings.quick else self.epochs, SEED + settings.seed
        if "float64" in settings.dtypes:
            yield Check(
                f"whole run[{epochs} epochs|float64]", lambda log: self._whole(log, epochs, seed)
            )
        if "float32" in settings.dtypes:
            name = f"first {self.steps} steps[float32]"
            yield Check(name, lambda log: self._first_steps(log, epochs, seed))
        yield from self.trials(settings)

    def _whole(self, log: Log, epochs: int, seed: int) -> None:
        self._starts(log, seed)
        self._references.clear()  # torch must run here too, for its stream to be looked at
        found, curves = self._compare(self._given(seed), "float64", epochs, seed)
        log.compare(found, f"{epochs} epochs")
        log.curves += curves if epochs > 1 else curves[:1]  # of one epoch the loss says it all
        log.require(
            same_stream(numpy_impl.random.default_generator, torch.default_generator),
            "the global random streams stand at different places at the end",
        )

    def _starts(self, log: Log, seed: int) -> None:
        """From one seed the weights are torch's, to the bit where bits are promised."""
        numpy_impl.manual_seed(seed)
        torch.default_generator.manual_seed(seed)
        start = to_numpy(dict(self.make(torch_impl).state_dict()))
        for k, x in self.make(numpy_impl).state_dict().items():
            text = far_from_promised(x, start[k], "uniform", "normal")
            log.require(not text, f"{k} at the start: {text}")

    def _first_steps(self, log: Log, epochs: int, seed: int) -> None:
        found, _ = self._compare(self._short(seed), "float32", 1, seed)
        log.compare(found, f"{self.steps} steps")
        given = {k: _cast(x, "float32") for k, x in self._drawn(self._given(seed)).items()}
        signs: list[list[tuple[str, Array]]] = [[], []]
        ours = self._run(numpy_impl, given, epochs, seed, signs[0])
        theirs = self._run(torch_impl, given, epochs, seed, signs[1])
        title = f"loss in float32: {_parting(*signs)}"
        log.curves.append(_curve(title, "step loss", ours, theirs))

    def _short(self, seed: int) -> dict[str, Array]:
        given = self._given(seed)
        for name in ("x", "y"):
            given[name] = given[name][: self.steps * self.batch_size]
        return given

    def places(self, settings: Settings) -> Iterator[Place]:
        """The run of all epochs on the digits of the first steps."""
        yield _Course(self)

    def instead(self, stand_in: Any) -> dict[str, Any]:
        """Methods of the case, by name."""
        return dict(stand_in)

    # ---- running both sides -----------------------------------------------------------------

    def _drawn(self, given: Arrays) -> Arrays:
        """What a run is given that draws its own weights, if this case's do."""
        kept = self.copies_weights
        return {k: x for k, x in given.items() if kept or not k.startswith("state")}

    def _given(self, seed: int = SEED) -> dict[str, Array]:
        numpy_impl.manual_seed(seed)
        state = self.make(numpy_impl).double().state_dict()
        return {f"state {k}": v.copy() for k, v in state.items()} | self.arrays()

    def _run(
        self,
        impl: Any,
        given: Arrays,
        epochs: int,
        seed: int = SEED,
        signs: list[tuple[str, Array]] | None = None,
    ) -> dict[str, Array]:
        """One run on one side: what it wrote down and what became of the model, by label.

        It starts from the state given, or without one from what `make` draws; either way the
        global stream goes on from there.
        `signs` takes in, for every rectifier in every step, where its output is positive.
        """
        dtype, numpy_side = str(given["x"].dtype), impl is numpy_impl
        state = {k[6:]: x for k, x in given.items() if k.startswith("state")}
        arrays = {k: x.copy() for k, x in given.items() if not k.startswith("state")}
        (numpy_impl if numpy_side else torch.default_generator).manual_seed(seed)
        model = self.make(impl).to(dtype if numpy_side else getattr(torch, dtype))
        if state:
            model.load_state_dict(state if numpy_side else to_torch(state))
        if signs is not None:
            _watch(model, signs)
        generator = (numpy_impl if numpy_side else torch).Generator().manual_seed(seed)
        data = Data(generator=generator, **(arrays if numpy_side else to_torch(arrays)))
        history = self.train(impl, model, data, epochs)
        output = impl.training.predict(model, data.x_val)
        numbers = {
            "step loss": history.step_loss,
            "gradient norm": history.step_grad_norm,
            "step lr": history.step_lr,
            "step train_loss": history.train_loss,
            "step val_loss": history.val_loss,
            "step val_metric": history.val_metric,
        }
        found = {label: np.array(entries, dtype) for label, entries in numbers.items()}
        found["forward predictions"] = to_numpy(output)[None]
        end = to_numpy(dict(model.state_dict()))
        return found | {f"step {k} at the end": np.array(v)[None] for k, v in end.items()}

    def _compare(
        self,
        given: Arrays,
        dtype: str,
        epochs: int,
        seed: int,
    ) -> tuple[list[Deviation], list[Curve]]:
        """Every number against its budget, and the curves."""
        given = {k: _cast(x, dtype) for k, x in given.items()}
        key = dtype, epochs, seed, len(given["x"])
        if key not in self._references:
            self._references[key] = self._reference(given, epochs, seed)
        known = self._references[key]
        truth, noise = known.truth, known.noise
        got = self._run(numpy_impl, self._drawn(given), epochs, seed)
        found = hold(got, known, dtype, by_step=True)
        drawn = []
        for k in DRAWN if dtype == "float64" else ():
            allowed = 16 * (np.finfo(float).eps * np.abs(truth[k]) + np.max(noise[k], axis=0))
            drawn.append(_curve(f"{DRAWN[k]} in {dtype}", k, got, truth, allowed))
        return found, drawn

    def _reference(self, given: Arrays, epochs: int, seed: int) -> Known:
        """torch's run in float64, and what an ulp (float64) or its own float32 moves."""
        rng = np.random.default_rng(seed)
        nearby = [given] + [jitter(given, rng) for _ in range(NEARBY)]
        if given["x"].dtype == np.float64:
            truth = self._run(torch_impl, self._drawn(given), epochs, seed)
            with rounded_steps(rng):
                pairs = [(self._run(torch_impl, g, epochs, seed), truth) for g in nearby[1:]]
        else:
            wide = [{k: _cast(x, "float64") for k, x in g.items()} for g in nearby]
            exact = [self._run(torch_impl, g, epochs, seed) for g in wide]
            pairs = [(self._run(torch_impl, g, epochs, seed), e) for g, e in zip(nearby, exact)]
            truth = exact[0]
        return Known(truth, {k: [_lasting(a[k], b[k]) for a, b in pairs] for k in truth})


class _Course(Place):
    """Where mistakes are tried: all epochs, on the digits of the first steps."""

    name, by_step = "course", True

    def __init__(self, case: TrainingParity) -> None:
        self._case, self._given = case, case._short(SEED)

    def run(self, case: TrainingParity) -> Arrays:
        return case._run(numpy_impl, case._drawn(self._given), case.epochs, SEED)

    def measure(self) -> Known:
        return self._case._reference(self._given, self._case.epochs, SEED)


def _watch(model: Any, signs: list[tuple[str, Array]]) -> None:
    """Write down where every rectifier's output is positive, at each training step."""

    def look(name: str, training: bool, y: Any) -> None:
        if training:
            signs.append((name, to_numpy(y > 0)))

    for name, module in model.named_modules():
        if type(module).__name__ in ("ReLU", "LeakyReLU"):
            module.register_forward_hook(lambda m, _, y, name=name: look(name, m.training, y))


def _lasting(rough: Array, exact: Array) -> Array:
    """How far apart, at the worst step so far: a difference goes on to all later steps."""
    if exact.dtype.kind != "f" or not exact.size:
        return np.zeros(exact.shape)
    return np.maximum.accumulate(np.abs(rough - exact), axis=0)


def _cast(x: Array, dtype: str) -> Array:
    return x.astype(dtype) if x.dtype.kind == "f" else x


def _parting(ours: list[tuple[str, Array]], theirs: list[tuple[str, Array]]) -> str:
    """Where a rectifier first lets through on one side what it stops on the other, in words."""
    layers = len({name for name, _ in ours})
    for i, ((name, a), (_, b)) in enumerate(zip(ours, theirs)):
        if not np.array_equal(a, b):
            differ = np.count_nonzero(a != b)
            return f"signs part at step {i // layers + 1} in {name}, {differ} of {a.size} numbers"
    return "every rectifier has the same signs throughout"


def _curve(
    title: str,
    label: str,
    ours: Arrays,
    theirs: Arrays,
    allowed: Array | None = None,
) -> Curve:
    per_step = label != "step val_loss"
    return Curve(
        title=title,
        x_label="step" if per_step else "epoch",
        y_label=DRAWN[label],
        ours=ours[label].tolist(),
        reference=theirs[label].tolist(),
        allowed=None if allowed is None else allowed.tolist(),
    )
