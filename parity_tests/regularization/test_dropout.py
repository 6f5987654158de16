"""Dropouts, with masks drawn from one seed and with masks handed over, and the block."""

import math
from typing import Any

import numpy as np
import pytest
import torch

import numpy_impl
from numpy_impl.layers.container import Sequential
from numpy_impl.regularization import dropout as ours
from parity_tests.harness import ModuleParity, Refusal, arrays, grid
from parity_tests.harness.bridge import same_stream, to_numpy, to_torch
from parity_tests.harness.inputs import LAYOUTS
from parity_tests.harness.mistake import Mistake
from parity_tests.layers.test_container import reordered
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


class OneMask(ours.Dropout):
    """The first sample's mask for all."""

    def _masked(self, x, mask):
        return super()._masked(x, np.broadcast_to(mask[:1], mask.shape) if mask.ndim > 1 else mask)


class Divided(ours.Dropout):
    """What stays over the share that stays."""

    def _masked(self, x, mask):
        kept = x.dtype.type(1 - self.p)
        return np.where(mask, x, x.dtype.type(0)) / (kept or 1)


class DropsInEval(ours.Dropout):
    """Drops whatever the mode."""

    def forward(self, x, mask=None):
        mode, self.training = self.training, True
        try:
            return super().forward(x, mask)
        finally:
            self.training = mode


# Masks follow the memory of x, and this check hands torch a copy in C order: see the test below.
BUT_F = {name: lay for name, lay in LAYOUTS.items() if name != "F"}


class TestDropout(ModuleParity):
    numpy, torch = ours.Dropout, theirs.Dropout
    layouts = BUT_F
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
        "not scaled": Mistake(
            NotScaled,
            "Dropout as first published leaves the scale to eval mode, and half of it is often "
            "copied.",
            "In eval mode every unit is 1 / (1 - p) times what training made of it.",
        ),
        "scaled in eval": Mistake(
            ScaledInEval,
            "Both conventions at once: inverted dropout in training, and the paper's 1 - p in "
            "eval.",
            "Outputs are 1 - p times too small wherever nothing is dropped.",
        ),
        "p as the share that is kept": Mistake(
            KeepsWithProbabilityP,
            "TensorFlow 1's keep_prob; torch's p is what is dropped.",
            "Right at 1/2 only: 0.1 drops nine of ten.",
        ),
        "new mask in backward": Mistake(
            NewMaskInBackward,
            "A classic slip: backward draws again where it should remember.",
            "Units that were off learn, and half of those that were on do not.",
        ),
        "division by zero at p = 1": Mistake(
            DividesByZero,
            "The guide's `mask / (1 - rate)`.",
            "NaN at p = 1, where torch gives zeros.",
        ),
        "scale left out of backward": Mistake(
            BackwardForgetsTheScale,
            "A classic slip: `dx = dy * mask`.",
            "Gradients below are 1 - p times too small.",
        ),
        "drops in eval": Mistake(
            DropsInEval,
            "A classic slip: eval() is not looked at, or never called.",
            "Predictions are random, and worse than what was learnt.",
        ),
        "one mask for the whole batch": Mistake(
            OneMask,
            "Written as `rng.random(x.shape[1:])`.",
            "All samples lose the same units: far more noise in every step.",
        ),
    }
    rewrites = {"divided, not multiplied": Divided}


class NumberByNumber(ours.Dropout1d):
    """A mask for every number, as Dropout draws it."""

    by_channel = False

    def _mask_shape(self, x):
        super()._mask_shape(x)
        return x.shape


class NumberByNumber2d(ours.Dropout2d):
    """A mask for every number, as Dropout draws it."""

    by_channel = False

    def _mask_shape(self, x):
        super()._mask_shape(x)
        return x.shape


class ByPosition(ours.Dropout1d):
    """One mask for a position along L, through all channels."""

    def _mask_shape(self, x):
        super()._mask_shape(x)
        return (*x.shape[:-2], 1, x.shape[-1])


class ByRow(ours.Dropout2d):
    """One mask for a row of a map."""

    def _mask_shape(self, x):
        super()._mask_shape(x)
        return (*x.shape[:3], 1)


class SameForTheBatch(ours.Dropout1d):
    """One mask for the channels of the whole batch."""

    def _drawn(self, x, shape):
        return super()._drawn(x[:1], (1, *shape[1:])) if x.ndim == 3 else super()._drawn(x, shape)


class SameForTheBatch2d(ours.Dropout2d):
    """One mask for the maps of the whole batch."""

    def _drawn(self, x, shape):
        return super()._drawn(x[:1], (1, *shape[1:]))


def unscaled(layer):
    """The layer without 1 / (1 - p)."""
    return type(layer.__name__, (layer,), {"_masked": lambda self, x, mask: x * mask})


def by_channel(number_by_number, across, same, layer):
    """What people get wrong about dropping channels."""
    return {
        "a mask for every number": Mistake(
            number_by_number,
            "Dropout put where Dropout1d or Dropout2d was meant.",
            "Neighbours give away what was dropped, and the stream moves on by more draws.",
        ),
        "the mask along another axis": Mistake(
            across,
            "Code for channels at the end (N, L, C) given channels in the middle.",
            "Places are dropped through all channels instead of channels at all places.",
        ),
        "one mask for the batch": Mistake(
            same,
            "Masks made once a step, broadcast over samples.",
            "All samples lose the same channels; gradients of a step are less independent.",
        ),
        "not scaled": Mistake(
            unscaled(layer),
            "Dropout as first published, which scales in eval mode instead.",
            "Training sees channels smaller by 1 - p than eval mode.",
        ),
    }


class TestDropout1d(ModuleParity):
    numpy, torch = ours.Dropout1d, theirs.Dropout1d
    configs = [{}, {"p": 0.0}, {"p": 1.0}, {"p": 0.3, "inplace": False}]
    inputs = [*arrays("3 L", L=[0, 1, 5]), *arrays("N 3 1", N=[0, 4]), *arrays("N 4 5", N=[7])]
    refusals = [
        Refusal({"p": -0.1}, says="between 0 and 1, but got -0.1"),
        Refusal({}, (np.zeros(3),), says="got shape"),
        Refusal({}, (np.zeros((2, 3, 4, 5)),), says="2, 3, 4, 5"),
    ]
    mistakes = by_channel(NumberByNumber, ByPosition, SameForTheBatch, ours.Dropout1d)


class TestDropout2d(ModuleParity):
    numpy, torch = ours.Dropout2d, theirs.Dropout2d
    configs = [{}, {"p": 0.0}, {"p": 1.0}, {"p": 0.3, "inplace": False}]
    inputs = [*arrays("N 2 1 1", N=[0, 4]), *arrays("2 3 0 4"), *arrays("N 4 3 5", N=[5])]
    refusals = [
        Refusal({"p": 1.1}, says="between 0 and 1, but got 1.1"),
        Refusal({}, (np.zeros((2, 3, 4)),), says="take Dropout1d", torch=False),  # it only warns
        Refusal({}, (np.zeros(3),), says="got shape", torch=False),
    ]
    mistakes = by_channel(NumberByNumber2d, ByRow, SameForTheBatch2d, ours.Dropout2d)


class PlainInFrontOfSelu(ours.AlphaDropout):
    """Zeros, and 1 / (1 - p)."""

    def _masked(self, x, mask):
        return x * mask / max(1 - self.p, 1e-9)

    _masked_gradient = _masked


class AlphaOfElu(ours.AlphaDropout):
    """SELU's alpha without SELU's scale, 1.67326."""

    ALPHA = 1.6732632423543772


class NotMovedBack(ours.AlphaDropout):
    """Dropped to -alpha, and neither scaled nor shifted."""

    def _masked(self, x, mask):
        return np.where(mask, x, -self.ALPHA if self.p < 1 else 0).astype(x.dtype)

    def _masked_gradient(self, dy, mask):
        return dy * mask


class GradientThroughTheShift(ours.AlphaDropout):
    """Backward by the forward's formula, shift included."""

    def _masked_gradient(self, dy, mask):
        dx = super()._masked_gradient(dy, mask)
        kept, dropped = self._shifts(dy.dtype.type) if 0 < self.p < 1 else (0, 0)
        return dx + np.where(mask, kept, dropped)

    def _masked(self, x, mask):
        return super()._masked_gradient(x, mask) + (
            np.where(mask, *self._shifts(x.dtype.type)) if self.p < 1 else 0
        )


class TestAlphaDropout(ModuleParity):
    numpy, torch = ours.AlphaDropout, theirs.AlphaDropout
    layouts = BUT_F
    configs = [{}, {"p": 0.0}, {"p": 1.0}, {"p": 0.05, "inplace": False}, {"p": 0.3}, {"p": 0.9}]
    inputs = [*arrays(""), *arrays("N", N=[0, 1]), *arrays("2 3 4"), *arrays("N 5", N=[7])]
    refusals = [Refusal({"p": 2}, says="between 0 and 1, but got 2")]
    mistakes = {
        "plain dropout": Mistake(
            PlainInFrontOfSelu,
            "Networks with SELU that keep their Dropout.",
            "Mean and variance drift from layer to layer, which SELU was chosen against.",
        ),
        "alpha without SELU's scale": Mistake(
            AlphaOfElu,
            "The paper's alpha_01 taken for alpha' = -scale * alpha.",
            "Dropped numbers do not lie where SELU saturates; the variance is not 1.",
        ),
        "not moved back": Mistake(
            NotMovedBack,
            "Only the first line of the paper's recipe.",
            "The mean goes down by p * (alpha + mean) a layer.",
        ),
        "shift in the gradient": Mistake(
            GradientThroughTheShift,
            "One function for both directions, as plain dropout allows.",
            "A constant is added to every gradient.",
        ),
    }


def dropping_by(layer):
    """The block with another Dropout in it."""

    def block(in_features, out_features, p=0.5, norm=False, generator=None):
        *layers, _ = ours.dropout_mlp_block(in_features, out_features, p, norm, generator)
        return Sequential(*layers, layer(p))

    return block


class TestDropoutMlpBlock(ModuleParity):
    numpy, torch = ours.dropout_mlp_block, theirs.dropout_mlp_block
    mistakes = {
        "dropped before the norm": Mistake(
            reordered(
                ours.dropout_mlp_block, lambda layers: [layers[0], layers[-1], *layers[1:-1]]
            ),
            "Dropout put right behind the Linear (Li et al. 2018 measured it).",
            "The norm tracks the variance of dropped numbers, which eval mode does not see.",
        ),
        "dropped before the Linear": Mistake(
            reordered(ours.dropout_mlp_block, lambda layers: [layers[-1], *layers[:-1]]),
            "Blocks that drop what they read and not what they give.",
            "The first block drops the data itself, and nothing drops before the output.",
        ),
        "scaled in eval": Mistake(
            dropping_by(ScaledInEval),
            "Both conventions at once: inverted dropout in training, and the paper's 1 - p in "
            "eval.",
            "Each block's outputs are 1 - p times too small in eval mode.",
        ),
        "drops in eval": Mistake(
            dropping_by(DropsInEval),
            "A classic slip: the mode of the block is not handed on to its layers.",
            "Predictions are random, and worse than what was learnt.",
        ),
    }
    configs = grid(in_features=[4], out_features=[6], p=[0.0, 0.4], norm=[False, True])
    inputs = arrays("N in_features", N=[2, 7])


def test_the_block_drops_by_the_generator_it_is_handed():
    own = numpy_impl.Generator().manual_seed(3)
    block: Any = ours.dropout_mlp_block(4, 6, generator=own)
    assert block[-1].generator is own


def gaussian(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


P = [0.1, 0.3, 0.5, 0.75]
LAYERS = {
    "Dropout": (41, 33),
    "Dropout1d": (11, 7, 5),
    "Dropout2d": (5, 7, 3, 2),
    "AlphaDropout": (41, 33),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("p", P)
@pytest.mark.parametrize("name", LAYERS)
def test_values_are_torchs_to_the_bit_from_the_same_seed(name, p, dtype):
    x, dy = (gaussian(*LAYERS[name], seed=seed).astype(dtype) for seed in (0, 1))
    numpy_impl.manual_seed(3)
    torch.default_generator.manual_seed(3)
    layer, twin = getattr(ours, name)(p), getattr(theirs, name)(p)
    leaf = to_torch(x).requires_grad_()
    for _ in range(2):  # the second mask too: both sides drew equally much
        y = twin(leaf)
        np.testing.assert_array_equal(layer(x), to_numpy(y))
        leaf.grad = None
        y.backward(to_torch(dy))
        np.testing.assert_array_equal(layer.backward(dy), to_numpy(leaf.grad))
    assert same_stream(numpy_impl.default_generator, torch.default_generator)


@pytest.mark.parametrize("name", LAYERS)
def test_masks_follow_the_memory_of_the_input(name):
    wide = gaussian(*(2 * n for n in LAYERS[name])).astype(np.float32)
    axes = range(wide.ndim)
    for part in (
        lambda x: x.transpose(*axes[::-1]) if isinstance(x, np.ndarray) else x.permute(*axes[::-1]),
        lambda x: x[1::2, ::2],
        lambda x: x[:, ::2][::2],
        lambda x: x.swapaxes(0, 1)[::2],
    ):
        numpy_impl.manual_seed(3)
        torch.default_generator.manual_seed(3)
        for p in (0.5, 0.2):
            y = getattr(theirs, name)(p)(part(torch.from_numpy(wide)))
            np.testing.assert_array_equal(getattr(ours, name)(p)(part(wide)), to_numpy(y))
        assert same_stream(numpy_impl.default_generator, torch.default_generator)


@pytest.mark.parametrize("name", ["Dropout1d", "Dropout2d", "AlphaDropout"])
def test_masks_can_be_handed_in_by_channel_or_number(name):
    x, dy = gaussian(*LAYERS[name]), gaussian(*LAYERS[name], seed=1)
    layer, twin = getattr(ours, name)(0.4), getattr(theirs, name)(0.4)
    dropped = ours.AlphaDropout(0.4)._shifts(np.float64)[1] if name == "AlphaDropout" else 0
    leaf = to_torch(x).requires_grad_()
    y = twin(leaf)
    y.backward(to_torch(dy))
    kept = to_numpy(y) != dropped
    mask = kept if name == "AlphaDropout" else kept[(..., *[slice(0, 1)] * (x.ndim - 2))]
    np.testing.assert_array_equal(layer(x, mask=mask), to_numpy(y))
    np.testing.assert_array_equal(layer.backward(dy), to_numpy(leaf.grad))
    with pytest.raises(ValueError, match="mask must have the shape"):
        layer(x, mask=np.ones(3))


def test_what_has_no_numbers_draws_nothing():
    numpy_impl.manual_seed(0)
    before = numpy_impl.get_rng_state()
    ours.Dropout1d()(np.zeros((2, 3, 0)))
    ours.Dropout2d()(np.zeros((2, 3, 0, 4)))
    ours.AlphaDropout()(np.zeros((0, 4)))
    np.testing.assert_array_equal(numpy_impl.get_rng_state(), before)


def test_alpha_dropout_keeps_mean_and_variance():
    generator = numpy_impl.Generator().manual_seed(0)
    x = generator.randn((400_000,), np.float64)
    for p in P:
        y = ours.AlphaDropout(p, generator=generator)(x)
        assert abs(y.mean()) < 0.02 and abs(y.var() - 1) < 0.02


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
    before = numpy_impl.get_rng_state()
    layer = ours.Dropout(0.4, generator=numpy_impl.random.Generator().manual_seed(11))
    np.testing.assert_array_equal(layer(x), wanted)
    np.testing.assert_array_equal(numpy_impl.get_rng_state(), before)


def test_a_mask_of_another_shape_is_refused():
    layer = ours.Dropout(0.5)
    with pytest.raises(ValueError, match=r"the shape \(2, 3\), got \(3,\)"):
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
