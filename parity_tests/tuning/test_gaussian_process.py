"""Gaussian processes: likelihood, posterior and their slopes; the fit; a third witness."""

from typing import Any

import numpy as np
import pytest
import torch

from numpy_impl.tuning import gaussian_process as ours
from parity_tests.harness import Mistake, ModuleParity, Refusal, RuleCase, arrays, grid
from parity_tests.harness.bridge import to_numpy, to_torch
from parity_tests.harness.budget import compare
from torch_impl.tuning import gaussian_process as theirs

X, Y = np.linspace(0, 1, 6).reshape(3, 2), np.array([1.0, -1.0, 0.5])


class Wrong(ours.GaussianProcess):
    """A likelihood whose backward is that of the right one."""

    def changed(self, value, factor, alpha, y):
        raise NotImplementedError

    def forward(self, x, y):
        value = super().forward(x, y)
        if self._saved:
            factor, alpha = self._saved[-1].values
            value = np.asarray(self.changed(value, factor, alpha, y))
        return value


class NoLogDeterminant(Wrong):
    def changed(self, value, factor, alpha, y):
        return value + np.log(np.diag(factor)).sum()


class LogDeterminantTwice(Wrong):
    def changed(self, value, factor, alpha, y):
        return value - np.log(np.diag(factor)).sum()


class NoNoise(ours.GaussianProcess):
    """The kernel matrix factored as it is, but for the least noise."""

    def noise(self):
        return np.asarray(self.log_noise.dtype.type(ours.MIN_NOISE))


class NoiseAsStd(ours.GaussianProcess):
    """exp(log_noise) squared."""

    def noise(self):
        return np.asarray(np.exp(2 * self.log_noise.data) + ours.MIN_NOISE)


class MeanForgotten(ours.GaussianProcess):
    """The prior mean taken from the prediction, not from the values."""

    def _solved(self, x, y):
        return super()._solved(x, y + self.mean.data)


class InverseOnly(ours.GaussianProcess):
    """dK = -K^-1 / 2: the fit to the values left out of the slope."""

    def backward(self, dy):
        _, alpha = self._saved[-1].values
        found, dvalue = super().backward(dy), float(np.asarray(dy))
        self.kernel.forward(self._x, self._x)
        self.kernel.backward(-0.5 * dvalue * np.outer(alpha, alpha))
        return found

    def forward(self, x, y):
        self._x = x
        return super().forward(x, y)


class TestGaussianProcess(ModuleParity):
    numpy, torch = ours.GaussianProcess, theirs.GaussianProcess
    configs = grid(num_inputs=[1, 3], kernel=["rbf", "matern52"])
    inputs = arrays("N num_inputs", N=[1, 7])
    differentiable = 2
    network = True  # a kernel, then a factorisation that magnifies its rounding
    layouts = {k: v for k, v in ModuleParity.layouts.items() if k != "broadcast"}
    refusals = [
        Refusal({"num_inputs": 2, "kernel": "linear"}, says="got 'linear'"),
        Refusal({"num_inputs": 2}, (X, Y[:2]), r"got \(3, 2\) and \(2,\)"),
        Refusal({"num_inputs": 2}, (X[:0], Y[:0]), r"got \(0, 2\) and \(0,\)"),
        Refusal({"num_inputs": 2}, (X, Y[:, None]), r"got \(3, 2\) and \(3, 1\)"),
        Refusal({"num_inputs": 3}, (X, Y), r"\(N, 3\), got \(3, 2\)"),
    ]
    mistakes = {
        "without the log determinant": Mistake(
            NoLogDeterminant,
            "Whoever takes the fit to the values for the whole likelihood.",
            "The likeliest lengthscale is the shortest, the likeliest noise the largest.",
        ),
        "log determinant twice": Mistake(
            LogDeterminantTwice,
            "Whoever forgets that the diagonal of L is half of it, squared.",
            "Functions come out too smooth: their complexity is paid for twice.",
        ),
        "without the noise": Mistake(
            NoNoise,
            "Whoever adds the noise to the prediction and not to the matrix.",
            "The mean runs through every noisy value, and wildly between them.",
        ),
        "noise as a standard deviation": Mistake(
            NoiseAsStd,
            "Whoever names the parameter sigma and squares it, beside those who do not.",
            "Noise that was small is far smaller, and the reverse.",
        ),
        "mean not taken off": Mistake(
            MeanForgotten,
            "Whoever only adds the mean when predicting.",
            "The mean is fitted for nothing, and counted twice in predictions.",
        ),
        "slope without the values": Mistake(
            InverseOnly,
            "Whoever differentiates the log determinant and stops.",
            "The fit maximises something that does not know the values.",
        ),
    }

    def make_inputs(self, rng, shape, regime, config):
        return np.array(regime(rng, shape)), rng.standard_normal(shape[0])


# ---- the posterior ------------------------------------------------------------------------------


class VarianceOfNothing(ours.Posterior):
    """The prior's variance."""

    def forward(self, x_new, observation_noise=False):
        y = super().forward(x_new, observation_noise)
        y[1] = np.exp(self.process.kernel.log_outputscale.data)
        return y


class VarianceWithoutNoise(ours.Posterior):
    """That of the function, where that of an observation was asked for."""

    def forward(self, x_new, observation_noise=False):
        return super().forward(x_new)


class NoPriorMean(ours.Posterior):
    def forward(self, x_new, observation_noise=False):
        y = super().forward(x_new, observation_noise)
        y[0] -= self.process.mean.data
        return y


class OneRootOnly(ours.Posterior):
    """L^-1 k^T taken for K^-1 k^T on the way back."""

    def backward(self, dy):
        (dmean, dvariance), root, kept = self.saved_for_backward(dy)
        dk = np.outer(dmean, self.alpha) - (2 * kept * dvariance * root).T
        return self.process.kernel.backward(dk)[0]


class TestPosterior(RuleCase):
    numpy, torch = ours.Posterior, theirs.Posterior
    mistakes = {
        "variance of the prior": Mistake(
            VarianceOfNothing,
            "Whoever leaves out what the points told.",
            "Nothing is ever certain, and the search never settles.",
        ),
        "variance without the noise": Mistake(
            VarianceWithoutNoise,
            "Whoever returns one variance for the function and for an observation.",
            "Error bars are too narrow for what will be measured.",
        ),
        "prior mean not added": Mistake(
            NoPriorMean,
            "Whoever takes it off the values and forgets it.",
            "Predictions far from all points are 0 instead of the mean.",
        ),
        "slope through one triangular solve": Mistake(
            OneRootOnly,
            "Whoever keeps L^-1 k^T, which the variance needs, and uses it for the slope as well.",
            "Candidates move in a wrong direction, though values and variances are right.",
        ),
    }

    def check_mean_variance_and_slopes_agree(self, log, rng):
        kernels: list[Any] = ["matern52", "rbf"]
        for kernel in kernels:
            for noise in (False, True):
                given = {
                    "x": rng.random((9, 3)),
                    "y": rng.standard_normal(9),
                    "x_new": rng.random((5, 3)),
                    "cotangent": rng.standard_normal((2, 5)),
                    "mean": np.array(0.7),
                    "log_noise": np.array(-3.0),
                    "kernel.log_lengthscale": rng.uniform(-1, 0, 3),
                    "kernel.log_outputscale": np.array(0.4),
                }

                def numpy_side(g, kernel=kernel, noise=noise):
                    process = ours.GaussianProcess(3, kernel, np.float64)
                    process.load_state_dict({k: g[k] for k in process.state_dict()})
                    factor, alpha = process._solved(g["x"], g["y"])
                    posterior = type(self).numpy(process, g["x"], factor, alpha)
                    y = posterior(g["x_new"], noise)
                    grads = {"gradient x_new": posterior.backward(g["cotangent"])}
                    unmoved = all(p.grad is None for p in posterior.process.parameters())
                    log.require(unmoved, "the parameters got gradients")
                    return {"forward mean": y[0], "forward variance": y[1]} | grads

                def torch_side(g, kernel=kernel, noise=noise):
                    process = theirs.GaussianProcess(3, kernel).double()
                    process.load_state_dict({k: to_torch(g[k]) for k in process.state_dict()})
                    posterior = process.posterior(to_torch(g["x"]), to_torch(g["y"]))
                    x_new = to_torch(g["x_new"]).requires_grad_()
                    y = posterior(x_new, noise)
                    y.backward(to_torch(g["cotangent"]))
                    found = {"forward mean": y[0], "forward variance": y[1]}
                    return to_numpy(found | {"gradient x_new": x_new.grad})

                where = f"{kernel}, noise {noise}"
                log.compare(compare(numpy_side, torch_side, given, "float64"), where)

    def check_where_something_was_seen_it_is_known(self, log, rng):
        x, y = rng.random((8, 2)), rng.standard_normal(8)
        process = ours.GaussianProcess(2, "matern52", np.float64)
        process.log_noise.data[...] = -30
        process.kernel.log_lengthscale.data[...] = -2
        mean, variance = type(self).numpy(process, x, *process._solved(x, y))(x)
        log.require(np.abs(mean - y).max() < 0.05, f"off the values by {mean - y}")
        log.require(variance.max() < 2 * ours.MIN_NOISE, f"variance at the points {variance}")
        far = type(self).numpy(process, x, *process._solved(x, y))(x + 1e3)
        log.require(np.allclose(far[1], 1) and np.allclose(far[0], 0), f"far away {far}")


# ---- the fit ------------------------------------------------------------------------------------


class NoPriors(ours.GaussianProcess):
    """The likelihood alone."""

    def fit(self, x, y):
        priors = dict(ours.PRIORS)
        try:
            for name, (middle, _) in priors.items():
                ours.PRIORS[name] = middle, 1e6
            return super().fit(x, y)
        finally:
            ours.PRIORS.update(priors)


class OneStep(ours.GaussianProcess):
    """A fit that stops long before the maximum."""

    def fit(self, x, y):
        super().fit(x, y)
        for p in self.parameters():
            p.data += 1e-3
        return self.posterior(x, y)


class TestFit(RuleCase):
    numpy, torch = ours.GaussianProcess, theirs.GaussianProcess
    mistakes = {
        "likelihood without priors": Mistake(
            NoPriors,
            "Textbook code, which maximises the likelihood alone.",
            "With few points lengthscales run to 0 or infinity, and the search stops learning.",
        ),
        "stopped early": Mistake(
            OneStep,
            "A loose tolerance, or a fixed number of gradient steps.",
            "The parameters depend on where and how the search for them started.",
        ),
    }

    def check_both_sides_land_on_the_same_maximum(self, log, rng):
        plan: list[Any] = [(4, "rbf"), (15, "matern52")]
        for n, kernel in plan:
            x = rng.random((n, 2))
            y = np.sin(5 * x[:, 0]) + x[:, 1] ** 2 + 0.1 * rng.standard_normal(n)
            y = (y - y.mean()) / y.std()
            mine = type(self).numpy(2, kernel, np.float64)
            other = theirs.GaussianProcess(2, kernel).double()
            first = mine.fit(x, y)
            second = other.fit(to_torch(x), to_torch(y))
            found, wanted = mine.state_dict(), to_numpy(dict(other.state_dict()))
            gap = max(float(np.abs(found[k] - wanted[k]).max()) for k in wanted)
            # A gradient below 1e-8 and a curvature above 1 / (8 priors' variance) bound the gap.
            log.require(gap < 1e-7, f"{kernel}, {n} points: parameters {gap:.1e} apart")
            new = rng.random((6, 2))
            with torch.no_grad():
                moments = first(new), second(to_torch(new)).numpy()
            log.require(np.allclose(*moments, rtol=1e-7, atol=1e-9), f"predictions {moments}")
            grads = [p.grad for p in mine.parameters() if p.grad is not None]
            largest = max(float(np.abs(g).max()) for g in grads)
            log.require(largest < 1e-8, f"{kernel}, {n} points: gradient {largest:.1e} at the end")

    def check_where_it_started_does_not_show(self, log, rng):
        x, y = rng.random((6, 2)), rng.standard_normal(6)
        one, other = (type(self).numpy(2, "matern52", np.float64) for _ in range(2))
        for p in other.parameters():
            p.data += rng.standard_normal(p.shape)
        one.fit(x, y)
        other.fit(x, y)
        same = all(np.array_equal(v, other.state_dict()[k]) for k, v in one.state_dict().items())
        log.require(same, "another start led to other parameters")


@pytest.mark.parametrize("side", [ours, theirs])
def test_the_fit_starts_where_the_priors_are_likeliest(monkeypatch, side):
    """Wherever the parameters were: with the search switched off they end there."""
    monkeypatch.setattr(side, "minimize", lambda loss, parameters: None)
    process = side.GaussianProcess(2)
    for p in process.parameters():
        p.data += 3
    arrays = X.astype(np.float32), Y.astype(np.float32)
    process.fit(*(arrays if side is ours else map(to_torch, arrays)))
    state = to_numpy(dict(process.state_dict()))
    means: dict[str, Any] = {"mean": 0, "kernel.log_outputscale": 0}
    means |= {"log_noise": np.log(1e-3), "kernel.log_lengthscale": np.log([0.5, 0.5])}
    assert state.keys() == means.keys()
    for name, value in state.items():
        assert np.allclose(value, means[name], rtol=1e-6), name


def test_values_are_of_the_parameters_dtype():
    """Of the points the kernel says so; torch goes on in the wider one."""
    process = ours.GaussianProcess(2)
    assert process(X.astype(np.float32), Y.astype(np.float32)).dtype == np.float32
    with pytest.raises(TypeError, match="^y must be float32 like the parameters, got float64"):
        process(X.astype(np.float32), Y)


@pytest.mark.parametrize("side", [ours, theirs])
def test_a_posterior_stays_as_it_is(side):
    """It is a copy: what becomes of the process does not show, nor is the process frozen."""
    process = side.GaussianProcess(2)
    x, y = X.astype(np.float32), Y.astype(np.float32)
    x, y = (x, y) if side is ours else (to_torch(x), to_torch(y))
    posterior = process.posterior(x, y)
    before = to_numpy({"y": posterior(x)})["y"].copy()
    assert [p.requires_grad for p in posterior.process.parameters()] == [False] * 4
    assert [p.requires_grad for p in process.parameters()] == [True] * 4
    for p in process.parameters():
        p.data += 1
    assert np.array_equal(to_numpy({"y": posterior(x)})["y"], before)


def test_a_variance_that_rounding_took_has_a_floor_and_no_slope():
    """At points that were seen, under a scale so large that the noise drowns in rounding."""
    process, other = ours.GaussianProcess(2, dtype=np.float64), theirs.GaussianProcess(2).double()
    process.kernel.log_outputscale.data[...] = 20
    other.load_state_dict({k: to_torch(v) for k, v in process.state_dict().items()})
    posterior = process.posterior(X, Y)
    _, variance = posterior(X)
    assert np.array_equal(variance, np.full(3, 1e-10 * np.exp(20.0)))
    assert not posterior.backward(np.stack([np.zeros(3), np.ones(3)])).any()
    x = to_torch(X).requires_grad_()
    y = other.posterior(to_torch(X), to_torch(Y))(x)
    assert np.allclose(to_numpy({"y": y[1]})["y"], variance, rtol=1e-12)
    y[1].sum().backward()
    assert x.grad is not None and not x.grad.any()


# ---- a third witness ----------------------------------------------------------------------------

POINTS = np.array([[0.1, 0.9], [0.4, 0.2], [0.5, 0.5], [0.8, 0.7], [0.95, 0.05]])
VALUES = np.array([0.3, -1.2, 0.4, 1.5, -0.9])
NEW = np.array([[0.1, 0.9], [0.45, 0.4], [0.0, 0.0]])
GOLDEN: dict[str, Any] = {
    "matern52": (
        -7.981808917496952,
        [1.0079451380126954, 1.301478257512414, -3.1541116769361572, 0.020197616159311902],
        [0.2978948602302714, -0.23668782225580237, -0.9009906292350446],
        [0.0201146663845706, 0.029866848323957914, 0.9987677129221929],
    ),
    "rbf": (
        -8.198302711710976,
        [1.753530167951473, 1.7230063768706916, -4.85033707339282, 0.04178504532233194],
        [0.2991131043610959, -0.21594481211785513, -1.428265138211357],
        [0.020098550123375688, 0.018028122544474945, 0.6841973337424693],
    ),
}
"""What scikit-learn 1.9.1 gives: the likelihood; its slopes by log outputscale, log lengthscales
and log noise; mean and variance of observations at NEW. `witness` asks it again where it is.
"""


def process_of_the_witness(kernel):
    process = ours.GaussianProcess(2, kernel, np.float64)
    process.kernel.log_lengthscale.data[...] = np.log([0.4, 0.7])
    process.kernel.log_outputscale.data[...] = np.log(1.5)
    process.log_noise.data[...] = np.log(0.01)
    return process


def witness(kernel):
    """The numbers of GOLDEN, computed by scikit-learn."""
    gp = pytest.importorskip("sklearn.gaussian_process", reason="scikit-learn is not installed")
    k = gp.kernels
    shape = {"rbf": k.RBF([0.4, 0.7]), "matern52": k.Matern([0.4, 0.7], nu=2.5)}[kernel]
    whole = k.ConstantKernel(1.5) * shape + k.WhiteKernel(0.01 + ours.MIN_NOISE)
    model = gp.GaussianProcessRegressor(whole, alpha=0.0, optimizer=None).fit(POINTS, VALUES)
    value, slopes = model.log_marginal_likelihood(model.kernel_.theta, eval_gradient=True)
    mean, std = model.predict(NEW, return_std=True)
    return value, slopes, mean, std**2


def agree_with(kernel, found):
    value, slopes, mean, variance = found
    process = process_of_the_witness(kernel)
    assert np.isclose(float(process(POINTS, VALUES)), value, rtol=1e-12)
    process.backward(np.asarray(1.0))
    noise = float(process.noise() / np.exp(process.log_noise.data))  # theirs has no least noise
    log_noise = process.log_noise.grad
    assert log_noise is not None
    log_lengthscale = process.kernel.log_lengthscale.grad
    assert log_lengthscale is not None
    ours_ = [process.kernel.log_outputscale.grad, *log_lengthscale]
    assert np.allclose([*ours_, log_noise * noise], slopes, rtol=1e-11)
    moments = process.posterior(POINTS, VALUES)(NEW, observation_noise=True)
    assert np.allclose(moments, [mean, variance], rtol=1e-11)


@pytest.mark.parametrize("kernel", GOLDEN)
def test_scikit_learn_agrees_as_recorded(kernel):
    agree_with(kernel, GOLDEN[kernel])


@pytest.mark.parametrize("kernel", GOLDEN)
def test_scikit_learn_agrees_today(kernel):
    agree_with(kernel, witness(kernel))
