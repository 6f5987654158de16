"""Residual blocks: what is added, where the activation stands, and both ways back."""

import numpy as np
import pytest

from numpy_impl import nn
from numpy_impl.architectures import residual as ours
from numpy_impl.layers import ReLU, Tanh
from parity_tests.harness import Mistake, ModuleParity, Refusal, arrays
from torch_impl.architectures import residual as theirs

WIDTHS = "in", "hidden", "out"
BLOCK = {"in_features": 5, "hidden_features": 4, "out_features": 5}
PROJECTED = {"in_features": 4, "hidden_features": 6, "out_features": 3}
REGIMES = {
    k: v for k, v in ModuleParity.regimes.items() if k in ("unit", "offset", "large", "zeros")
}


class SkipDropped(ours.ResidualBlock):
    """The guide's: no skip where the widths differ."""

    def forward(self, x):
        if isinstance(self.skip, nn.Identity):
            return super().forward(x)
        return self.activation(self.branch(x))

    def backward(self, dy):
        if isinstance(self.skip, nn.Identity):
            return super().backward(dy)
        return self.branch.backward(self.activation.backward(dy))


class SkipGradientDropped(ours.ResidualBlock):
    """Only the branch's gradient comes back."""

    def backward(self, dy):
        ds = self.activation.backward(dy)
        self.skip.backward(ds)
        return self.branch.backward(ds)


class NothingAfterTheAddition(ours.ResidualBlock):
    """The activation after the addition left out, as the guide's block has it."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.activation = nn.Identity()


class ActivationBeforeTheAddition(ours.ResidualBlock):
    """x + act(branch(x))."""

    def forward(self, x):
        return self.skip(x) + self.activation(self.branch(x))

    def backward(self, dy):
        return self.branch.backward(self.activation.backward(dy)) + self.skip.backward(dy)


class SkipFromTheActivated(ours.ResidualBlock):
    """Pre-activation with the skip taken after the first norm and activation."""

    def forward(self, x):
        y = skipped = x
        for layer in self.branch:
            y = layer(y)
            if isinstance(layer, ReLU | Tanh) and skipped is x:
                skipped = y
        return self.activation(self.skip(skipped) + y)


class TestResidualBlock(ModuleParity):
    numpy, torch = ours.ResidualBlock, theirs.ResidualBlock
    configs = [
        BLOCK,
        PROJECTED,
        {**PROJECTED, "pre_activation": True, "activation": "tanh", "batch_norm": True},
        {**PROJECTED, "batch_norm": True, "dropout": 0.4, "zero_init": True},
        {**BLOCK, "pre_activation": True, "batch_norm": True, "dropout": 0.25, "zero_init": True},
    ]
    inputs = arrays("N in_features", N=[7])
    network = True
    regimes = REGIMES
    refusals = [
        *(Refusal({**BLOCK, f"{name}_features": 0}, says="positive") for name in WIDTHS),
        Refusal({**BLOCK, "activation": "swish"}, says="swish"),
        Refusal({**BLOCK, "dropout": -0.1}, says="-0.1"),
        Refusal(BLOCK, (np.zeros((2, 4)),), r"got \(2, 4\)"),
    ]
    mistakes = {
        "skip dropped where widths differ": Mistake(
            SkipDropped,
            "The guide's ResidualBlock adds the input only if its shape fits.",
            "Where widths change there is no shortcut, and no word of it.",
        ),
        "gradient of the skip dropped": Mistake(
            SkipGradientDropped,
            "A classic slip: backward follows the branch alone.",
            "Gradients vanish with depth as if there were no skips.",
        ),
        "no activation after the addition": Mistake(
            NothingAfterTheAddition,
            "The guide's block ends with the addition; He et al. 2015 put a ReLU after it.",
            "Another network: sums grow from block to block.",
        ),
        "activation before the addition": Mistake(
            ActivationBeforeTheAddition,
            "A classic slip: x + relu(branch(x)).",
            "Blocks can only add, so signals grow with depth.",
        ),
        "skip from the activated input": Mistake(
            SkipFromTheActivated,
            "A common form of pre-activation, without the clean path of He et al. 2016.",
            "The shortcut is cut by every activation on its way.",
        ),
    }


class NoProjection(ours.ResidualMLP):
    """Blocks whose skip is the identity, or nothing."""

    def __init__(self, layers, *args, **options):
        super().__init__(layers, *args, **options)
        for block in self.net:
            if isinstance(block, ours.ResidualBlock):
                block.__class__ = SkipDropped


class NoSkipGradients(ours.ResidualMLP):
    """Blocks that only the branch's gradient comes back through."""

    def __init__(self, layers, *args, **options):
        super().__init__(layers, *args, **options)
        for block in self.net:
            if isinstance(block, ours.ResidualBlock):
                block.__class__ = SkipGradientDropped


class TestResidualMLP(ModuleParity):
    numpy, torch = ours.ResidualMLP, theirs.ResidualMLP
    configs = [
        {"layers": [4, 5, 3], "learning_rate": 0.125},
        {"layers": [4, 5, 5, 6, 3], "activation": "tanh", "pre_activation": True},
        {"layers": [4, 6, 6, 5, 3], "batch_norm": True, "dropout": 0.3, "zero_init": True},
        {"layers": [4, 6, 5, 1], "task": "regression", "pre_activation": True, "batch_norm": True},
    ]
    inputs = arrays("N", N=[7])
    network = True
    regimes = REGIMES
    refusals = [
        Refusal({"layers": [4, 3]}, says="three or more"),
        Refusal({"layers": [4, 5, 5, 3], "dropout": 2.0}, says="2.0"),
    ]
    mistakes = {
        "no projection": Mistake(
            NoProjection,
            "The guide's block adds the input only if its shape fits.",
            "Where widths change there is no shortcut, and no word of it.",
        ),
        "gradient of the skips dropped": Mistake(
            NoSkipGradients,
            "A classic slip: backward follows the branches alone.",
            "Gradients vanish with depth as if there were no skips.",
        ),
    }

    def make_inputs(self, rng, shape, regime, config):
        return (regime(rng, (shape[0], config["layers"][0])),)


@pytest.mark.parametrize("pre_activation", [False, True])
def test_the_one_norm_outside_the_blocks_is_as_wide_as_what_it_follows(pre_activation):
    sides = [
        side.ResidualMLP([4, 5, 6, 7, 3], pre_activation=pre_activation, batch_norm=True)
        for side in (ours, theirs)
    ]
    shapes = [{k: tuple(v.shape) for k, v in net.state_dict().items()} for net in sides]
    assert shapes[0] == shapes[1]


def test_a_block_goes_back_to_its_input_only_where_asked():
    block = ours.ResidualBlock(1, 1, 1, dtype=np.float64)
    x = np.ones((2, 1))
    assert block.needs_input_grad is True
    assert block.backward(block(x)) is not None
    block.needs_input_grad = False
    assert block.needs_input_grad is False and block.skip.needs_input_grad is False
    assert block.backward(block(x)) is None
    block.branch.needs_input_grad = True
    assert block.needs_input_grad is False, "one of two ways does not make a gradient"
