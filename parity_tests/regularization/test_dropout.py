"""Dropout, with masks drawn from one seed and with masks handed over, and its block."""

import math

import numpy as np
import pytest
import torch

import numpy_impl
from numpy_impl.regularization import dropout as ours
from parity_tests.harness import ModuleParity, Refusal, arrays, grid
from parity_tests.harness.bridge import to_numpy, to_torch
from torch_impl.regularization import dropout as theirs


class NotScaled(ours.Dropout):
    """What stays is not scaled up."""

    def _masked(self, x, mask):
        return x * mask


class ScaledInEval(ours.Dropout):
    """Training drops only, eval scales by 1 - p: dropout as first published, another network."""

    def forward(self, x, mask=None):
        y = super().forward(x, mask)
        return y * (1 - self.p)

    def backward(self, dy):
        return super().backward(dy) * (1 - self.p)


class KeepsWithProbabilityP(ours.Dropout):
    """p as the share that is kept."""

    def __init__(self, p=0.5, inplace=False):
        super().__init__(1 - p, inplace)


class NewMaskInBackward(ours.Dropout):
    """Backward draws again."""

    def backward(self, dy):
        dy, mask = self.saved_for_backward(dy)
        if mask is None:
            return dy
        return self._masked(dy, numpy_impl.random.default_generator.bernoulli(1 - self.p, dy.shape))


class DividesByZero(ours.Dropout):
    """The guide's mask / (1 - p), at p = 1 too."""

    def _masked(self, x, mask):
        with np.errstate(all="ignore"):
            return x * (mask / x.dtype.type(1 - self.p))


class BackwardForgetsTheScale(ours.Dropout):
    """dx = dy * mask."""

    def backward(self, dy):
        dx = super().backward(dy)
        return dx * (1 - self.p) if self.training else dx


class DropsInEval(ours.Dropout):
    """Drops whatever the mode."""

    def forward(self, x, mask=None):
        mode, self.training = self.training, True
        try:
            return super().forward(x, mask)
        finally:
            self.training = mode


class TestDropout(ModuleParity):
    numpy, torch = ours.Dropout, theirs.Dropout
    configs = [{}, {"p": 0}, {"p": 1.0}, {"p": 1}, {"p": 0.9, "inplace": False}, {"p": 0.3}]
    inputs = [*arrays(""), *arrays("N", N=[0, 1]), *arrays("2 3 4"), *arrays("N 5", N=[7])]
    refusals = [
        Refusal({"p": -0.1}, says="between 0 and 1, but got -0.1"),
        Refusal({"p": 1.5}, says="between 0 and 1, but got 1.5"),
        Refusal({"p": math.nan}, says="got nan", torch=False),  # torch raises in forward
        Refusal({"p": "half"}),
        Refusal({}, (np.zeros((2, 3), np.int64),), "int64"),
    ]
    mistakes = {
        "not scaled": NotScaled,
        "scaled in eval": ScaledInEval,
        "p as the share that is kept": KeepsWithProbabilityP,
        "new mask in backward": NewMaskInBackward,
        "division by zero at p = 1": DividesByZero,
        "scale left out of backward": BackwardForgetsTheScale,
        "drops in eval": DropsInEval,
    }


class TestDropoutMlpBlock(ModuleParity):
    numpy, torch = ours.dropout_mlp_block, theirs.dropout_mlp_block
    configs = grid(in_features=[4], out_features=[6], p=[0.0, 0.4], norm=[False, True])
    inputs = arrays("N in_features", N=[2, 7])


def gaussian(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


P = [0.1, 0.3, 0.5, 0.75]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("p", P)
def test_values_are_torchs_to_the_bit_from_the_same_seed(p, dtype):
    x, dy = (gaussian(41, 33, seed=seed).astype(dtype) for seed in (0, 1))
    numpy_impl.manual_seed(3)
    torch.default_generator.manual_seed(3)
    layer, twin, leaf = ours.Dropout(p), theirs.Dropout(p), to_torch(x).requires_grad_()
    for _ in range(2):  # the second mask too: both sides drew equally much
        y = twin(leaf)
        np.testing.assert_array_equal(layer(x), to_numpy(y))
        leaf.grad = None
        y.backward(to_torch(dy))
        np.testing.assert_array_equal(layer.backward(dy), to_numpy(leaf.grad))
    numpy_next = numpy_impl.random.default_generator.rand((3,))
    np.testing.assert_array_equal(numpy_next, to_numpy(torch.rand(3)))


@pytest.mark.parametrize("p", P)
def test_torchs_mask_can_be_handed_in(p):
    x, dy = gaussian(6, 5), gaussian(6, 5, seed=1)
    leaf = to_torch(x).requires_grad_()
    y = theirs.Dropout(p)(leaf)
    y.backward(to_torch(dy))
    layer = ours.Dropout(p)
    for mask in (y != 0, to_numpy(y) != 0, to_numpy(y / leaf)):  # scaled by 1 / (1 - p), too
        np.testing.assert_array_equal(layer(x, mask=mask), to_numpy(y))
        np.testing.assert_array_equal(layer.backward(dy), to_numpy(leaf.grad))


@pytest.mark.parametrize("p", P)
def test_our_mask_can_be_replayed_in_torch_through_a_hook(p):
    x, dy = gaussian(6, 5), gaussian(6, 5, seed=1)
    mask = numpy_impl.random.Generator().manual_seed(1).bernoulli(1 - p, x.shape)
    twin, layer = theirs.Dropout(p), ours.Dropout(p)
    twin.register_forward_hook(lambda module, args, y: args[0] * to_torch(mask / (1 - module.p)))
    leaf = to_torch(x).requires_grad_()
    y = twin(leaf)
    y.backward(to_torch(dy))
    np.testing.assert_array_equal(layer(x, mask), to_numpy(y))
    np.testing.assert_array_equal(layer.backward(dy), to_numpy(leaf.grad))


def test_eval_and_the_ends_of_p_draw_nothing():
    numpy_impl.manual_seed(4)
    first = numpy_impl.random.default_generator.rand((2,))
    numpy_impl.manual_seed(4)
    x = np.ones((3, 2), np.float32)
    assert ours.Dropout(0.5).eval()(x) is x
    assert ours.Dropout(0.0)(x) is x
    assert not ours.Dropout(1.0)(x).any()
    assert not ours.Dropout(1.0)(x, mask=np.ones((3, 2), bool)).any()
    np.testing.assert_array_equal(numpy_impl.random.default_generator.rand((2,)), first)


def test_a_generator_of_its_own_leaves_the_global_one_alone():
    x = np.ones((8, 9), np.float32)
    torch.default_generator.manual_seed(11)
    wanted = to_numpy(theirs.Dropout(0.4)(to_torch(x)))
    before = numpy_impl.random.default_generator.get_state()["engine"]["state"]["pos"]
    layer = ours.Dropout(0.4, generator=numpy_impl.random.Generator().manual_seed(11))
    np.testing.assert_array_equal(layer(x), wanted)
    assert numpy_impl.random.default_generator.get_state()["engine"]["state"]["pos"] == before


def test_a_mask_of_another_shape_is_refused():
    layer = ours.Dropout(0.5)
    with pytest.raises(ValueError, match=r"shape \(2, 3\), got \(3,\)"):
        layer(np.ones((2, 3)), np.ones(3, bool))
    with pytest.raises(RuntimeError):
        layer.backward(np.ones((2, 3)))


def test_the_callers_mask_may_change_after_the_forward():
    layer, mask = ours.Dropout(0.5), np.array([True, False, True])
    layer(np.ones(3), mask)
    mask[...] = False
    np.testing.assert_array_equal(layer.backward(np.ones(3)), [2, 0, 2])


@pytest.mark.parametrize("p", [0.5, 1.0])
def test_infinity_and_nan_as_in_torch(p):
    x = np.array([np.inf, -np.inf, np.nan, 1.0, -1.0] * 4, np.float32)
    numpy_impl.manual_seed(2)
    torch.default_generator.manual_seed(2)
    y = to_numpy(theirs.Dropout(p)(to_torch(x)))
    np.testing.assert_array_equal(ours.Dropout(p)(x), y)


def test_the_largest_float_overflows_only_where_it_is_kept():
    x = np.full(4, np.finfo(np.float32).max)
    y = ours.Dropout(0.5)(x, [True, False, True, False])
    np.testing.assert_array_equal(y, [np.inf, 0, np.inf, 0])


def test_the_mean_is_kept():
    x = np.ones(200_000, np.float32)
    for p in P:
        spread = math.sqrt(p / (1 - p) / x.size)  # of the mean of x * mask / (1 - p)
        generator = numpy_impl.random.Generator().manual_seed(0)
        assert abs(ours.Dropout(p, generator=generator)(x).mean(dtype=float) - 1) < 5 * spread
