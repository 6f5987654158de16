"""Kernels: covariances, their slopes by both points and by every scale."""

from typing import Any

import numpy as np

from numpy_impl.tuning import kernels as ours
from parity_tests.harness import Mistake, ModuleParity, Refusal, arrays, grid
from torch_impl.tuning import kernels as theirs

X = np.zeros((3, 2))
REFUSALS = [
    Refusal({"num_inputs": 0}, says="at least 1, got 0"),
    Refusal({"num_inputs": 2.0}, says=r"whole number, at least 1, got 2\.0"),
    Refusal({"num_inputs": 2}, (X, X[:, :1]), r"b must be \(N, 2\), got \(3, 1\)"),
    # torch promotes
    Refusal({"num_inputs": 2}, (X.astype("i8"), X), r"^a must be float32", torch=False),
    Refusal({"num_inputs": 2}, (X, X.astype("i8")), r"^b must be float32", torch=False),
    Refusal({"num_inputs": 2}, (X, X.astype("f4")), r"^b must be float64", torch=False),
    Refusal({"num_inputs": 2}, (X[0], X), r"a must be \(N, 2\), got \(2,\)"),
]


class KernelParity(ModuleParity):
    """Two sets of points, some of them the same."""

    configs = grid(num_inputs=[1, 3])
    inputs = arrays("N num_inputs", N=[0, 1, 5])
    differentiable = 2
    network = True  # autograd adds a product rule's terms, which at small distances cancel
    refusals = REFUSALS

    def make_inputs(self, rng, shape, regime, config):
        a, b = np.array(regime(rng, shape)), np.array(regime(rng, (4, shape[1])))
        b[: min(len(a), 2)] = a[:2]  # as in k(x, x), where the distance has no slope of its own
        return a, b


def squared_twice(base: Any) -> Any:
    """The lengthscale squared on its way in and once more by the distance."""

    class SquaredTwice(base):
        def forward(self, a, b):
            before = self.log_lengthscale.data
            self.log_lengthscale.data = 2 * before
            try:
                return super().forward(a, b)
            finally:
                self.log_lengthscale.data = before

    return SquaredTwice


def one_lengthscale(base: Any) -> Any:
    """The first input's lengthscale for all."""

    class OneLengthscale(base):
        def forward(self, a, b):
            before = self.log_lengthscale.data
            self.log_lengthscale.data = np.full_like(before, before.mean())
            try:
                return super().forward(a, b)
            finally:
                self.log_lengthscale.data = before

    return OneLengthscale


def per_lengthscale(base: Any) -> Any:
    """The gradient by the lengthscale handed out as the one by its logarithm."""

    class PerLengthscale(base):
        def backward(self, dy):
            p = self.log_lengthscale
            before = 0.0 if p.grad is None else p.grad
            found = super().backward(dy)
            p.grad = before + (p.grad - before) / np.exp(p.data)
            return found

    return PerLengthscale


def first_point_only(base: Any) -> Any:
    """db taken for the other end of da, summed over the wrong axis."""

    class FirstPointOnly(base):
        def backward(self, dy):
            da, db = super().backward(dy)
            return da, np.zeros_like(db)

    return FirstPointOnly


def mistakes(base: Any) -> Any:
    """What goes wrong in any of them."""
    return {
        "lengthscale squared twice": Mistake(
            squared_twice(base),
            "Whoever stores squared lengthscales and still divides before squaring.",
            "Lengthscales below 1 act as far smaller: no point tells anything of its neighbours.",
        ),
        "one lengthscale for all inputs": Mistake(
            one_lengthscale(base),
            "Kernels written for one input, used for several.",
            "An input without effect cannot be switched off, so more points are needed.",
        ),
        "slope by the lengthscale, not its logarithm": Mistake(
            per_lengthscale(base),
            "Whoever changes to logarithms to keep scales positive and leaves backward as it was.",
            "The fit takes steps too large for small lengthscales and stops at the wrong ones.",
        ),
        "slope of one argument only": Mistake(
            first_point_only(base),
            "Whoever has only ever predicted, where the second set of points is fixed.",
            "The slope of k(x, x) by x is half of what it should be.",
        ),
    }


class NoPolynomialEnd(ours.Matern52):
    """1 + r, without r^2/3: the kernel with nu = 3/2."""

    def shape(self, sq):
        r = np.sqrt(5 * sq)
        return (1 + r) * np.exp(-r), -5 / 2 * np.exp(-r)


class RootThreeFifths(ours.Matern52):
    """r = distance, sqrt(5) forgotten."""

    def shape(self, sq):
        k, slope = super().shape(sq / 5)
        return k, slope / 5


class SlopeByDistance(ours.Matern52):
    """The chain through the distance, 0/0 where two points coincide and set to 0 afterwards."""

    def backward(self, dy):
        saved = self._saved[-1]
        k, diff, slope, kept, scale = saved.values
        r = np.sqrt(np.einsum("nmd,nmd->nm", diff, diff))
        self._saved[-1] = saved._replace(values=(k, diff, slope * r, kept, scale))
        return super().backward(dy)


class TestMatern52(KernelParity):
    numpy, torch = ours.Matern52, theirs.Matern52
    mistakes = mistakes(ours.Matern52) | {
        "without the square": Mistake(
            NoPolynomialEnd,
            "Copies of the nu = 3/2 kernel under the other's name.",
            "Functions with one derivative instead of two: wigglier between the points.",
        ),
        "sqrt(5) left out": Mistake(
            RootThreeFifths,
            "Whoever takes the exponential's argument for the distance itself.",
            "Every lengthscale is off by sqrt(5), and cannot be compared with anybody's.",
        ),
        "slope multiplied by the distance": Mistake(
            SlopeByDistance,
            "Whoever takes dk/ddistance for dk/ddistance^2, which differ by a factor.",
            "Close points hardly move the likelihood, far ones too much.",
        ),
    }


class NoHalf(ours.RBF):
    """exp(-distance^2)."""

    def shape(self, sq):
        k = np.exp(-sq)
        return k, -k


class AbsoluteExponential(ours.RBF):
    """exp(-distance / 2), the square forgotten."""

    def shape(self, sq):
        r = np.sqrt(sq)
        k = np.exp(-0.5 * r)
        return k, -0.25 * k / np.where(r > 0, r, 1)


class TestRBF(KernelParity):
    numpy, torch = ours.RBF, theirs.RBF
    mistakes = mistakes(ours.RBF) | {
        "without the half": Mistake(
            NoHalf,
            "Support vector machines, whose gamma has no half in it.",
            "Every lengthscale is off by sqrt(2).",
        ),
        "distance not squared": Mistake(
            AbsoluteExponential,
            "Whoever reads |a - b| for |a - b|^2.",
            "Functions without any derivative: the mean has a kink at every point.",
        ),
    }
