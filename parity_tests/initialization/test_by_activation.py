"""init_weights: which layers it touches, with which spread, in which order it draws."""

from functools import partial

import numpy as np
import torch
from torch import nn as torch_nn

from numpy_impl import nn
from numpy_impl.initialization import by_activation as ours
from numpy_impl.initialization import fan
from numpy_impl.layers import Linear
from numpy_impl.random import default_generator
from parity_tests.harness import Case, Check, Mistake
from parity_tests.harness.bridge import same_stream, to_numpy
from parity_tests.harness.init_case import Handed, handed
from parity_tests.harness.limits import called_alike
from parity_tests.harness.promised import far_from_promised
from parity_tests.harness.refusal import raises, refused
from parity_tests.harness.stand_ins import Compared
from torch_impl.initialization import by_activation as theirs

ACTIVATIONS = ("relu", "leaky_relu", "sigmoid", "tanh", "identity")


def gain_one(module, activation="relu", generator=None):
    for layer in module.modules():
        if isinstance(layer, Linear):
            fan.kaiming_normal_(layer.weight, nonlinearity="linear", generator=generator)
            if layer.bias is not None:
                layer.bias.data.fill(0)
    return module


def always_relu(module, activation="relu", generator=None):
    return ours.init_weights(module, "relu", generator)


def bias_left(module, activation="relu", generator=None):
    kept = [m.bias.data.copy() for m in module.modules() if getattr(m, "bias", None) is not None]
    ours.init_weights(module, activation, generator)
    found = [m.bias.data for m in module.modules() if getattr(m, "bias", None) is not None]
    for bias, old in zip(found, kept):
        bias[...] = old
    return module


class Norm(nn.Module):
    """Parameters that are not a Linear's."""

    def __init__(self):
        self.weight, self.bias = nn.Parameter(np.full(5, 2.0)), nn.Parameter(np.full(5, 3.0))


class TorchNorm(torch_nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch_nn.Parameter(torch.full((5,), 2.0))
        self.bias = torch_nn.Parameter(torch.full((5,), 3.0))


def network(side, linear, norm):
    return side.Sequential(
        linear(7, 5), norm(), side.Sequential(linear(5, 5, bias=False), linear(5, 3))
    )


class TestInitWeights(Case):
    numpy, torch = ours.init_weights, theirs.init_weights
    mistakes = {
        "gain 1": Mistake(
            gain_one,
            "One rule for every activation.",
            "Behind ReLU signals shrink by sqrt(2) in every layer.",
        ),
        "bias left": Mistake(
            bias_left,
            "torch's own start of a Linear, which draws its bias.",
            "Units start with different shifts, which He's and Xavier's rules do not count in.",
        ),
        "He for all": Mistake(
            always_relu,
            "A classic slip: the activation is not looked at.",
            "Sigmoid and tanh start half saturated.",
        ),
    }

    def checks(self, settings):
        for activation in ACTIVATIONS:
            for dtype in settings.dtypes:
                name = f"agrees[{activation}|{dtype}]"
                yield Check(name, partial(self._agrees, settings, activation, dtype))
            yield Check(f"one seed[{activation}]", partial(self._one_seed, settings, activation))
        yield Check("refusals", self._refusals)
        yield Check("called alike", partial(called_alike, self))
        yield Check("one Linear alone", self._alone)
        yield from self.trials(settings)

    def places(self, settings):
        return (self._place(settings, activation) for activation in ACTIVATIONS)

    def _agrees(self, settings, activation, dtype, log):
        log.compare(self._place(settings, activation).compare(self, dtype), activation)

    def _one_seed(self, settings, activation, log):
        """Constructed and started anew on both sides, nothing copied or handed in."""
        seed = int(self.rng(settings, activation).integers(2**40))
        ours_ = default_generator.manual_seed(seed)
        theirs_ = torch.default_generator.manual_seed(seed)
        model = type(self).numpy(network(nn, Linear, Norm).float(), activation)
        twin = type(self).torch(network(torch_nn, torch_nn.Linear, TorchNorm), activation)
        for k, y in twin.state_dict().items():
            text = far_from_promised(model.state_dict()[k], to_numpy(y), "normal")
            log.require(not text, f"{k}: {text}")
        log.require(same_stream(ours_, theirs_), "one side drew more than the other")

    def _place(self, settings, activation):
        rng = self.rng(settings, activation)
        given = {"normal": rng.standard_normal(100), "uniform": rng.random(100)}
        given["bias"] = rng.standard_normal(5)

        def our_side(case, g):
            model = network(nn, Linear, Norm).to(g["normal"].dtype)
            model[0].bias.data[...] = g["bias"]
            assert type(case).numpy(model, activation, Handed(g)) is model
            return {f"forward {k}": v for k, v in model.state_dict().items()}

        def their_side(g):
            model = network(torch_nn, torch_nn.Linear, TorchNorm)
            model = model.to(getattr(torch, str(g["normal"].dtype)))
            with torch.no_grad():
                model[0].bias.copy_(torch.from_numpy(g["bias"]))
            with handed(g):
                assert type(self).torch(model, activation) is model
            return {f"forward {k}": v for k, v in to_numpy(dict(model.state_dict())).items()}

        return Compared(activation, our_side, their_side, given)

    def _refusals(self, log):
        for init, layer in (
            (type(self).numpy, Linear(3, 2)),
            (type(self).torch, torch_nn.Linear(3, 2)),
        ):
            before = layer.weight.data.tolist()
            log.require(raises(init, layer, "gelu", error=ValueError), "gelu was accepted")
            log.require(layer.weight.data.tolist() == before, "weights changed")
        said = refused(partial(type(self).numpy, Linear(3, 2), "gelu")) or ""
        known = "relu, leaky_relu, sigmoid, tanh, identity, got 'gelu'"
        log.require(known in said, f"said {said!r}")

    def _alone(self, log):
        """A Linear is a model, too, and apply reaches every one."""
        layer = type(self).numpy(Linear(50, 40), "tanh")
        biases = [p.data for k, p in layer.named_parameters() if k == "bias"]
        log.require(not any(bias.any() for bias in biases), "the bias is not zero")
        model = nn.Sequential(Linear(2, 3), nn.Sequential(Linear(3, 4)))
        model.apply(type(self).numpy)
        biases = [p.data for k, p in model.named_parameters() if k.endswith("bias")]
        log.require(not any(bias.any() for bias in biases), "apply missed one")
