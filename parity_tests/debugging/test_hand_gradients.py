"""Gradients of plain functions and of networks in lists: the same verdicts either way."""

import copy
from functools import partial
from typing import Any

import numpy as np
import torch

import numpy_impl
import torch_impl
from examples.guide_printed import DeepMLP
from numpy_impl.debugging import hand_gradients as ours
from numpy_impl.debugging.gradient_report import GradientReport, TensorCheck
from parity_tests.harness import RuleCase
from parity_tests.harness.bridge import to_numpy, to_torch
from parity_tests.harness.budget import SECOND_LOOK, compare
from parity_tests.harness.mistake import Mistake
from parity_tests.harness.refusal import refused
from torch_impl.debugging import hand_gradients as theirs

SIDES = (numpy_impl, torch_impl)


def chosen(log, *checks):
    """How many places are looked at, which, and what is no such choice: the same on both sides."""
    choices: list[tuple[dict[str, Any], int]] = [({"sample": 2}, 2), ({"directions": 3}, 3)]
    for options, many in choices:
        for more in ({}, {"generator": True}):
            looked = []
            for side, check in zip((numpy_impl, torch), checks):
                seeded = {name: side.Generator().manual_seed(7) for name in more}
                report = check(**options, **seeded)
                log.require(report.passed, f"{options}: {report}")
                looked.append([(t.name, t.places, t.along_directions) for t in report.tensors])
            log.require(looked[0] == looked[1], f"{options}: {looked}")
            counts = {len(places) for _, places, _ in looked[0]}
            log.require(counts == {many}, f"{options}: {looked[0]}")
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"eps": 0.0}, "eps"),
        ({"sample": 0}, "sample"),
        ({"directions": 0}, "directions"),
        ({"sample": 1, "directions": 1}, "sample or directions"),
    ]
    for options, words in wrong:
        for check in checks:
            said = refused(partial(check, **options))
            log.require(said is not None and words in said, f"{options}: {said}")


# ---- plain functions ----------------------------------------------------------------------------


def logistic(xp, x, w, y):
    """The mean logistic loss of labels -1 and 1."""
    return xp.mean(xp.log1p(xp.exp(-y * (x @ w))))


def logistic_slopes(xp, x, w, y, share=1.0):
    """Its gradients; with a share other than 1 that of w is wrong."""
    p = -y / (1 + xp.exp(y * (x @ w))) / len(x)
    return xp.outer(p, w), share * (x.T @ p)


def mean_for_a_sum(function, gradient, inputs, **options):
    """Every gradient divided by the number of rows before it is compared."""
    return ours.gradient_check_function(
        function,
        lambda *x: tuple(g / len(g) for g in gradient(*x)),  # noqa: B023
        inputs,
        **options,
    )


class TestGradientCheckFunction(RuleCase):
    numpy, torch = ours.gradient_check_function, theirs.gradient_check_function
    mistakes = {
        "gradients divided by the rows": Mistake(
            mean_for_a_sum,
            "Whoever takes the mean in the loss and once more in its gradient.",
            "The gradient is too small by the size of the batch.",
        ),
        "only the first input": Mistake(
            lambda function, gradient, inputs, **options: GradientReport(
                ours.gradient_check_function(function, gradient, inputs, **options).tensors[:1]
            ),
            "A check of df/dx that forgets the parameters.",
            "A wrong gradient of the second input passes.",
        ),
    }

    def check_verdicts_and_slopes_agree(self, log, rng):
        x, w = rng.standard_normal((5, 3)), rng.standard_normal(3)
        arrays = {"x": x, "w": w, "y": np.array([1, -1, 1, 1, -1])}
        for share, verdict in ((1.0, "right"), (1.01, "wrong")):

            def run(impl, arrays, share=share):
                xp: Any = np if impl is numpy_impl else torch
                check = type(self).numpy if impl is numpy_impl else theirs.gradient_check_function
                given = [v if impl is numpy_impl else to_torch(v) for v in arrays.values()]
                return check(
                    partial(logistic, xp), partial(logistic_slopes, xp, share=share), given
                )

            def numbers(impl, arrays, run=run):
                entries = run(impl, arrays).tensors
                return {f"gradient {t.name} {k}": np.array(getattr(t, k))
                        for t in entries for k in ("analytic", "numeric")}  # fmt: skip

            log.compare(
                compare(
                    partial(numbers, numpy_impl), partial(numbers, torch_impl), arrays, "float64"
                ),
                f"share {share}",
            )
            for impl in SIDES:
                told = run(impl, arrays).verdicts()
                log.require(told == {"input 0": "right", "input 1": verdict}, f"{told}")
        own = theirs.gradient_check_function(
            partial(logistic, torch), None, [to_torch(v) for v in arrays.values()]
        )
        log.require(own.passed, f"autograd's own: {own}")

    def check_clamp_abs_and_max_have_kinks(self, log, rng):
        x = np.array([0.5, 1 + 2e-6, -1 - 1e-7, 3.0])
        functions: dict[str, Any] = {
            "clip": (lambda xp, x: xp.clip(x, -1, 1).sum(), lambda xp, x: 1.0 * (abs(x) < 1)),
            "abs": (lambda xp, x: abs(x - 1).sum(), lambda xp, x: xp.sign(x - 1)),
            "max": (lambda xp, x: xp.maximum(x, x**2).sum(), slope_of_max),
        }
        for name, (function, gradient) in functions.items():
            found = []
            for impl, xp in ((numpy_impl, np), (torch_impl, torch)):
                check = type(self).numpy if impl is numpy_impl else theirs.gradient_check_function
                given: list[Any] = [x if impl is numpy_impl else to_torch(x)]
                found.append(check(partial(function, xp), partial(gradient, xp), given)["input 0"])
            a, b = found
            log.require(a.verdict == b.verdict == "kink", f"{name}: {a}, torch side {b}")
            log.require(a.kinks == b.kinks and a.kinks[1], f"{name}: {a.kinks}, {b.kinks}")

    def check_places_are_chosen_as_told(self, log, rng):
        x = rng.standard_normal((4, 3))
        given: list[Any] = [lambda a: (a**3).sum(), lambda a: 3 * a**2, [x]]
        a = partial(type(self).numpy, *given)
        chosen(log, a, partial(theirs.gradient_check_function, *to_torch(given)))

    def check_what_cannot_be_checked_is_refused(self, log, rng):
        x = rng.standard_normal((2, 3))
        for impl in SIDES:
            check = type(self).numpy if impl is numpy_impl else theirs.gradient_check_function
            one = x if impl is numpy_impl else to_torch(x)
            said = refused(lambda: check(lambda a: a.sum(), lambda a: (a, a), [one]))  # noqa: B023
            log.require(said is not None and "wanted 1 gradients, got 2" in said, f"{said}")
            said = refused(lambda: check(lambda a: a.sum(), lambda a: a[0], [one]))  # noqa: B023
            log.require(said is not None and "(2, 3), got (3,)" in said, f"{said}")
            said = refused(lambda: check(lambda a: a, lambda a: a, [one]))  # noqa: B023
            log.require(said is not None and "one number" in said, f"{said}")
        said = refused(lambda: type(self).numpy(lambda a: a.sum(), None, [x]))
        log.require(said is not None and "no autograd" in said, f"{said}")


def slope_of_max(xp, x):
    """Of max(x, x^2)."""
    return xp.where(x > x**2, xp.ones_like(x), 2 * x)


# ---- the guide's networks -----------------------------------------------------------------------


class Lists:
    """A network as the guide writes it, with linear output, for either side's arrays.

    `factor` scales the gradient of the last layer: 2 / n_out is right for the loss it prints.
    `seen` keeps the shapes that came by.
    """

    def __init__(self, tanh, weights, biases, factor):
        self.tanh, self.weights, self.biases, self.factor = tanh, weights, biases, factor
        self.seen = []

    def forward(self, x):
        self.seen.append(x.shape)
        activations = [x]
        for i, (w, b) in enumerate(zip(self.weights, self.biases)):
            z = activations[-1] @ w + b
            activations.append(z if i == len(self.weights) - 1 else self.tanh(z))
        return activations

    def backward(self, activations, y):
        delta = self.factor * (activations[-1] - y) / len(y)
        dweights: list[Any] = []
        dbiases: list[Any] = []
        for i in range(len(self.weights) - 1, -1, -1):
            dweights.insert(0, activations[i].T @ delta)
            dbiases.insert(0, delta.sum(0)[None])
            if i:
                delta = (delta @ self.weights[i].T) * (1 - activations[i] ** 2)
        return dweights, dbiases


def from_the_guide(model, x, y, loss=None, **options):
    """The guide's own function as printed, its differences read as a report."""
    model = copy.deepcopy(model)
    dweights, _ = model.backward(model.forward(x), y)
    checks = []
    for i, w in enumerate(model.weights):
        check = TensorCheck(f"weights[{i}]", w.shape, places=list(range(w.size)))
        for j in range(w.size):
            flat, slope = w.flatten(), 0.0
            for sign in (1, -2):
                flat[j] += sign * 1e-7
                model.weights[i] = flat.reshape(w.shape)
                value = np.mean((model.forward(x)[-1] - y) ** 2)
                slope += float(value) * (1 if sign == 1 else -1)
            flat[j] += 1e-7
            model.weights[i] = flat.reshape(w.shape)
            check.analytic.append(float(dweights[i].flat[j]))
            check.numeric.append(slope / 2e-7)
            check.error.append(abs(check.analytic[-1] - check.numeric[-1]))
            check.kinks.append(False)
        checks.append(check)
    return GradientReport(checks)


class TestGradientCheckLists(RuleCase):
    numpy, torch = ours.gradient_check_lists, theirs.gradient_check_lists
    mistakes = {
        "the guide's check": Mistake(
            from_the_guide,
            "The guide: weights alone, absolute differences, eps 1e-7.",
            "A bias gradient is never looked at, and the slopes have lost half of their digits.",
        ),
        "the loss that the gradient is of": Mistake(
            lambda model, x, y, loss=None, **options: ours.gradient_check_lists(
                model, x, y, lambda a, y: np.sum((a - y) ** 2) / 2 / len(y), **options
            ),
            "Whoever derives the loss from the backward instead of the other way round.",
            "The gradient passes, and is not that of the loss that is printed.",
        ),
    }

    def given(self, rng):
        """Weights stored (in, out), biases (1, out), as the guide stores them."""
        shapes = {"w0": (3, 4), "w1": (4, 3), "b0": (1, 4), "b1": (1, 3), "x": (6, 3), "y": (6, 3)}
        return {k: rng.standard_normal(shape) for k, shape in shapes.items()}

    def run(self, impl, arrays, factor, loss=None, **options):
        tanh: Any = np.tanh if impl is numpy_impl else torch.tanh
        a = arrays if impl is numpy_impl else to_torch(dict(arrays))
        model = Lists(tanh, [a["w0"], a["w1"]], [a["b0"], a["b1"]], factor)
        check = type(self).numpy if impl is numpy_impl else theirs.gradient_check_lists
        return model, check(model, a["x"], a["y"], loss, **options)

    def check_finite_differences_of_weights_and_biases_agree(self, log, rng):
        arrays = self.given(rng)
        for factor, verdict in ((2 / 3, "right"), (1.0, "wrong")):

            def numbers(impl, arrays, factor=factor):
                entries = self.run(impl, arrays, factor)[1].tensors
                return {f"gradient {t.name} {k}": np.array(getattr(t, k))
                        for t in entries for k in ("analytic", "numeric")}  # fmt: skip

            a, b = partial(numbers, numpy_impl), partial(numbers, torch_impl)
            # slopes come in grains, an ulp of the loss over the step: two draws may meet in one
            found = compare(a, b, arrays, "float64", jitters=SECOND_LOOK)
            log.compare(found, f"factor {factor:.3g}")
            for impl in SIDES:
                model, report = self.run(impl, arrays, factor)
                names = "weights[0]", "weights[1]", "biases[0]", "biases[1]"
                log.require(report.verdicts() == dict.fromkeys(names, verdict), f"{report}")
                kept = zip([*model.weights, *model.biases], list(arrays.values()))
                log.require(all(np.array_equal(to_numpy(a), b) for a, b in kept), "it moved them")

    def check_another_loss_can_be_given(self, log, rng):
        arrays = self.given(rng)
        for impl in SIDES:
            for loss in (lambda a, y: ((a - y) ** 2).sum() / 2 / len(y),):
                report = self.run(impl, arrays, 1.0, loss)[1]
                log.require(report.passed, f"half the squared error: {report}")

    def check_places_are_chosen_as_told(self, log, rng):
        arrays = self.given(rng)

        def check(impl, **options):
            return self.run(impl, arrays, 2 / 3, **options)[1]

        chosen(log, *(partial(check, impl) for impl in SIDES))

    def check_the_network_is_left_alone(self, log, rng):
        for impl in SIDES:
            arrays = self.given(rng)
            model, _ = self.run(impl, arrays, 2 / 3)
            log.require(model.seen == [], f"{impl.__name__}: its forwards are kept in it")

    def check_what_is_no_such_network_is_refused(self, log, rng):
        arrays = self.given(rng)
        for impl in SIDES:
            check = type(self).numpy if impl is numpy_impl else theirs.gradient_check_lists
            a = arrays if impl is numpy_impl else to_torch(dict(arrays))
            said = refused(lambda: check(object(), a["x"], a["y"]))  # noqa: B023
            log.require(said is not None and "lacking" in said, f"{said}")
            model = self.run(impl, arrays, 2 / 3)[0]
            model.backward = lambda activations, y: ([], [])
            said = refused(lambda: check(model, a["x"], a["y"]))  # noqa: B023
            log.require(said is not None and "2 weights" in said, f"{said}")


def test_the_guides_own_network_and_loss_are_told_to_disagree():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((8, 4)), rng.random((8, 3))
    model: Any = DeepMLP([4, 5, 3], activation="sigmoid")
    model.weights = [rng.standard_normal(w.shape) for w in model.weights]  # seeded, unlike its own
    report = ours.gradient_check_lists(model, x, y)
    assert set(report.verdicts().values()) == {"wrong"}, report
    ratios = [a / n for t in report.tensors for a, n in zip(t.analytic, t.numeric)]
    np.testing.assert_allclose(ratios, 1.5, rtol=1e-5)  # n_out / 2, as the errata say
    half = ours.gradient_check_lists(model, x, y, lambda a, y: np.sum((a - y) ** 2) / 2 / len(y))
    assert half.passed, half
