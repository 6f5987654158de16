"""Which layer a NaN or infinity came from, on both sides in the same words."""

import pickle
from functools import partial
from typing import Any

import numpy as np
import torch

import numpy_impl.architectures
import numpy_impl.layers
import numpy_impl.losses
import torch_impl.architectures
import torch_impl.layers
import torch_impl.losses
from numpy_impl.training import non_finite as ours
from parity_tests.harness import Mistake, RuleCase
from parity_tests.harness.bridge import same_stream, to_numpy, to_torch
from torch_impl.training import non_finite as theirs

CLASSES = 3


def network(impl):
    """Six modules, batch norm and dropout among them, in training mode."""
    return impl.architectures.DeepMLP([4, 5, 6, CLASSES], batch_norm=[True, False], dropout=0.3)


def broken(impl, where, state, x, y):
    """A network, inputs and a criterion, with something wrong at one place."""
    model, criterion = network(impl), impl.losses.CrossEntropyLoss()
    state, x, y = {k: v.copy() for k, v in state.items()}, x.copy(), y.copy()
    if where == "input":
        x[2, 1] = np.nan
    elif where == "parameter":
        state["net.4.weight"][1, 2] = np.inf
    elif where == "overflow":
        state["net.1.weight"][:] = 1e30
        state["net.4.weight"][:] = 1e30
    elif where == "loss":
        state["net.7.weight"][:] = 0
        state["net.7.bias"][:] = [0, 3e38, -3e38]
        y[:] = 2
    numpy_side = impl is numpy_impl
    model.load_state_dict(state if numpy_side else to_torch(state))
    return model, (x if numpy_side else to_torch(x)), (y if numpy_side else to_torch(y)), criterion


EXPECTED = {
    "input": (None, "input 0 already has nan at [2, 1], 1 of 28 values"),
    "parameter": ("net.4", "net.4 (Linear) is the first whose output has"),
    "overflow": ("net.4", "from finite input and finite parameters"),
    "loss": (None, "the criterion (CrossEntropyLoss) is the first whose output has inf"),
    "nothing": (None, "every output is finite"),
}


def own_model(where, weight, impl):
    """A module of somebody's own: 1 / x before its layer, or 1 / y after it; spares hold NaN."""
    nn: Any = numpy_impl.nn if impl is numpy_impl else torch.nn

    class Reciprocal(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.spare = impl.layers.Linear(2, 2, bias=False), nn.BatchNorm1d(2)
            for values, value in (
                (self.net.weight.data, weight),
                (self.spare.weight.data, np.nan),
                (self.spare.running_mean, np.nan),
            ):
                values[...] = value

        def forward(self, x):
            return (self.net(1 / x), None) if where == "before" else (None, 1 / self.net(x))

    return Reciprocal()


class TestFindNonFinite(RuleCase):
    numpy, torch = ours.find_non_finite, theirs.find_non_finite
    covers = (ours.NonFiniteError,)
    mistakes = {
        "the last layer that shows it": Mistake(
            lambda model, inputs, target=None, criterion=None: (
                "net.7",
                ours.find_non_finite(model, inputs, target, criterion)[1],
            ),
            "Whoever looks where the NaN is seen, at the output.",
            "The layer that made it is not the one that is mended.",
        ),
        "run in plain sight": Mistake(
            lambda model, inputs, target=None, criterion=None: (
                model(*inputs),
                ours.find_non_finite(model, inputs, target, criterion),
            )[1],
            "A classic slip: the search runs the model as training does.",
            "Running statistics move and random numbers are drawn by looking.",
        ),
    }

    def check_layer_and_words_agree_and_nothing_is_moved(self, log, rng):
        x = rng.standard_normal((7, 4)).astype(np.float32)
        y = rng.integers(0, CLASSES, 7)
        state = {k: np.array(v) for k, v in network(numpy_impl).state_dict().items()}
        for where, (layer, words) in EXPECTED.items():
            found = []
            for impl, find in (
                (numpy_impl, type(self).numpy),
                (torch_impl, theirs.find_non_finite),
            ):
                model, inputs, target, criterion = broken(impl, where, state, x, y)
                (numpy_impl if impl is numpy_impl else torch.default_generator).manual_seed(3)
                before = {k: np.array(to_numpy(v)) for k, v in model.state_dict().items()}
                with np.errstate(all="ignore"):
                    found.append(find(model, [inputs], target, criterion))
                after = {k: np.array(to_numpy(v)) for k, v in model.state_dict().items()}
                same = all(np.array_equal(after[k], before[k]) for k in before)
                log.require(same and model.training, f"{where}: the model was changed")
                if impl is numpy_impl:
                    saved = [m for m in model.modules() if m._saved or m._forward_hooks]
                    log.require(not saved, f"{where}: {saved} keep something")
            log.require(found[0] == found[1], f"{where}: {found[0]}, torch side {found[1]}")
            log.require(found[0][0] == layer and words in found[0][1], f"{where}: {found[0]}")
            streams = numpy_impl.random.default_generator, torch.default_generator
            log.require(same_stream(*streams), f"{where}: the random streams moved")

    def check_a_value_made_between_modules_is_not_blamed_on_one(self, log, rng):
        x = np.zeros((1, 2), np.float32)
        for weight, causes in (
            (1.0, "what it was handed, made between modules, has inf at [0, 0], 2 of 2 values"),
            (
                np.nan,
                "its weight has nan at [0, 0], 4 of 4 values and what it was handed, made between "
                "modules, has inf at [0, 0], 2 of 2 values",
            ),
        ):
            for layer, words in self.found_in(partial(own_model, "before", weight), x):
                log.require(layer == "net" and words.endswith(causes), f"{layer}: {words}")

    def check_a_value_made_after_the_modules_is_the_models_own(self, log, rng):
        for layer, words in self.found_in(partial(own_model, "after", 0.0), np.zeros((1, 2))):
            says = (
                "the model (Reciprocal) is the first whose output has inf at [0, 0], 2 of 2 "
                "values: from finite input and finite parameters"
            )
            log.require(layer is None and words == says, f"{layer}: {words}")

    def check_what_is_not_handed_in_is_not_looked_at(self, log, rng):
        x, y = np.ones((1, 2), np.float32), np.array([[1.0, np.nan]], np.float32)
        for impl, find in self.sides():
            model, criterion = impl.layers.Linear(2, 2), impl.losses.MSELoss()
            inputs, target = (x, y) if impl is numpy_impl else to_torch((x, y))
            for told in ({"criterion": criterion}, {"target": inputs}):
                found = find(model, [inputs], **told)
                log.require("every output is finite" in found[1], f"{told}: {found}")
            found = find(model, [inputs], target, criterion)
            says = (None, "the target already has nan at [0, 1], 1 of 2 values")
            log.require(found == says, f"{found}")

    def sides(self):
        yield numpy_impl, type(self).numpy
        yield torch_impl, theirs.find_non_finite

    def found_in(self, model, x):
        """What both sides find in a model that is fed x."""
        x = x.astype(np.float32)
        for impl, find in self.sides():
            yield find(model(impl), [x if impl is numpy_impl else to_torch(x)])

    def check_the_error_says_where(self, log, rng):
        for Error in (ours.NonFiniteError, theirs.NonFiniteError):
            bare = Error("the loss is nan")
            log.require(str(bare) == "the loss is nan", f"bare: {bare}")
            log.require((bare.layer, bare.epoch, bare.step) == (None, 0, 0), f"{vars(bare)}")
            error = Error("the loss is nan", "net.2 is to blame", layer="net.2")
            sent = pickle.loads(pickle.dumps(error))
            log.require(vars(sent) == vars(error), f"another process gets {vars(sent)}")
            log.require(str(error) == "the loss is nan; net.2 is to blame", str(error))
            error.epoch, error.step = 3, 14
            says = "epoch 3, step 14: the loss is nan; net.2 is to blame"
            log.require(str(error) == says and error.layer == "net.2", str(error))
            error.step = 0
            log.require(str(error).startswith("epoch 3, validation: "), str(error))
            log.require(isinstance(error, FloatingPointError), "no FloatingPointError")


def test_streams_are_those_that_modules_and_loaders_hold_each_once():
    streams = [numpy_impl.Generator() for _ in range(2)]
    first, second = streams
    Dropout = numpy_impl.nn.Dropout
    model = numpy_impl.nn.Sequential(Dropout(generator=first), Dropout(generator=first))
    loader = numpy_impl.training.batches(np.ones((3, 2)), generator=second)
    everything = [numpy_impl.random.default_generator, *streams]
    assert ours.streams_of(model, loader, [np.ones((3, 2))]) == everything
    model.train()
    before = [stream.get_state() for stream in everything]
    assert ours.find_non_finite(model, [np.ones((3, 2))])[0] is None
    assert all(map(np.array_equal, before, [stream.get_state() for stream in everything]))
