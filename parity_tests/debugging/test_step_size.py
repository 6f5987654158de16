"""A slope at many steps: the same on both sides, and with the orders that theory gives."""

from functools import partial
from typing import Any

import numpy as np
import torch

import numpy_impl.architectures
import numpy_impl.losses
import torch_impl.architectures
import torch_impl.losses
from numpy_impl.debugging import step_size as ours
from parity_tests.harness import RuleCase
from parity_tests.harness.bridge import to_numpy, to_torch
from parity_tests.harness.budget import SECOND_LOOK, compare
from parity_tests.harness.mistake import Mistake
from parity_tests.harness.refusal import refused
from torch_impl.debugging import step_size as theirs

SIDES = (numpy_impl, torch_impl)
LARGE = [1e-1, 1e-2, 1e-3, 1e-4, 1e-5]  # below, slopes are rounding and no two sides' are alike


def given(rng):
    """Weights and a batch."""
    state = numpy_impl.architectures.DeepMLP([4, 5, 3], batch_norm=True).double().state_dict()
    arrays = {
        f"state {k}": rng.standard_normal(v.shape) for k, v in state.items() if "running" not in k
    }
    del arrays["state net.1.num_batches_tracked"]
    return arrays | {"x": rng.standard_normal((6, 4)), "y": rng.integers(0, 3, 6)}


def setup(impl, arrays):
    """Model, batch and loss on one side."""
    model = impl.architectures.DeepMLP([4, 5, 3], activation="tanh", batch_norm=True).double()
    state = {k[6:]: v for k, v in arrays.items() if k.startswith("state")}
    if impl is torch_impl:
        arrays, state = to_torch(dict(arrays)), to_torch(state)
    model.load_state_dict(state, strict=False)
    return model, [arrays["x"]], arrays["y"], impl.losses.CrossEntropyLoss()


def numbers(impl, sweep, arrays):
    """What a sweep wrote down, a step at a time."""
    found = sweep(*setup(impl, arrays), steps=LARGE)
    lists: dict[str, Any] = {"eps": found.eps, "central": found.central, "forward": found.forward}
    return {f"step {k}": np.array(v) for k, v in lists.items()} | {
        "gradient": np.array([found.analytic])
    }


def sweeping(change):
    """A sweep whose result is changed."""

    def swept(*args, **options):
        return change(ours.step_size_sweep(*args, **options))

    return swept


def half(sweep):
    """Divides by h what went 2h."""
    sweep.central = [2 * slope for slope in sweep.central]
    return sweep


def backward_for_forward(sweep):
    """Goes back for forward: 2 central - forward."""
    sweep.forward = [2 * c - f for c, f in zip(sweep.central, sweep.forward)]
    return sweep


def in_float32(model, inputs, target=None, criterion=None, **options):
    """Rounds the slopes to what float32 would leave of them."""
    sweep = ours.step_size_sweep(model, inputs, target, criterion, **options)
    for slopes in (sweep.central, sweep.forward):
        for i, h in enumerate(sweep.eps):
            step = 2e-7 / h
            slopes[i] = round(slopes[i] / step) * step
    return sweep


class TestStepSizeSweep(RuleCase):
    numpy, torch = ours.step_size_sweep, theirs.step_size_sweep
    covers = (ours.StepSizeSweep,)
    mistakes = {
        "divided by h": Mistake(
            sweeping(half),
            "Whoever goes to both sides and keeps the denominator of one.",
            "The slope is twice the gradient at every step.",
        ),
        "backward for forward": Mistake(
            sweeping(backward_for_forward),
            "A sign dropped in a formula copied by hand.",
            "The error is as large, and on the other side.",
        ),
        "in float32": Mistake(
            in_float32,
            "A check of the model as it is trained.",
            "No step is good: truncation above 1e-2, rounding below.",
        ),
    }

    def check_slopes_agree_where_truncation_rules(self, log, rng):
        a = partial(numbers, numpy_impl, type(self).numpy)
        b = partial(numbers, torch_impl, theirs.step_size_sweep)
        # slopes come in grains, an ulp of the loss over the step: two draws may meet in one
        found = compare(a, b, given(rng), "float64", by_step=True, jitters=SECOND_LOOK)
        log.compare(found, "steps from 1e-1 to 1e-5")

    def check_outputs_without_a_loss_are_weighted_alike(self, log, rng):
        arrays, slopes = given(rng), list[Any]()
        for impl, sweep in ((numpy_impl, type(self).numpy), (torch_impl, theirs.step_size_sweep)):
            found = sweep(*setup(impl, arrays)[:2], steps=[1e-4])
            slopes += [found.analytic, *found.central]
        log.require(np.allclose(slopes, slopes[0], rtol=1e-6, atol=0), f"{slopes}")

    def check_errors_fall_and_rise_as_they_should(self, log, rng):
        arrays = given(rng)
        for impl, sweep in ((numpy_impl, type(self).numpy), (torch_impl, theirs.step_size_sweep)):
            found = sweep(*setup(impl, arrays))
            central = dict(zip(found.eps, found.errors(found.central)))
            forward = dict(zip(found.eps, found.errors(found.forward)))
            where = f"{impl.__name__}: {central}"
            first, third = central[10**-1.0], central[10**-3.0]
            log.require(len(found.eps) == 23 and 1e3 < first / third < 1e5, where)
            log.require(10 < forward[10**-1.0] / forward[10**-3.0] < 1e3, f"{forward}")
            log.require(1e-7 < found.best < 1e-3 and central[found.best] < 1e-8, where)
            log.require(central[10**-12.0] > 1e3 * central[found.best], where)

    def check_nothing_is_moved(self, log, rng):
        arrays = given(rng)
        for impl, sweep in ((numpy_impl, type(self).numpy), (torch_impl, theirs.step_size_sweep)):
            model, *rest = setup(impl, arrays)
            before = {k: np.array(to_numpy(v)) for k, v in model.state_dict().items()}
            sweep(model, *rest, steps=[1e-3])
            after = {k: np.array(to_numpy(v)) for k, v in model.state_dict().items()}
            same = all(np.array_equal(after[k], v) for k, v in before.items())
            log.require(same, f"{impl.__name__}: moved")
            log.require(all(p.grad is None for p in model.parameters()), "gradients left behind")

    def check_bad_steps_are_refused(self, log, rng):
        arrays = given(rng)
        for impl, sweep in ((numpy_impl, type(self).numpy), (torch_impl, theirs.step_size_sweep)):
            for steps in ([], [1e-3, 0.0], [np.inf]):
                said = refused(partial(sweep, *setup(impl, arrays), steps=steps))
                log.require(said is not None and "positive numbers" in said, f"{steps}: {said}")


def test_errors_are_shares_of_the_larger_slope():
    for side in (ours, theirs):
        errors = side.StepSizeSweep(4.0).errors([4.0, 3.0, 5.0, -4.0, 0.0])
        assert errors == [0.0, 0.25, 0.2, 2.0, 1.0], errors


def test_no_slope_and_no_gradient_is_no_error():
    for side in (ours, theirs):
        sweep = side.StepSizeSweep(0.0, [1e-3, 1e-4], [0.0, 0.0], [0.0, 1.0])
        assert sweep.errors(sweep.central) == [0.0, 0.0] and sweep.best == 1e-3
        assert sweep.errors(sweep.forward) == [0.0, 1.0]
    assert torch.is_grad_enabled()
