"""L1, L2 and the elastic net: the price, its slope, and what weight_decay has to do with it."""

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch

from numpy_impl import nn, optimization
from numpy_impl.regularization import penalties as ours
from parity_tests.harness import REGIMES, Case, Check, Mistake, grid
from parity_tests.harness.bridge import to_numpy, to_torch
from parity_tests.harness.budget import compare
from parity_tests.harness.inputs import Config, brief
from parity_tests.harness.limits import called_alike
from parity_tests.harness.refusal import raises, refused, says
from parity_tests.harness.stand_ins import Compared
from torch_impl.regularization import penalties as theirs

SHAPES = {
    "weight": (7, 5),
    "bias": (7,),
    "kernel": (2, 3, 3, 2),
    "wide": (40, 300),
    "empty": (0, 3),
}


class Bag(nn.Module):
    """Parameters of every number of dimensions, one below another module."""

    weight: Any
    kernel: Any
    wide: Any
    bias: Any

    def __init__(self, values, deeper=True):
        for name, value in values.items():
            setattr(self, name, nn.Parameter(value))
        if deeper:
            self.norm = Bag({"weight": 2 * next(iter(values.values()))[0]}, deeper=False)


class TorchBag(torch.nn.Module):
    def __init__(self, values, deeper=True):
        super().__init__()
        for name, value in values.items():
            self.register_parameter(name, torch.nn.Parameter(to_torch(value)))
        if deeper:
            self.norm = TorchBag({"weight": 2 * next(iter(values.values()))[0]}, deeper=False)


def everything(name, parameter):
    return True


def kernels(name, parameter):
    return "kernel" in name or parameter.ndim == 1


class PenaltyParity(Case):
    configs: ClassVar[Sequence[Config]] = ()
    refused: ClassVar[Sequence[Config]] = ()

    def checks(self, settings):
        for config in self.configs:
            text = ",".join(f"{k}={brief(v)}" for k, v in config.items())
            for dtype in settings.dtypes:
                yield Check(
                    f"agrees[{text}|{dtype}]", partial(self._agrees, settings, config, dtype)
                )
        yield Check("finite differences", partial(self._finite_differences, settings))
        yield Check("changes gradients only", partial(self._effects, settings))
        yield Check("long sums", partial(self._long_sums, settings))
        yield Check("refusals", self._refusals)
        yield Check("called alike", partial(called_alike, self))
        yield from self.trials(settings)

    def places(self, settings):
        for config in self.configs:
            yield from self._places(settings, config)

    def _given(self, rng, regime):
        given = {f"state {k}": regime(rng, shape) for k, shape in SHAPES.items()}
        given |= {f"before {k}": rng.standard_normal(shape) for k, shape in SHAPES.items()}
        return given | {"dloss": np.array(rng.standard_normal())}

    def _places(self, settings, config):
        rng = self.rng(settings, brief(config))
        for name, regime in REGIMES.items():
            yield Compared(
                name,
                lambda case, given: case._ours(config, given),
                partial(self._theirs, config),
                self._given(rng, regime),
            )

    def _agrees(self, settings, config, dtype, log):
        for place in self._places(settings, config):
            log.compare(place.compare(self, dtype), place.name)

    def _ours(self, config, given):
        model = Bag({k[6:]: x for k, x in given.items() if k.startswith("state")})
        penalty = type(self).numpy(**config)
        model.weight.grad = given["before weight"].copy()
        price = penalty(model)
        penalty.backward(model, given["dloss"])
        grads = {
            f"gradient {k}": np.zeros_like(p.data) if p.grad is None else p.grad
            for k, p in model.named_parameters()
        }
        return {"forward price": np.asarray(price), **grads}

    def _theirs(self, config, given):
        model = TorchBag({k[6:]: x for k, x in given.items() if k.startswith("state")})
        model.weight.grad = to_torch(given["before weight"])
        price = type(self).torch(**config)(model)
        if price.requires_grad:
            (price * to_torch(given["dloss"])).backward()
        grads = {
            f"gradient {k}": to_numpy(torch.zeros_like(p) if p.grad is None else p.grad)
            for k, p in model.named_parameters()
        }
        return {"forward price": to_numpy(price), **grads}

    def _finite_differences(self, settings, log):
        rng = self.rng(settings, "finite differences")
        config, h = self.configs[-1], 1e-6
        values = {k: rng.choice([-1, 1], s) * (0.1 + rng.random(s)) for k, s in SHAPES.items()}
        model, penalty = Bag(values), type(self).numpy(**config)
        penalty.backward(model, 1.0)
        for name, p in model.named_parameters():
            v = rng.standard_normal(p.shape)
            p.data += h * v
            above = float(penalty(model))
            p.data -= 2 * h * v
            below = float(penalty(model))
            p.data += h * v
            slope = 0.0 if p.grad is None else float(np.sum(p.grad * v))
            near = (above - below) / (2 * h)
            allowed = 1e2 * np.finfo(float).eps * abs(above) / h
            log.require(abs(near - slope) <= allowed, f"{name}: {slope} but {near} by differences")

    def _long_sums(self, settings, log):
        """Sums long enough for the order of addition to show in float32."""
        given = {
            "state weight": self.rng(settings, "long sums").standard_normal((500, 500)),
            "before weight": np.zeros((500, 500)),
            "dloss": np.array(1.5),
        }
        config = self.configs[-1]
        ours_, theirs_ = partial(self._ours, config), partial(self._theirs, config)
        log.compare(compare(ours_, theirs_, given, "float32", jitters=1), "long sums")

    def _effects(self, settings, log):
        rng = self.rng(settings, "effects")
        model = Bag({k: rng.standard_normal(s) for k, s in SHAPES.items()})
        before = {k: v.copy() for k, v in model.state_dict().items()}
        penalty = type(self).numpy(**self.configs[-1])
        penalty(model)
        log.require(
            all(p.grad is None for p in model.parameters()), "the price alone left gradients"
        )
        model.wide.requires_grad = False
        for _ in range(2):
            penalty.backward(model)
        log.require(model.wide.grad is None, "a frozen weight got a gradient")
        once = Bag({k: before[k] for k in SHAPES})
        penalty.backward(once, 1.0)
        twice = np.allclose(model.kernel.grad, 2 * once.kernel.grad, rtol=1e-15)
        log.require(twice, "two backwards are not twice one")
        kept = all(np.array_equal(v, before[k]) for k, v in model.state_dict().items())
        log.require(kept, "a weight was changed")
        held = model.kernel.grad
        shared = any(np.may_share_memory(held, p.data) for p in model.parameters())
        log.require(not shared, "a gradient is a weight's memory")
        free = Bag({"bias": np.ones(3)}, deeper=False)
        prices = ours.ElasticNet(1.0, 1.0)(free), theirs.ElasticNet(1.0, 1.0)(TorchBag({}, False))
        log.require(prices[0] == float(prices[1]) == 0, f"nobody pays {prices}")
        ours.ElasticNet().backward(once := Bag({k: before[k] for k in SHAPES}))
        log.require(once.weight.grad is None, "a penalty of nothing left a gradient")
        huge = Bag({"weight": np.full((2, 2), 3e38, np.float32)}, deeper=False)
        price = penalty(huge)
        log.require(type(price) is np.float32, f"the price of float32 weights is {type(price)}")

    def _refusals(self, log):
        for config in self.refused:
            for side in (type(self).numpy, type(self).torch):
                log.require(
                    raises(partial(side, **config), error=ValueError), f"{side} takes {config}"
                )
            said = refused(partial(type(self).numpy, **config)) or ""
            wanted = rf"(lam|l1|l2) must be .* got ({'|'.join(str(v) for v in config.values())})"
            log.require(says(said, wanted), f"{config}: said {said!r}")
        config = self.configs[-1]
        texts = [repr(side(**config)) for side in (type(self).numpy, type(self).torch)]
        log.require(texts[0] == texts[1], f"repr {texts[0]}, torch {texts[1]}")


class TwiceTheSlopeless(ours.L2):
    """The price without its half, the gradient as if it had one."""

    def __call__(self, model):
        return 2 * super().__call__(model)


class TwiceTheSlope(ours.L2):
    """The gradient of lam * sum w^2 beside a price with the half."""

    def backward(self, model, dloss=1.0):
        super().backward(model, 2 * dloss)


class L2OfEverything(ours.L2):
    """Biases and norms pay as well."""

    def __init__(self, lam, include=None):
        super().__init__(lam, include or everything)


class L2OfTheNorm(ours.L2):
    """The root of the sum of squares instead of the sum."""

    def __call__(self, model):
        return np.sqrt(super().__call__(model))


class SlopeOneAtZero(ours.L1):
    """A weight of exactly 0 pushed as if it were positive."""

    def backward(self, model, dloss=1.0):
        for w in self._chosen(model):
            w.add_grad(np.where(w.data >= 0, 1.0, -1.0) * self.l1 * dloss)


class Overwriting(ours.L1):
    """The gradient of the loss replaced, not added to."""

    def backward(self, model, dloss=1.0):
        for w in self._chosen(model):
            w.grad = None
        super().backward(model, dloss)


class Swapped(ours.ElasticNet):
    """l1 and l2 the other way round."""

    def __init__(self, l1=0.0, l2=0.0, include=None):
        super().__init__(l2, l1, include)


class Glmnet(ours.ElasticNet):
    """A strength and a mixing ratio (glmnet, scikit-learn) taken for two strengths."""

    def __init__(self, l1=0.0, l2=0.0, include=None):
        super().__init__(l1 * l2, l1 * (1 - l2), include)


class TowardsZero(ours.L1):
    """The slope of half the square."""

    def backward(self, model, dloss=1.0):
        for w in self._chosen(model):
            w.add_grad(w.data * self.l1 * dloss)


class MeanL1(ours.L1):
    """Each array by its mean."""

    def backward(self, model, dloss=1.0):
        for w in self._chosen(model):
            w.add_grad(np.sign(w.data) * (self.l1 * dloss / w.data.size))


class ChosenSigns(ours.L1):
    """The sign by choice."""

    def backward(self, model, dloss=1.0):
        for w in self._chosen(model):
            sign = np.where(w.data > 0, 1.0, np.where(w.data < 0, -1.0, 0.0))
            w.add_grad((sign * (self.l1 * dloss)).astype(w.data.dtype))


class FirstOnly(ours.L2):
    """The first array that pays."""

    def _chosen(self, model):
        return list(super()._chosen(model))[:1]


class EinsumSquares(ours.L2):
    """The squares by einsum, last array first."""

    def __call__(self, model):
        price = super().__call__(model)
        squares = [np.einsum("i,i->", w.data.ravel(), w.data.ravel()) for w in self._chosen(model)]
        return np.asarray(sum(squares[::-1]) * self.l2 / 2, price.dtype)


class Undivided(ours.ElasticNet):
    """l2 * sum w^2."""

    def __init__(self, l1=0.0, l2=0.0, include=None):
        super().__init__(l1, 2 * l2, include)


class TestL1(PenaltyParity):
    numpy, torch = ours.L1, theirs.L1
    configs = grid(lam=[0, 0.3], include=[None, everything, kernels])
    refused = ({"lam": -1e-9}, {"lam": np.nan}, {"lam": np.inf})
    mistakes = {
        "slope 1 at 0": Mistake(
            SlopeOneAtZero,
            "Written as `np.where(w >= 0, 1, -1)`; torch's sign of 0 is 0.",
            "Weights that have come to rest at 0 are pushed off it in every step.",
        ),
        "gradient overwritten": Mistake(
            Overwriting,
            "A classic slip: `w.grad = lam * np.sign(w)`, after the loss has left its gradient.",
            "Only the penalty is learnt.",
        ),
        "proximal instead": Mistake(
            TowardsZero,
            "A classic slip: the price of L2 with the name of L1.",
            "Small weights are hardly pushed: nothing becomes exactly 0.",
        ),
        "mean for the sum": Mistake(
            MeanL1,
            "Written as `lam * np.abs(w).mean()`.",
            "The strength that is needed grows with the layer, and differs between layers.",
        ),
    }
    rewrites = {"np.where": ChosenSigns}


class TestL2(PenaltyParity):
    numpy, torch = ours.L2, theirs.L2
    configs = grid(lam=[0, 0.3], include=[None, everything, kernels])
    refused = ({"lam": -1.0}, {"lam": np.nan}, {"lam": np.inf})
    mistakes = {
        "half left out of the price": Mistake(
            TwiceTheSlopeless,
            "The guide's penalty is lambda * sum(w^2), its gradient line adds lambda * w.",
            "Price and gradient disagree by a factor 2: a gradient check fails.",
        ),
        "half left out of the gradient": Mistake(
            TwiceTheSlope,
            "Keras's l2(lam) is lam * sum(w^2), without the half; its gradient is 2 * lam * w.",
            "Weights decay twice as fast as with weight_decay=lam.",
        ),
        "biases and norms included": Mistake(
            L2OfEverything,
            "torch's weight_decay itself, if all parameters are in one group.",
            "Biases and scales are pulled to 0, for no gain in generalisation.",
        ),
        "norm not squared": Mistake(
            L2OfTheNorm,
            "A classic slip: np.linalg.norm, which has taken the root.",
            "The price no longer goes with the gradient.",
        ),
        "decay of one weight array": Mistake(
            FirstOnly,
            "A classic slip: only the first layer's weights are penalised.",
            "Deeper layers grow as they like.",
        ),
    }
    rewrites = {"einsum": EinsumSquares}

    def checks(self, settings):
        yield from super().checks(settings)
        for name in ("SGD", "Adam"):
            yield Check(f"is the weight_decay of {name}", partial(self._decays, settings, name))
        yield Check("is not the weight_decay of AdamW", partial(self._differs, settings))

    def _decays(self, settings, name, log):
        """The penalty on one side against weight_decay on the other, both ways round."""
        given = self._steps(settings)
        for penalised in (True, False):
            log.compare(
                compare(
                    partial(self._train, name, penalised),
                    partial(self._train_torch, name, not penalised),
                    given,
                    "float64",
                ),
                "penalty in NumPy" if penalised else "penalty in torch",
            )

    def _differs(self, settings, log):
        given = self._steps(settings)
        for train in (self._train, self._train_torch):
            priced, decayed = (train("AdamW", p, given)["step 10 weight"] for p in (True, False))
            gap = float(np.max(np.abs(priced - decayed)))
            log.require(gap > 1e-3, f"AdamW's decay is within {gap} of the penalty")

    def _steps(self, settings):
        rng = self.rng(settings, "decay")
        given = {"state weight": rng.standard_normal((3, 4)), "state bias": rng.standard_normal(3)}
        given |= {f"{t} weight": rng.standard_normal((3, 4)) for t in range(10)}
        return given | {f"{t} bias": rng.standard_normal(3) for t in range(10)}

    def _train(self, name, penalised, given):
        model = Bag({k: given[f"state {k}"] for k in ("weight", "bias")}, deeper=False)
        penalty = type(self).numpy(0.1)
        optimizer = getattr(optimization, name)(
            self._groups(model, penalised), **self._options(name)
        )
        for t in range(10):
            optimizer.zero_grad()
            for k, p in model.named_parameters():
                p.grad = given[f"{t} {k}"].copy()
            if penalised:
                penalty.backward(model)
            optimizer.step()
        return {f"step 10 {k}": p.data for k, p in model.named_parameters()}

    def _train_torch(self, name, penalised, given):
        model = TorchBag({k: given[f"state {k}"] for k in ("weight", "bias")}, deeper=False)
        penalty = type(self).torch(0.1)
        optimizer = getattr(torch.optim, name)(
            self._groups(model, penalised), **self._options(name)
        )
        for t in range(10):
            optimizer.zero_grad()
            loss = sum((p * to_torch(given[f"{t} {k}"])).sum() for k, p in model.named_parameters())
            (loss + penalty(model) if penalised else loss).backward()
            optimizer.step()
        return {f"step 10 {k}": to_numpy(p) for k, p in model.named_parameters()}

    def _groups(self, model, penalised):
        decay = 0.0 if penalised else 0.1
        return [
            {"params": [model.weight], "weight_decay": decay},
            {"params": [model.bias], "weight_decay": 0.0},
        ]

    def _options(self, name):
        return {"lr": 0.05, "momentum": 0.9} if name == "SGD" else {"lr": 0.05}


class TestElasticNet(PenaltyParity):
    numpy, torch = ours.ElasticNet, theirs.ElasticNet
    configs = [{}, *grid(l1=[0.2], l2=[0, 0.7], include=[None, everything]), {"l1": 0.2, "l2": 0.7}]
    refused = ({"l1": -0.1}, {"l2": -0.1}, {"l1": np.nan, "l2": 0.1}, {"l2": np.inf})
    mistakes = {
        "l1 and l2 swapped": Mistake(
            Swapped,
            "A classic slip of positional arguments.",
            "Dense weights where sparse ones were wanted.",
        ),
        "a strength and a ratio": Mistake(
            Glmnet,
            "glmnet and scikit-learn take a strength and a mixing ratio; here they are two "
            "strengths.",
            "Both parts are far weaker than asked.",
        ),
        "half left out of the squares": Mistake(
            Undivided,
            "The guide's L2 has no half.",
            "The squares weigh twice as much beside the absolute values.",
        ),
    }
