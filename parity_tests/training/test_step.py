"""One step: what it returns, in which order, and that a bad one moves nothing."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

import numpy_impl.architectures
import numpy_impl.losses
import numpy_impl.nn
import numpy_impl.optimization
import numpy_impl.regularization
import torch_impl.architectures
import torch_impl.losses
import torch_impl.optimization
import torch_impl.regularization
from numpy_impl.optimization import clip_grad_norm_
from numpy_impl.training import NonFiniteError
from numpy_impl.training import step as ours
from parity_tests.harness import Mistake, RuleCase
from parity_tests.harness.bridge import to_numpy, to_torch
from parity_tests.harness.budget import compare
from parity_tests.harness.refusal import refused
from torch_impl.training import step as theirs

OPTIONS = {
    "plain": {},
    "clipped by norm": {"clip_norm": 0.1},
    "clipped, but nothing to clip": {"clip_norm": 1e3},
    "clipped by value": {"clip_value": 0.01},
    "with a penalty": {"penalty": (0.01, 0.02)},
    "with a penalty, clipped": {"penalty": (0.01, 0.02), "clip_norm": 0.2},
}


BAD = {
    "an input": "the loss is nan; input 0 already has nan at [3, 1]",
    "a parameter": "net.2 (Linear) is the first whose output has",
    "the criterion": "the criterion (CrossEntropyLoss) is the first whose output has inf",
    "the gradient": "backward came first to the gradient of",
    "the sum of squares": "the gradients' norm is inf; every gradient is finite, only the sum of",
}
"""What is wrong before a step, and what it must say."""


def options_of(impl, options):
    """The penalty made on this side."""
    if "penalty" not in options:
        return options
    return {**options, "penalty": impl.regularization.ElasticNet(*options["penalty"])}


def sides(given):
    """Two models in the state that is given, two optimizers, two criteria, two batches."""
    for impl in (numpy_impl, torch_impl):
        model = impl.architectures.DeepMLP([4, 6, 3], activation="tanh")
        state = {k[6:]: v for k, v in given.items() if k.startswith("state")}
        if impl is numpy_impl:
            model.double().load_state_dict(state)
            batch = given["x"], given["y"]
        else:
            model.double().load_state_dict(to_torch(state))
            batch = to_torch((given["x"], given["y"]))
        optimizer = impl.optimization.SGD(model.parameters(), lr=0.5, momentum=0.9)
        yield impl, model, optimizer, impl.losses.CrossEntropyLoss(), batch


def clipped_after_the_update(model, batch, criterion, optimizer, *, clip_norm=None, **options):
    """backward, step, clip."""
    result = ours.train_step(model, batch, criterion, optimizer, **options)
    if clip_norm is not None:
        clip_grad_norm_(model.parameters(), clip_norm)
    return result


def gradients_kept(model, batch, criterion, optimizer, **options):
    """The last step's gradients left where they were."""
    held = [None if p.grad is None else p.grad.copy() for p in model.parameters()]
    backward = model.backward

    def added(dy):
        dx = backward(dy)
        for p, grad in zip(model.parameters(), held):
            p.grad = p.grad if grad is None else p.grad + grad
        return dx

    model.backward = added
    try:
        return ours.train_step(model, batch, criterion, optimizer, **options)
    finally:
        del model.backward


def norm_after_clipping(model, batch, criterion, optimizer, **options):
    """The norm of what is left."""
    loss, norm = ours.train_step(model, batch, criterion, optimizer, **options)
    return loss, np.minimum(norm, options.get("clip_norm") or np.inf)


def penalty_not_in_the_loss(model, batch, criterion, optimizer, *, penalty=None, **options):
    """Its gradient added, its price not reported."""
    price = 0.0 if penalty is None else penalty(model)
    loss, norm = ours.train_step(model, batch, criterion, optimizer, penalty=penalty, **options)
    return np.asarray(loss - price), norm


class TestTrainStep(RuleCase):
    numpy, torch = ours.train_step, theirs.train_step
    mistakes = {
        "clipped after the update": Mistake(
            clipped_after_the_update,
            "A classic slip of order: backward, step, clip.",
            "Nothing is clipped.",
        ),
        "gradients of the last step kept": Mistake(
            gradients_kept,
            "A classic slip: zero_grad() is forgotten.",
            "Steps follow the sum of all gradients so far.",
        ),
        "norm reported after clipping": Mistake(
            norm_after_clipping,
            "A classic slip: the norm is measured again for the log.",
            "The log shows the limit wherever it was exceeded.",
        ),
        "penalty not in the loss": Mistake(
            penalty_not_in_the_loss,
            "Code that adds the penalty's gradient and prints the loss without it.",
            "The curve is not that of what is minimised, and may rise.",
        ),
    }

    def given(self, rng):
        state = numpy_impl.architectures.DeepMLP([4, 6, 3]).double().state_dict()
        given = {f"state {k}": rng.standard_normal(v.shape) for k, v in state.items()}
        return given | {"x": rng.standard_normal((9, 4)), "y": rng.integers(0, 3, 9)}

    def check_two_steps_agree_with_every_option(self, log, rng):
        for name, options in OPTIONS.items():

            def steps(given, chosen, options=options):
                impl, model, optimizer, criterion, batch = list(sides(given))[chosen]
                step = (type(self).numpy, theirs.train_step)[chosen]
                found: dict[str, Any] = {}
                for i in (1, 2):
                    told = options_of(impl, options)
                    loss, norm = step(model, batch, criterion, optimizer, **told)
                    found |= {f"forward loss {i}": np.asarray(to_numpy(loss))}
                    found |= {f"gradient norm {i}": np.asarray(to_numpy(norm))}
                found |= {f"step {k}": np.array(to_numpy(v)) for k, v in model.state_dict().items()}
                return found

            given = self.given(rng)
            log_of = compare(lambda g: steps(g, 0), lambda g: steps(g, 1), given, "float64")
            log.compare(log_of, name)
            log.require(all(d.passed for d in log_of), f"{name} differs")

    def check_a_step_that_is_not_finite_moves_nothing(self, log, rng):
        for bad, words in BAD.items():
            given, said = self.given(rng), list[Any]()
            if bad == "an input":
                given["x"][3, 1] = np.nan
            elif bad == "a parameter":
                given["state net.2.weight"][1, 2] = np.inf
            elif bad == "the criterion":
                given["state net.2.weight"] *= 0
                given["state net.2.bias"][:] = [0, 1.7e308, -1.7e308]
                given["y"][:] = 2
            elif bad == "the sum of squares":
                given["x"] *= 1e200
                given["state net.0.weight"] *= 0
            else:
                given["x"] = given["x"][:1] * 1e10  # one row, so that no sum can be inf - inf
                given["y"] = np.array([2])
                given["state net.0.weight"] *= 0
                given["state net.2.weight"][:2] = 1e300
                given["state net.2.weight"][2] = -1e300
                given["state net.0.bias"][:] = 0.5
            for impl, model, optimizer, criterion, batch in sides(given):
                step = type(self).numpy if impl is numpy_impl else theirs.train_step
                before = {k: np.array(to_numpy(v)) for k, v in model.state_dict().items()}
                try:
                    step(model, batch, criterion, optimizer)
                    said.append(None)
                except (NonFiniteError, theirs.NonFiniteError) as error:
                    said.append((str(error), error.layer))
                after = {k: np.array(to_numpy(v)) for k, v in model.state_dict().items()}
                kept = all(np.array_equal(after[k], before[k]) for k in before)
                log.require(kept and not optimizer.state, f"{impl.__name__}: {bad} moved something")
                if impl is numpy_impl:
                    parts = [*model.modules(), criterion]
                    log.require(not any(m._saved for m in parts), "forwards left behind")
            log.require(said[0] is not None and said[0] == said[1], f"{bad}: {said}")
            log.require(said[0] is not None and words in said[0][0], f"{bad}: {said[0]}")

    def check_what_contradicts_itself_is_refused(self, log, rng):
        for impl, model, optimizer, loss, batch in sides(self.given(rng)):
            step = type(self).numpy if impl is numpy_impl else theirs.train_step
            each = impl.losses.CrossEntropyLoss(reduction="none")
            said = refused(partial(step, model, batch, each, optimizer))
            log.require(
                said is not None and "must be one number, got shape (9,)" in said,
                f"{impl.__name__}: {said}",
            )
            both: dict[str, Any] = {"clip_norm": 1.0, "clip_value": 1.0}
            said = refused(partial(step, model, batch, loss, optimizer, **both))
            log.require(
                said is not None and "clip_norm=1.0 and clip_value=1.0" in said,
                f"{impl.__name__}: {said}",
            )
            if impl is numpy_impl:
                parts = [*model.modules(), loss, each]
                log.require(not any(m._saved for m in parts), "forwards left behind")


class Squared(numpy_impl.nn.Module):
    """A layer of somebody's own, which NumPy would warn about."""

    def forward(self, x):
        return x * x


def test_what_overflows_in_a_layer_of_ones_own_is_reported_and_not_warned_about():
    layer = Squared()
    layer.scale = numpy_impl.nn.Parameter(np.ones(1))
    optimizer = numpy_impl.optimization.SGD(layer.parameters())
    batch = np.full((2, 1), 1e200), np.zeros((2, 1))
    with pytest.raises(NonFiniteError, match="the loss is inf; the model .Squared. is the first"):
        ours.train_step(layer, batch, numpy_impl.losses.MSELoss(), optimizer)


def test_the_loss_of_a_torch_step_carries_no_graph():
    _, (_, model, optimizer, criterion, batch) = sides(
        TestTrainStep().given(np.random.default_rng(0))
    )
    loss, norm = theirs.train_step(model, batch, criterion, optimizer)
    assert not loss.requires_grad and not norm.requires_grad and isinstance(loss, torch.Tensor)
