"""Expected improvement and its slopes, far into the tail where most points lie."""

import math

import numpy as np
import torch

from numpy_impl.tuning import acquisition as ours
from parity_tests.harness import FunctionParity, Mistake, Refusal, arrays, grid
from torch_impl.tuning import acquisition as theirs

erf = np.frompyfunc(math.erf, 1, 1)


def pieces(mean, variance, best):
    std = np.sqrt(variance)
    z = (best - mean) / std
    return z, std, np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


def sign_swapped(mean, variance, best):
    return ours.expected_improvement(-mean, variance, -best)


def sign_swapped_backward(dy, mean, variance, best):
    dmean, dvariance = ours.expected_improvement_backward(dy, -mean, variance, -best)
    return -dmean, dvariance


def variance_for_std(mean, variance, best):
    return ours.expected_improvement(mean, variance**2, best)


def variance_for_std_backward(dy, mean, variance, best):
    dmean, dvariance = ours.expected_improvement_backward(dy, mean, variance**2, best)
    return dmean, dvariance * 2 * variance


def tail_by_erf(mean, variance, best):
    z, std, pdf = pieces(mean, variance, best)
    cdf = 0.5 * (1 + erf(z / math.sqrt(2)).astype(np.float64))
    return std * (z * cdf + pdf)


def without_pdf(mean, variance, best):
    z, std, pdf = pieces(mean, variance, best)
    return ours.expected_improvement(mean, variance, best) - std * pdf


def best_point_only(dy, mean, variance, best):
    dmean, dvariance = ours.expected_improvement_backward(dy, mean, variance, best)
    return dmean, np.zeros_like(dvariance)


def pdf_slope_added(dy, mean, variance, best):
    """The product rule of z * cdf(z) carried half through."""
    dmean, dvariance = ours.expected_improvement_backward(dy, mean, variance, best)
    z, _, pdf = pieces(mean, variance, best)
    return dmean - z * pdf * dy, dvariance


class TestExpectedImprovement(FunctionParity):
    numpy, torch = ours.expected_improvement, theirs.expected_improvement
    backward = ours.expected_improvement_backward
    configs = grid(best=[0.0, -1.5])
    inputs = [*arrays(""), *arrays("N", N=[0, 1, 13])]
    regimes = {
        "unit": lambda rng, shape: rng.standard_normal(shape),
        "tiny": lambda rng, shape: 3e-4 * rng.standard_normal(shape),
        "far": lambda rng, shape: 8 * rng.random(shape),
        "ties": lambda rng, shape: np.round(1.5 * rng.standard_normal(shape)),
        "zeros": lambda rng, shape: np.zeros(shape),
    }
    differentiable = 2
    network = True  # autograd adds terms that cancel in the tail
    refusals = [
        Refusal({"best": 0.0}, (np.zeros(3), np.ones(2)), r"mean \(3,\), variance \(2,\)"),
        # torch promotes
        *(
            Refusal({"best": 0.0}, given, says, torch=False)
            for given, says in (
                ((np.zeros(3), np.ones(3, np.float32)), "^variance must be float64"),
                ((np.zeros(3, int), np.ones(3)), "^mean must be float32 or float64"),
            )
        ),
    ]
    mistakes = {
        "sign swapped": Mistake(
            (sign_swapped, sign_swapped_backward),
            "Whoever minimises with the formula of a paper that maximises.",
            "The search looks where the worst is expected.",
        ),
        "variance taken for the standard deviation": Mistake(
            (variance_for_std, variance_for_std_backward),
            "Whoever hands on what the Gaussian process returns, as it is.",
            "Below a variance of 1 what is uncertain looks certain: the search stops exploring.",
        ),
        "cdf by 1 + erf": Mistake(
            tail_by_erf,
            "Whoever writes the normal distribution from memory, and torch.special.ndtr.",
            "Beyond eight standard deviations the improvement is rounding, often below 0.",
        ),
        "without the density": Mistake(
            without_pdf,
            "Whoever keeps the probability of improvement and multiplies it by the gap.",
            "No reward for what is uncertain; negative for what is worse.",
        ),
        "slope by the variance left out": Mistake(
            (ours.expected_improvement, best_point_only),
            "Whoever follows the mean alone when moving a candidate.",
            "Candidates run to where the mean is low, which is where points are already.",
        ),
        "slope of z * cdf half carried through": Mistake(
            (ours.expected_improvement, pdf_slope_added),
            "Whoever applies the product rule and forgets that the density's slope cancels it.",
            "The steps point the wrong way near the best value.",
        ),
    }

    def _non_finite(self, log, rng, config):
        """Values as torch has them. Slopes only here: autograd multiplies 0 by infinity to NaN."""
        mean = np.array([np.nan, np.inf, -np.inf, 0.5])
        with np.errstate(invalid="ignore"):
            found = type(self).numpy(mean, np.ones(4), **config)
        other = theirs.expected_improvement(
            torch.from_numpy(mean), torch.ones(4).double(), **config
        )
        log.require(np.array_equal(np.isnan(found), np.isnan(other.numpy())), f"{found}, {other}")
        dmean, _ = ours.expected_improvement_backward(np.ones(4), mean, np.ones(4), **config)
        log.require(dmean[1] == 0 and dmean[2] == -1, f"slopes at infinite means: {dmean}")

    def make_inputs(self, rng, shape, regime, config):
        return np.array(regime(rng, shape)), np.exp(rng.uniform(-3, 1, shape))


def test_torchs_own_distribution_function_loses_the_tail():
    """Why the torch side writes erfc; should this fail, it need not any more."""
    assert torch.special.ndtr(torch.tensor(-10.0, dtype=torch.float64)) == 0


def test_the_tail_is_right_to_the_last_digits_that_the_inputs_allow():
    """Against the asymptotic series of the tail, pdf(z)/z^2 * (1 - 3/z^2 + 15/z^4 - ...)."""
    z = np.array([-20.0, -25.0, -30.0])
    series = 1 - 3 / z**2 + 15 / z**4 - 105 / z**6 + 945 / z**8
    wanted = np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi) / z**2 * series
    one = np.ones(3)
    for found in (
        ours.expected_improvement(-z, one, 0.0),
        theirs.expected_improvement(torch.from_numpy(-z), torch.from_numpy(one), 0.0).numpy(),
    ):
        assert np.all(np.abs(found / wanted - 1) < 1e-6)
