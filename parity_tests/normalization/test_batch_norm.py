"""BatchNorm1d, BatchNorm2d, the guide's convention translated, and the layer they live in."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from numpy_impl.layers.container import Sequential
from numpy_impl.normalization import batch_norm as ours
from parity_tests.harness import Mistake, ModuleParity, Refusal, arrays, grid
from parity_tests.harness.bridge import to_numpy, to_torch
from parity_tests.harness.budget import compare
from parity_tests.layers.test_container import reordered
from torch_impl.normalization import batch_norm as theirs


def gaussian(*shape: int, seed: int = 0) -> Any:
    """Normal numbers that depend on the shape and the seed, not on which test ran before."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def pair(num_features: int) -> tuple[Any, Any]:
    """A BatchNorm1d of either side, in float64."""
    return ours.BatchNorm1d(num_features).double(), theirs.BatchNorm1d(num_features).double()


def statistics(x):
    """Mean and biased variance of each channel, and how many numbers they come from."""
    axes = (0, *range(2, x.ndim))
    return x.mean(axes), x.var(axes), x.size // x.shape[1]


def column(v, x):
    """One number a channel, shaped to go with x."""
    return v.reshape(-1, *[1] * (x.ndim - 2))


class Rescaled(ours.BatchNorm1d):
    """Training output normalised by another number than sqrt(var + eps); `root` says which."""

    root: Any

    def forward(self, x):
        y = super().forward(x)
        if not self.training or not x.size:
            return y
        shift = column(np.zeros(x.shape[1]) if self.bias is None else self.bias.data, x)
        mean, var, n = statistics(x)
        return (y - shift) * column(np.sqrt(var + self.eps) / self.root(x, var, n), x) + shift


class UnbiasedNormalisation(Rescaled):
    """ddof=1 in the variance."""

    def root(self, x, var, n):
        return np.sqrt(var * n / (n - 1) + self.eps)


class EpsOutsideTheRoot(Rescaled):
    """eps added to the standard deviation."""

    def root(self, x, var, n):
        return np.sqrt(var) + self.eps


class OnePassVariance(Rescaled):
    """var = <x^2> - <x>^2, whose digits cancel far from zero."""

    def root(self, x, var, n):
        axes = (0, *range(2, x.ndim))
        return np.sqrt(np.maximum((x**2).mean(axes) - x.mean(axes) ** 2, 0) + self.eps)


class Tracks(ours.BatchNorm1d):
    """Another rule for the running statistics; `track` says which."""

    track: Any

    def forward(self, x):
        old = [None if b is None else b.copy() for b in (self.running_mean, self.running_var)]
        y = super().forward(x)
        if self.training and self.running_mean is not None and x.size:
            m = self.momentum if self.momentum is not None else 1 / int(self.num_batches_tracked)
            self.running_mean[...], self.running_var[...] = self.track(m, *old, *statistics(x))
        return y


class BiasedRunningVar(Tracks):
    """The variance tracked as it is normalised by."""

    def track(self, m, old_mean, old_var, mean, var, n):
        return (1 - m) * old_mean + m * mean, (1 - m) * old_var + m * var


class MomentumReversed(Tracks):
    """momentum as the share of the old value, as Keras and the guide have it."""

    def track(self, m, old_mean, old_var, mean, var, n):
        return m * old_mean + (1 - m) * mean, m * old_var + (1 - m) * var * n / (n - 1)


class StartsAtFirstBatch(Tracks):
    """Running statistics that begin as the first batch's, not as 0 and 1."""

    def track(self, m, old_mean, old_var, mean, var, n):
        m = 1.0 if self.num_batches_tracked == 1 else m
        return (1 - m) * old_mean + m * mean, (1 - m) * old_var + m * var * n / (n - 1)


class StandardDeviationTracked(Tracks):
    """running_var holds standard deviations."""

    def track(self, m, old_mean, old_var, mean, var, n):
        return (1 - m) * old_mean + m * mean, (1 - m) * old_var + m * np.sqrt(var * n / (n - 1))


def eps_1e_3(**config: Any) -> ours.BatchNorm1d:
    """Keras' default."""
    return ours.BatchNorm1d(**config | {"eps": 1e-3})


class ConstantStatistics(ours.BatchNorm1d):
    """Backward that holds the batch's mean and variance constant."""

    def backward(self, dy):
        a = self._saved[-1].values[3] * (1 if self.weight is None else self.weight.data)
        super().backward(dy)
        return dy * column(a, dy)


class EvalUsesTheBatch(ours.BatchNorm1d):
    """Batch statistics in eval mode too."""

    def forward(self, x):
        mode, buffers = self.training, self._own_buffers()
        kept = [(b, b.copy()) for _, b in buffers if b is not None]
        self.training = True
        try:
            y = super().forward(x)
        finally:
            self.training = mode
        if not mode:
            for live, old in kept:
                live[...] = old
        return y


class AveragedParameterGradients(ours.BatchNorm1d):
    """dweight and dbias averaged over the batch, where the sum is meant."""

    def backward(self, dy):
        dx = super().backward(dy)
        for p in self.parameters():
            if p.grad is not None:
                p.grad = p.grad / max(dy.size // dy.shape[1], 1)
        return dx


class MeanPathForgotten(ours.BatchNorm1d):
    """dx without the term of the mean."""

    rstd: Any = None

    def backward(self, dy):
        dx: Any = super().backward(dy)
        if self.training and dy.size:
            scale = np.ones(dy.shape[1]) if self.weight is None else self.weight.data
            axes = (0, *range(2, dy.ndim))
            dx = dx + column(self.rstd * scale * dy.mean(axes), dy)
        return dx

    def forward(self, x):
        y = super().forward(x)
        self.rstd = 1 / np.sqrt(statistics(x)[1] + self.eps) if x.size else None
        return y


class GammaForgottenInBackward(ours.BatchNorm1d):
    """dx of a norm whose weight is 1."""

    def backward(self, dy):
        dx = super().backward(dy)
        if self.weight is None:
            return dx
        return dx / column(self.weight.data, dx)


class NormalisesFeatures(ours.BatchNorm1d):
    """Each sample over its features: layer norm."""

    def forward(self, x):
        y = super().forward(x)
        if not self.training or not x.size or x.ndim != 2:
            return y
        mean, var = x.mean(1, keepdims=True), x.var(1, keepdims=True)
        x_hat = (x - mean) / np.sqrt(var + self.eps)
        shift = np.zeros(x.shape[1]) if self.bias is None else self.bias.data
        scale = np.ones(x.shape[1]) if self.weight is None else self.weight.data
        return x_hat * scale + shift


class ByEinsum(Rescaled):
    """The variance as an einsum of what is centred."""

    def root(self, x, var, n):
        axes = (0, *range(2, x.ndim))
        d = np.moveaxis(x - x.mean(axes, keepdims=True), 1, 0).reshape(x.shape[1], -1)
        return np.sqrt(np.einsum("cn,cn->c", d, d) / n + self.eps)


class CorrectedLast(Tracks):
    """The biased variance, its share corrected."""

    def track(self, m, old_mean, old_var, mean, var, n):
        return m * mean + (1 - m) * old_mean, (m * n / (n - 1)) * var + (1 - m) * old_var


MISTAKES = {
    "ddof 1 in the normalisation": Mistake(
        UnbiasedNormalisation,
        "Code that takes torch.var or ddof=1 for the variance, as one does in statistics.",
        "Outputs are too small by sqrt((n - 1) / n), most for small batches.",
    ),
    "running variance biased": Mistake(
        BiasedRunningVar,
        "The guide's BatchNormalization, and most NumPy versions, track what they normalise by.",
        "Right in training; outputs in eval mode are too large by sqrt(n / (n - 1)).",
    ),
    "momentum reversed": Mistake(
        MomentumReversed,
        "Keras (0.99) and the guide (0.9) weigh the old value; torch's momentum weighs the new.",
        "With one's number on the other side the statistics are those of the last batch or two.",
    ),
    "statistics start at the first batch": Mistake(
        StartsAtFirstBatch,
        "The guide's BatchNormalization keeps None until the first batch comes; torch starts at "
        "0 and 1.",
        "Eval outputs of the first epochs are not torch's.",
    ),
    "standard deviation tracked": Mistake(
        StandardDeviationTracked,
        "A classic slip: what was divided by is kept, and its root taken again in eval mode.",
        "Eval outputs are too small where the spread is above 1, too large below.",
    ),
    "eps outside the root": Mistake(
        EpsOutsideTheRoot,
        "Written as `(x - mean) / (std + eps)`.",
        "Channels that hardly vary come out up to sqrt(1 / eps) times too large.",
    ),
    "eps 1e-3": Mistake(
        eps_1e_3,
        "Keras's default; torch's is 1e-5.",
        "Outputs are too small where the variance is not far above 1e-3.",
    ),
    "mean and var held constant in backward": Mistake(
        ConstantStatistics,
        "A classic slip: mean and variance are taken for numbers, though they move with x.",
        "The gradient has a part along the mean and the scale that changes nothing: steps go "
        "astray.",
    ),
    "path of the mean left out": Mistake(
        MeanPathForgotten,
        "A classic slip: the variance's path is derived and the mean's is forgotten.",
        "The gradients of a channel do not sum to 0 over the batch.",
    ),
    "weight left out of dx": Mistake(
        GammaForgottenInBackward,
        "A classic slip that no test shows while all weights are 1, as they are at the start.",
        "Gradients below are off by each channel's weight, the more the longer it trains.",
    ),
    "batch statistics in eval": Mistake(
        EvalUsesTheBatch,
        "A classic slip: eval() is not looked at, or never called.",
        "What is predicted for a sample depends on the others in its batch.",
    ),
    "parameter gradients averaged": Mistake(
        AveragedParameterGradients,
        "A classic slip: `dgamma = (dy * x_hat).mean(0)`, though the loss has divided by N "
        "already.",
        "Scale and shift learn N times too slowly.",
    ),
    "variance in one pass": Mistake(
        OnePassVariance,
        "Written as mean(x^2) - mean(x)^2.",
        "All digits cancel far from 0: with a mean of 1e4 half of them are gone, in float32 all.",
    ),
    "over the features": Mistake(
        NormalisesFeatures,
        "A classic slip: axis 1 for axis 0, which is layer norm.",
        "Each sample is normalised by itself, and running statistics fit nothing.",
    ),
}
REWRITES = {"einsum": ByEinsum, "the share corrected": CorrectedLast}


def in_two_dimensions(wrong: type) -> type:
    """The same for images."""
    return type(wrong.__name__, (wrong,), {"axes": ours.BatchNorm2d.axes})


CONFIGS: list[dict[str, Any]] = [
    {"num_features": 1, "eps": 0.1, "momentum": 0.9},
    {"num_features": 1, "momentum": None, "track_running_stats": False},
    {"num_features": 5, "eps": 0.1, "momentum": None, "affine": False},
    {"num_features": 5, "affine": False, "track_running_stats": False},
    {"num_features": 5, "momentum": None, "bias": False},
    {"num_features": 5},
]


class BatchNormParity(ModuleParity):
    """What the cases share.

    With two samples in a batch the gradient is what eps leaves of terms that cancel: how the
    statistics were rounded decides its digits, and no ulp in the input shows that.
    """

    network = True

    def make_state(self, rng, key, like):
        """Also counts of batches from none on: the first batch is where conventions differ."""
        if key.endswith("num_batches_tracked"):
            return np.array(rng.integers(0, 3), dtype=like.dtype)
        return super().make_state(rng, key, like)


def refusals(*shapes: tuple[int, ...]) -> list[Refusal]:
    """What torch refuses whatever the shape; the first shape is right but for one sample."""
    right, *wrong = shapes
    two, single = (2, *right[1:]), (1, *right[1:])
    return [
        Refusal({"num_features": -1}, says="negative"),
        Refusal({"num_features": 2.5}, says="integer|float"),
        Refusal({"num_features": 5}, (np.zeros(single),), "more than 1 value per channel"),
        Refusal(
            {"num_features": 5, "track_running_stats": False},
            (np.zeros(single),),
            "more than 1 value per channel",
            training=False,
        ),
        Refusal({"num_features": 5, "eps": 0}, (np.zeros(two),), "eps must be positive"),
        Refusal({"num_features": 5, "eps": -1}, (np.ones(two),), "eps must", training=False),
        Refusal({"num_features": 4}, (np.zeros(two),), r"4.*got \(2, 5"),
        Refusal({"num_features": 0}, (np.zeros((2, 0, *right[2:])),), "1\\+ features"),
        *(Refusal({"num_features": 5}, (np.zeros(shape),), "expected .*D") for shape in wrong),
    ]


class TestBatchNorm1d(BatchNormParity):
    numpy, torch = ours.BatchNorm1d, theirs.BatchNorm1d
    configs = CONFIGS
    inputs = [
        *arrays("N num_features", N=[0, 2]),
        *arrays("N num_features L", N=[1, 3], L=[4]),
        *arrays("N num_features L", N=[2], L=[0, 1]),
        *arrays("N num_features", N=[7]),
    ]
    refusals = refusals((1, 5), (5,), (2, 5, 3, 3))
    mistakes = MISTAKES
    rewrites = REWRITES


class AxesChosen(ours.BatchNorm1d):
    """Training output normalised over other axes; `over` says which."""

    over: Any

    def forward(self, x):
        y = super().forward(x)
        if not self.training:
            return y
        mean, var = x.mean(self.over, keepdims=True), x.var(self.over, keepdims=True)
        weight, bias = (column(p.data, x) for p in self.parameters())
        return weight * (x - mean) / np.sqrt(var + self.eps) + bias


class EveryStepByItself(AxesChosen):
    """Over the batch alone."""

    over = 0


class EverySampleByItself(AxesChosen):
    """Over time alone."""

    over = 2


class CountedBySamples(Tracks):
    """n / (n - 1) with n the samples, though every step of theirs counts."""

    def forward(self, x):
        self.samples = len(x)
        return super().forward(x)

    def track(self, m, old_mean, old_var, mean, var, n):
        n = self.samples
        return (1 - m) * old_mean + m * mean, (1 - m) * old_var + m * var * n / (n - 1)


class TestBatchNorm1dOverTime(BatchNormParity):
    numpy, torch = ours.BatchNorm1d, theirs.BatchNorm1d
    mistakes = {
        "every step by itself": Mistake(
            EveryStepByItself,
            "Written with `axis=0`, right for (N, C).",
            "As many statistics as steps: what tells one step from the next is taken away.",
        ),
        "every sample by itself": Mistake(
            EverySampleByItself,
            "Written with `axis=-1`, which is instance norm.",
            "A sample's level is lost in training, and kept in eval mode.",
        ),
        "n counted by samples": Mistake(
            CountedBySamples,
            "Written as `n = x.shape[0]` for the unbiased variance, right for (N, C).",
            "The running variance is too large: by a quarter for 5 samples.",
        ),
    }
    configs = grid(num_features=[3], momentum=[0.1, None])
    inputs = arrays("N num_features L", N=[5], L=[4])


class TestBatchNorm2d(BatchNormParity):
    numpy, torch = ours.BatchNorm2d, theirs.BatchNorm2d
    configs = CONFIGS[2:]
    inputs = [
        *arrays("N num_features H W", N=[0, 1, 2], H=[3], W=[1]),
        *arrays("N num_features H W", N=[2], H=[1], W=[1]),
        *arrays("N num_features H W", N=[3], H=[2], W=[5]),
    ]
    refusals = refusals((1, 5, 1, 1), (2, 5), (2, 5, 3))
    mistakes = {
        name: replace(m, stand_in=in_two_dimensions(m.stand_in))
        for name, m in MISTAKES.items()
        if isinstance(m.stand_in, type) and m.stand_in is not NormalisesFeatures
    }
    rewrites = {name: in_two_dimensions(right) for name, right in REWRITES.items()}


GUIDE_STATE: dict[str, Any] = {
    "num_features": 3,
    "momentum": 0.8,
    "epsilon": 1e-2,
    "gamma": 1.5,
    "beta": -0.5,
    "running_mean": gaussian(1, 3),
    "running_var": 1 + gaussian(1, 3) ** 2,
}


def untranslated(num_features: int, momentum: float = 0.9, **others: Any) -> ours.BatchNorm1d:
    """The guide's momentum taken over as it stands."""
    return ours.batch_norm_from_guide(num_features, 1 - momentum, **others)


def default_eps(num_features: int, *, epsilon: float = 1e-8, **others: Any) -> ours.BatchNorm1d:
    """torch's 1e-5, whatever the guide's was."""
    return ours.batch_norm_from_guide(num_features, epsilon=1e-5, **others)


def uncorrected(num_features: int, *, batch_size: Any = None, **others: Any) -> ours.BatchNorm1d:
    """The running variance as the guide has it."""
    return ours.batch_norm_from_guide(num_features, **others)


class TestBatchNormFromGuide(ModuleParity):
    numpy, torch = ours.batch_norm_from_guide, theirs.batch_norm_from_guide
    state_as_built = True  # by the translation
    network = True
    configs = [{"num_features": 2}, GUIDE_STATE | {"batch_size": 7}, GUIDE_STATE]
    inputs = arrays("N num_features", N=[7])
    refusals = [
        Refusal({"num_features": 3, "momentum": 1.5}, says="momentum"),
        Refusal({"num_features": 3, "running_mean": 0.0}, says="together"),
        Refusal({"num_features": 3, "batch_size": 1}, says="batch_size"),
    ]
    mistakes = {
        "momentum taken over as it stands": Mistake(
            untranslated,
            "The mover who copies the guide's momentum=0.9 into torch.",
            "Running statistics forget all but the last batch or two.",
        ),
        "eps left at torch's": Mistake(
            default_eps,
            "The mover who leaves out the guide's epsilon, 1e-8.",
            "Channels that hardly vary come out smaller than the guide's.",
        ),
        "variance not corrected": Mistake(
            uncorrected,
            "The mover who copies the guide's running variance, which is biased.",
            "Eval outputs are too large by sqrt(n / (n - 1)), n the guide's batch size.",
        ),
    }

    def build(self, config, dtype):
        return type(self).numpy(**config, dtype=dtype)

    def build_torch(self, config, dtype):
        return type(self).torch(**config, dtype=dtype)

    def beside_torch(self, settings, stand_in):
        for call in super().beside_torch(settings, stand_in):
            yield {**call, "kwargs": {**call["kwargs"], "dtype": torch.float64}}


class TestLinearNormRelu(ModuleParity):
    numpy, torch = ours.linear_norm_relu, theirs.linear_norm_relu
    mistakes = {
        "norm after the ReLU": Mistake(
            reordered(ours.linear_norm_relu, lambda layers: [layers[0], layers[2], layers[1]]),
            "Networks that treat the norm as the last layer of a block; the paper puts it before.",
            "Outputs are negative, too, and means are those of clipped numbers.",
        ),
        "ReLU left out": Mistake(
            reordered(ours.linear_norm_relu, lambda layers: layers[:2]),
            "A classic slip when the norm comes in between a layer and its activation.",
            "A stack of such blocks is one linear map, up to the norms.",
        ),
        "norm left out": Mistake(
            reordered(ours.linear_norm_relu, lambda layers: [layers[0], layers[2]]),
            "A classic slip: the layer is made, and never called in forward.",
            "Nothing is normalised and, as the Linear has none, nothing is shifted.",
        ),
    }
    network = True
    configs = grid(in_features=[4], out_features=[3])
    inputs = arrays("N in_features", N=[2, 7])


class GuideBatchNormalization:
    """The guide's class as it is printed, but for its comments."""

    def __init__(self, momentum=0.9, epsilon=1e-5):
        self.momentum = momentum
        self.epsilon = epsilon
        self.running_mean = None
        self.running_var = None
        self.gamma = 1.0
        self.beta = 0.0

    def forward(self, X, training=True):
        if training:
            mean = np.mean(X, axis=0, keepdims=True)
            var = np.var(X, axis=0, keepdims=True)
            if self.running_mean is None:
                self.running_mean = mean
                self.running_var = var
            else:
                self.running_mean = self.momentum * self.running_mean + (1 - self.momentum) * mean
                self.running_var = self.momentum * self.running_var + (1 - self.momentum) * var
        else:
            mean = self.running_mean
            var = self.running_var
        X_norm = (X - mean) / np.sqrt(var + self.epsilon)
        return self.gamma * X_norm + self.beta

    def settings(self):
        return {
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "gamma": self.gamma,
            "beta": self.beta,
            "running_mean": self.running_mean,
            "running_var": self.running_var,
        }


def trained_guide(batches: int) -> GuideBatchNormalization:
    guide = GuideBatchNormalization(momentum=0.7, epsilon=1e-3)
    guide.gamma, guide.beta = 1.7, -0.3
    for i in range(batches):
        guide.forward(5 + 2 * gaussian(6, 4, seed=i))
    return guide


def test_the_guides_trained_class_evaluates_the_same_after_translation():
    guide, x = trained_guide(5), gaussian(9, 4)
    norm = ours.batch_norm_from_guide(4, **guide.settings(), dtype=np.float64).eval()
    twin = theirs.batch_norm_from_guide(4, **guide.settings(), dtype=torch.float64).eval()
    wanted = guide.forward(x, training=False)
    np.testing.assert_allclose(norm(x), wanted, rtol=1e-14)
    np.testing.assert_allclose(to_numpy(twin(to_torch(x))), wanted, rtol=1e-14)


def test_the_guides_run_goes_on_the_same_after_translation_up_to_the_unbiased_factor():
    guide: Any = trained_guide(1)
    n = 6
    norm = ours.batch_norm_from_guide(4, **guide.settings(), batch_size=n, dtype=np.float64)
    twin: Any = theirs.batch_norm_from_guide(
        4, **guide.settings(), batch_size=n, dtype=torch.float64
    )
    for i in range(4):
        x = 3 + gaussian(n, 4, seed=10 + i)
        wanted = guide.forward(x)
        np.testing.assert_allclose(norm(x), wanted, rtol=1e-13)
        np.testing.assert_allclose(to_numpy(twin(to_torch(x))), wanted, rtol=1e-13)
        for mean, var in (
            (norm.running_mean, norm.running_var),
            (twin.running_mean, twin.running_var),
        ):
            np.testing.assert_allclose(mean, guide.running_mean[0], rtol=1e-14)
            np.testing.assert_allclose(var, guide.running_var[0] * n / (n - 1), rtol=1e-14)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("momentum", [0.0, 0.1, 1.0, None])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_statistics_after_each_of_three_batches(momentum, dtype, offset):
    """The same layer three times in a row on batches of different sizes, from a fresh start."""
    given = {f"batch {n}": offset + gaussian(n, 3) for n in (2, 9, 5)}

    def run(build, tensors, out):
        def found(arrays):
            norm, seen = build(arrays), dict[str, Any]()
            for name, x in arrays.items():
                norm(tensors(x))
                seen |= {f"buffer {k} after {name}": out(b).copy() for k, b in norm.named_buffers()}
            return seen

        return found

    def our_norm(arrays):
        return ours.BatchNorm1d(3, momentum=momentum, dtype=arrays["batch 2"].dtype)

    def their_norm(arrays):
        wide = arrays["batch 2"].dtype == np.float64
        return theirs.BatchNorm1d(
            3, momentum=momentum, dtype=torch.float64 if wide else torch.float32
        )

    found = compare(
        run(our_norm, np.asarray, np.asarray), run(their_norm, to_torch, to_numpy), given, dtype
    )
    assert all(d.passed for d in found), "\n".join(map(str, found))


def exactly(given):
    """One training step in extended precision: a referee that is neither side."""
    state = {k.removeprefix("state "): v.astype(np.longdouble) for k, v in given.items()}
    x, dy = state["input 0"], state["cotangent"]
    axes = (0, *range(2, x.ndim))
    mean = x.mean(axes)
    centred = x - column(mean, x)
    var, n = (centred**2).mean(axes), x.size // x.shape[1]
    rstd = 1 / np.sqrt(var + np.longdouble(1e-5))
    x_hat = centred * column(rstd, x)
    dbias, dweight = dy.sum(axes), (dy * x_hat).sum(axes)
    dx = column(state["weight"] * rstd, x) * (
        dy - column(dbias, x) / n - x_hat * column(dweight, x) / n
    )
    return {
        "forward output": column(state["weight"], x) * x_hat + column(state["bias"], x),
        "gradient input 0": dx,
        "gradient weight": dweight,
        "gradient bias": dbias,
        "buffer running_mean": 0.9 * state["running_mean"] + 0.1 * mean,
        "buffer running_var": 0.9 * state["running_var"] + 0.1 * var * n / (n - 1),
    }


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    "shape", [(300, 5), (700, 800), (40, 3, 4000), (9, 6, 50, 50), (3, 2, 9, 17000)]
)
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_sums_over_many_blocks_are_as_exact_as_torchs(shape, dtype, offset):
    """Against extended precision, for torch's own float64 sums are off by more than rounding."""
    case = (TestBatchNorm1d if len(shape) < 4 else TestBatchNorm2d)()
    config, rng = {"num_features": shape[1]}, np.random.default_rng(1)
    state = case.build(config, dtype).state_dict()
    given = {f"state {k}": case.make_state(rng, k, v) for k, v in state.items()}
    # samples of different means and spreads, so that joining the blocks has work to do
    drift = np.reshape(np.arange(shape[0]) / shape[0], (-1, *[1] * (len(shape) - 1)))
    given["input 0"] = offset + 5 * drift + (1 + drift) * rng.standard_normal(shape)
    given["cotangent"] = rng.standard_normal(shape)
    given = {k: v.astype(dtype) if v.dtype.kind == "f" else v for k, v in given.items()}
    got = case.run_numpy(given, config, "train", 0)
    torchs = case.run_torch(given, config, "train", 0)
    for k, truth in exactly(given).items():
        error, measure = (np.abs(found[k] - truth).max() for found in (got, torchs))
        allowed = 4 * measure + 4 * np.spacing(np.abs(truth).max().astype(dtype))
        assert error <= allowed, f"{k}: off by {error:.3g}, torch by {measure:.3g}"


@pytest.mark.parametrize("mode", [True, False])
def test_nan_and_infinity_stay_in_their_channel_as_in_torch(mode):
    x = np.array([[1.0, np.nan, 3.0, np.inf], [1.5, 3.0, -np.inf, np.inf], [2.0, 1.0, 0.0, 1.0]])
    dy = gaussian(*x.shape)
    norm, twin = (side.train(mode) for side in pair(4))
    leaf = to_torch(x).requires_grad_()
    y = twin(leaf)
    y.backward(to_torch(dy))
    np.testing.assert_allclose(norm(x), to_numpy(y), rtol=1e-14)
    np.testing.assert_allclose(norm.backward(dy), to_numpy(leaf.grad), rtol=1e-13)
    for k, b in norm.named_buffers():
        np.testing.assert_allclose(
            b, to_numpy(dict(twin.named_buffers())[k]), rtol=1e-14, err_msg=k
        )
    for (k, p), q in zip(norm.named_parameters(), twin.parameters(), strict=True):
        np.testing.assert_allclose(p.grad, to_numpy(q.grad), rtol=1e-13, err_msg=k)


def test_constant_features_become_the_bias_whatever_eps():
    for eps in (1e-5, 1e-12):
        norm: Any = ours.BatchNorm1d(2, eps=eps)
        norm.bias.data[...] = 0.25, -3
        x = np.tile(np.array([1e4, 0.1], np.float32), (9, 1))
        np.testing.assert_allclose(norm(x), np.tile(norm.bias.data, (9, 1)), atol=1e-2)
        np.testing.assert_array_less(-1e-12, norm.running_var)


def test_state_dict_stays_live_through_training():
    norm = ours.BatchNorm1d(2)
    state = norm.state_dict()
    norm(np.array([[1, 2], [3, 6]], np.float32))
    assert state["num_batches_tracked"] == 1 and state["num_batches_tracked"].dtype == np.int64
    np.testing.assert_allclose(state["running_mean"], [0.2, 0.4], rtol=1e-6)
    np.testing.assert_allclose(state["running_var"], [1.1, 1.7], rtol=1e-6)
    norm.reset_running_stats()
    assert state["num_batches_tracked"] == 0 and list(state["running_var"]) == [1, 1]
    assert list(state["running_mean"]) == [0, 0]


def test_tracking_switched_off_later_leaves_the_statistics():
    norm, twin = pair(2)
    norm.track_running_stats = twin.track_running_stats = False
    x = gaussian(5, 2)
    np.testing.assert_allclose(norm(x), to_numpy(twin(to_torch(x))), rtol=1e-13)
    np.testing.assert_allclose(norm.eval()(x), to_numpy(twin.eval()(to_torch(x))), rtol=1e-13)
    assert norm.num_batches_tracked == 0 and not norm.running_mean.any()


def test_one_layer_twice_in_a_row_goes_back_in_order():
    norm, twin = pair(3)
    x, dy = gaussian(6, 3), gaussian(6, 3, seed=1)
    norm.weight.data[...] = twin.weight.data[...] = 2.0
    leaf = to_torch(x).requires_grad_()
    torch.nn.Sequential(twin, twin)(leaf).backward(to_torch(dy))
    model = Sequential(norm, norm)
    model(x)
    np.testing.assert_allclose(model.backward(dy), to_numpy(leaf.grad), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(norm.weight.grad, to_numpy(twin.weight.grad), rtol=1e-9)


def test_what_rounding_takes_from_the_mean_is_put_back():
    """In float32 the mean of these rows is off by a third of the step between them."""
    x, step = np.full((3, 1), 1e4, np.float32), 2.0**-10
    x[2] += step
    norm = ours.BatchNorm1d(1, momentum=0.5, bias=False)
    norm.running_mean[...] = -1e4
    exact = x.astype(np.float64) - 1e4 - step / 3
    rstd = 1 / np.sqrt((exact**2).mean() + 1e-5)
    np.testing.assert_allclose(norm(x), exact * rstd, rtol=1e-5)
    np.testing.assert_allclose(norm.running_mean, step / 6, rtol=1e-5)


def test_many_samples_of_short_rows_are_added_in_float64():
    norm: Any = ours.BatchNorm1d(2)
    x, dy = gaussian(20000, 2, 2).astype(np.float32), np.full((20000, 2, 2), 0.1, np.float32)
    norm(x)
    norm.backward(dy)
    np.testing.assert_allclose(norm.bias.grad, 40000 * np.float64(dy[0, 0, 0]), rtol=2e-7)


def test_eps_may_be_zero_in_eval_mode():
    norm, x = ours.BatchNorm1d(3, eps=0).double().eval(), gaussian(4, 3)
    np.testing.assert_array_equal(norm(x), x)


def test_refusals_name_the_class_and_the_shapes_that_it_takes():
    one, two = ours.BatchNorm1d(4), ours.BatchNorm2d(4)
    for norm, shape, says in (
        (one, (4,), "BatchNorm1d: expected 2D or 3D input, got 1D"),
        (one, (2, 5), r"BatchNorm1d wants \(N, 4\) or \(N, 4, L\), got \(2, 5\)"),
        (two, (2, 5, 1, 1), r"BatchNorm2d wants \(N, 4, H, W\), got"),
    ):
        with pytest.raises(ValueError, match=says):
            norm(np.zeros(shape, np.float32))
    with pytest.raises(ValueError, match="eps must be non-negative, got -1"):
        ours.BatchNorm1d(4, eps=-1).eval()(np.zeros((2, 4), np.float32))


@pytest.mark.parametrize("momentum", [0, 1])
def test_the_guides_state_may_be_at_the_ends_of_its_ranges(momentum):
    state = {"running_mean": gaussian(3, 1), "running_var": 1 + gaussian(3, 1) ** 2}
    norm = ours.batch_norm_from_guide(3, momentum, **state, batch_size=2, dtype=np.float64)
    np.testing.assert_array_equal(norm.running_mean, state["running_mean"][:, 0])
    np.testing.assert_array_equal(norm.running_var, 2 * state["running_var"][:, 0])
    assert norm.momentum == 1 - momentum
