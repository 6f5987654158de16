"""Sequential and ModuleList: their numbers as modules, their manners as lists."""

from typing import Any, cast

import numpy as np
import pytest
import torch

from numpy_impl import nn
from numpy_impl.layers import container as ours
from parity_tests.harness import Mistake, ModuleParity, Refusal, arrays
from torch_impl.layers import container as theirs


def stack(nn, twice=False):
    """A network in a network, from either side's layers; with `twice` one layer is used again."""
    square = nn.Linear(4, 4)
    inner = nn.Sequential(square, nn.Tanh(), square if twice else nn.Linear(4, 4, bias=False))
    return nn.Sequential(nn.Linear(3, 4), inner, nn.Identity(), nn.Linear(4, 2))


class ForwardOrder(ours.Sequential):
    """Backward through the layers in forward order."""

    def backward(self, dy):
        for layer in self:
            dy = layer.backward(dy)
        return dy


class FirstLayerForgotten(ours.Sequential):
    """Backward that stops before the first layer."""

    def backward(self, dy):
        for layer in list(self)[:0:-1]:
            dy = layer.backward(dy)
        return dy


class InnerForgotten(ours.Sequential):
    """Backward past what has no parameters, inside as well."""

    def backward(self, dy):
        for layer in reversed(list(self)):
            inner = list(layer) if isinstance(layer, ours.Sequential) else [layer]
            for one in reversed(inner):
                dy = dy if isinstance(one, nn.Tanh) else one.backward(dy)
        return dy


class TestSequential(ModuleParity):
    numpy, torch = ours.Sequential, theirs.Sequential
    network = True
    configs = [{"twice": False}, {"twice": True}]
    inputs = [*arrays("3"), *arrays("N 3", N=[0, 5])]
    refusals = [Refusal(inputs=(np.zeros((2, 4)),), says=r"\(\*, 3\), got \(2, 4\)")]
    mistakes = {
        "forward order": Mistake(
            ForwardOrder,
            "A classic slip: `for layer in layers` in backward, without reversed().",
            "Raises where shapes differ; where all are square the gradients are another's.",
        ),
        "first layer forgotten": Mistake(
            FirstLayerForgotten,
            "A classic slip: a range that stops at 1 and not at 0.",
            "The first layer never learns, and the input's gradient is its output's.",
        ),
        "last activation forgotten": Mistake(
            InnerForgotten,
            "A classic slip: backward asks only the layers that have parameters.",
            "Gradients are those of a network without its non-linearities.",
        ),
    }

    def build(self, config, dtype):
        return type(self).numpy(*stack(nn, **config)).to(dtype)

    def build_torch(self, config, dtype):
        return type(self).torch(*stack(torch.nn, **config)).to(dtype)

    def beside_torch(self, settings, stand_in):
        for config in self.configs:
            mine = self.standing_in(stand_in).build(config, "float64")
            theirs = self.build_torch(config, torch.float64)
            yield {"mine": mine, "theirs": theirs, "inputs": ["5x3"]}


class Sum(nn.Module):
    """The sum of what the modules of a list make of x: a ModuleList's owner, by hand."""

    def __init__(self, width):
        self.branches = ours.ModuleList([nn.Linear(width, 2) for _ in range(3)])

    @np.errstate(all="ignore")
    def forward(self, x):
        return sum(branch(x) for branch in self.branches)

    @np.errstate(all="ignore")
    def backward(self, dy):
        return sum(branch.backward(dy) for branch in self.branches)


class TorchSum(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.branches = theirs.ModuleList([torch.nn.Linear(width, 2) for _ in range(3)])

    def forward(self, x):
        return sum(branch(x) for branch in self.branches)


TorchSum.__name__ = "Sum"


class LastGradientAlone(Sum):
    """Each branch's gradient in the place of the last."""

    def backward(self, dy):
        for branch in self.branches:
            dx = branch.backward(dy)
        return dx


class OneLayerThrice(Sum):
    """[layer] * 3."""

    def __init__(self, width):
        self.branches = ours.ModuleList([nn.Linear(width, 2)] * 3)


class GradientShared(Sum):
    """Each branch given a share of the gradient."""

    def backward(self, dy):
        return super().backward(dy / len(self.branches))


class TestModuleList(ModuleParity):
    numpy, torch, covers = Sum, TorchSum, (ours.ModuleList,)
    mistakes = {
        "last branch's gradient alone": Mistake(
            LastGradientAlone,
            "A classic slip: `dx = branch.backward(dy)` in the loop, without a sum.",
            "All that stands before the branches learns from one of them.",
        ),
        "one layer three times": Mistake(
            OneLayerThrice,
            "Written as `ModuleList([Linear(n, m)] * 3)`, which repeats the very object.",
            "The branches share their weights: a third of the parameters, and no error.",
        ),
        "gradient shared out": Mistake(
            GradientShared,
            "A classic slip: a mean's backward behind a sum.",
            "Gradients are too small by the number of branches.",
        ),
    }
    configs = [{"width": 3}]
    inputs = arrays("N width", N=[0, 5])


def reordered(make, order):
    """The network of `make` with its layers applied in the order of order(layers)."""

    class Reordered(ours.Sequential):
        def forward(self, x):
            for layer in order(list(self)):
                x = layer(x)
            return x

        def backward(self, dy):
            for layer in reversed(order(list(self))):
                dy = layer.backward(dy)
            return dy

    return lambda *args, **options: Reordered(*make(*args, **options))


def test_containers_read_like_torchs():
    layers = [nn.Linear(2, 2) for _ in range(4)]
    for kind in (nn.Sequential(*layers), nn.ModuleList(layers)):
        assert len(kind) == 4 and list(kind) == layers and kind[-1] is layers[3]
        assert isinstance(kind[1:3], type(kind)) and list(kind[1:3]) == layers[1:3]
        new = nn.Linear(2, 2)
        kind[1] = new
        assert kind[1] is new and len(kind) == 4
        assert kind[-4] is layers[0]
        for index in (4, -5):
            with pytest.raises(IndexError, match=f"index {index} is out of range for 4 modules"):
                kind[index]
            with pytest.raises(IndexError, match="4 modules"):
                kind[index] = new
        with pytest.raises(TypeError, match="3 is not a Module"):
            kind.append(cast(Any, 3))
    assert repr(nn.ModuleList()) == repr(torch.nn.ModuleList())
    named = nn.Sequential({"body": nn.Identity(), "head": nn.Linear(2, 3)})
    assert list(named.state_dict()) == ["head.weight", "head.bias"]
    for name in ("Sequential", "ModuleList"):
        ours, theirs = getattr(nn, name)(), getattr(torch.nn, name)()
        for module, twin in (
            (nn.Identity(), torch.nn.Identity()),
            (nn.Linear(1, 2), torch.nn.Linear(1, 2)),
        ):
            ours.insert(0, module)
            theirs.insert(0, twin)
        del ours[1], theirs[1]
        ours.extend([nn.Linear(2, 1), nn.Identity()])
        theirs.extend([torch.nn.Linear(2, 1), torch.nn.Identity()])
        assert repr(ours.pop()) == repr(theirs.pop(-1)) and repr(ours) == repr(theirs)
        assert repr(ours.pop(0)) == repr(theirs.pop(0)) and repr(ours) == repr(theirs)
        for side, made in ((ours, nn), (theirs, torch.nn)):
            same = [made.Linear(2, 2) for _ in range(3)]
            assert side.extend([made.Tanh(), *same, made.Tanh()]) is side
            del side[1:2]
        assert repr(ours) == repr(theirs) and list(ours.state_dict()) == list(theirs.state_dict())
    modules = nn.ModuleList(layers)
    modules.insert(0, nn.Identity())
    del modules[1]
    assert [type(m).__name__ for m in modules] == ["Identity", "Linear", "Linear", "Linear"]
    assert next(iter(modules.state_dict())) == "1.weight"
    x = np.ones((1, 2), np.float32)
    assert nn.Sequential()(x) is x


def test_a_network_that_needs_no_input_gradient_spares_it_and_loses_nothing_else():
    net = nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(4, 3)), nn.Linear(3, 2)).double()
    x = np.random.default_rng(0).standard_normal((5, 2, 2))
    dy = np.random.default_rng(1).standard_normal((5, 2))
    net(x)
    assert net.backward(dy).shape == x.shape
    grads = [np.array(p.grad) for p in net.parameters()]
    net.zero_grad()
    net.needs_input_grad = False
    assert net.needs_input_grad is False
    assert [layer.needs_input_grad for layer in net] == [False, False, True]
    net(x)
    assert net.backward(dy) is None
    for p, grad in zip(net.parameters(), grads, strict=True):
        np.testing.assert_array_equal(p.grad, grad)
    with pytest.raises(RuntimeError, match="no forward to go back through"):
        net.backward(dy)
    assert not any(m._saved for m in net.modules())
    net.needs_input_grad = True
    assert net.needs_input_grad is True
    net(x)
    assert net.backward(dy).shape == x.shape
