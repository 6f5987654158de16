"""Gradients that are right, wrong or at a kink: the same verdict and the same slopes either way."""

import copy
from functools import partial
from typing import Any

import numpy as np
import torch

import numpy_impl.architectures
import numpy_impl.layers
import numpy_impl.losses
import numpy_impl.normalization
import torch_impl.architectures
import torch_impl.layers
import torch_impl.losses
import torch_impl.normalization
from examples.guide_printed import DeepMLP
from numpy_impl.debugging import gradient_checking as ours
from numpy_impl.debugging.gradient_report import GradientReport, TensorCheck
from parity_tests.debugging.test_monitor import remembered
from parity_tests.harness import RuleCase
from parity_tests.harness.bridge import same_stream, to_numpy, to_torch
from parity_tests.harness.budget import compare
from parity_tests.harness.mistake import Mistake
from parity_tests.harness.refusal import refused
from torch_impl.debugging import gradient_checking as theirs

SIDES = (numpy_impl, torch_impl)


class TimesThree(numpy_impl.nn.Module):
    """y = 3x, with the gradient that it is told to give."""

    def __init__(self, slope):
        self.slope = slope

    def forward(self, x):
        y = 3 * x
        self.save_for_backward(y)
        return y

    def backward(self, dy):
        (dy,) = self.saved_for_backward(dy)
        return self.slope * dy


class _Times(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, slope):
        ctx.slope = slope
        return 3 * x

    @staticmethod
    def backward(ctx, dy):
        return ctx.slope * dy, None


class TorchTimesThree(torch.nn.Module):
    """The same."""

    def __init__(self, slope):
        super().__init__()
        self.slope = slope

    def forward(self, x):
        return _Times.apply(x, self.slope)


def times_three(impl, slope):
    """The layer on one side."""
    return (TimesThree if impl is numpy_impl else TorchTimesThree)(slope)


def network(impl, slope=3.0):
    """A layer of each kind, and one whose slope may be wrong in front of the last."""
    return impl.layers.Sequential(
        impl.layers.Linear(2, 3, bias=False),
        impl.normalization.BatchNorm1d(3),
        impl.layers.ReLU(),
        impl.regularization.Dropout(0.3),
        times_three(impl, slope),
        impl.layers.Linear(3, 4),
    )


def given(rng):
    """State and a batch."""
    state = network(numpy_impl).double().state_dict()
    arrays = {f"state {k}": rng.standard_normal(v.shape) for k, v in state.items()}
    arrays = {k: v for k, v in arrays.items() if not k.startswith("state 1.r")}
    arrays = {k: v for k, v in arrays.items() if not k.endswith("tracked")}
    return arrays | {"x": rng.standard_normal((5, 2)), "y": rng.integers(0, 4, 5)}


def setup(impl, arrays, slope=3.0):
    """Model, batch and loss on one side; the global stream is seeded, for dropout."""
    model = network(impl, slope).double()
    state = {k[6:]: v for k, v in arrays.items() if k.startswith("state")}
    x, y = arrays["x"].copy(), arrays["y"]
    if impl is torch_impl:
        x, y, state = to_torch(x), to_torch(y), to_torch(state)
    model.load_state_dict(state, strict=False)
    (numpy_impl if impl is numpy_impl else torch.default_generator).manual_seed(3)
    return model, [x], y, impl.losses.CrossEntropyLoss()


@remembered
def checked(impl, check, arrays, slope=3.0, **options):
    """A report."""
    return check(*setup(impl, arrays, slope), **options)


def slopes(impl, check, arrays, **options):
    """Everything that a report says in numbers, by label."""
    report = checked(impl, check, arrays, **options)
    found: dict[str, Any] = {}
    for tensor in report.tensors:
        found[f"gradient {tensor.name} analytic"] = np.array(tensor.analytic)
        found[f"gradient {tensor.name} numeric"] = np.array(tensor.numeric)
        found[f"gradient {tensor.name} places"] = np.array(tensor.places, np.int64)
        found[f"gradient {tensor.name} kinks"] = np.array(tensor.kinks)
    return found


def naive(
    model,
    inputs,
    target=None,
    criterion=None,
    *,
    eps=6e-6,
    sample=None,
    directions=None,
    generator=None,
    one_sided=False,
    biases=True,
    dtype=np.float64,
    error="relative",
    copied=True,
    ones=False,
    fixed=True,
):
    """A check as one writes it in an hour, with what one gets wrong to choose from."""
    if sample or directions or not isinstance(model, numpy_impl.nn.Module):
        return ours.gradient_check(
            model, inputs, target, criterion,
            eps=eps, sample=sample, directions=directions, generator=generator,
        )  # fmt: skip
    model = (copy.deepcopy(model) if copied else model).to(dtype)
    x = inputs[0].astype(dtype)
    stream = numpy_impl.random.default_generator
    state, weights = stream.get_state(), None

    def value():
        nonlocal weights
        if fixed:
            stream.set_state(state)
        y = model(x)
        if criterion is not None:
            return criterion(y, target)
        if weights is None:
            drawn = numpy_impl.Generator().rand(y.shape, np.float64)
            weights = np.ones(y.shape) if ones else 2 * drawn - 1
        return np.sum(y * weights)

    value()
    dx = model.backward(weights if criterion is None else criterion.backward())
    tensors = {k: (p.data, p.grad) for k, p in model.named_parameters()} | {"input 0": (x, dx)}
    checks = []
    for name, (tensor, gradient) in tensors.items():
        if name.endswith("bias") and not biases:
            continue
        check = TensorCheck(name, tensor.shape, places=list(range(tensor.size)))
        for place in np.ndindex(tensor.shape):
            here = tensor[place]
            tensor[place] = here + eps
            above = value()
            tensor[place] = here - (0 if one_sided else eps)
            slope = (above - value()) / (eps if one_sided else 2 * eps)
            tensor[place] = here if copied else tensor[place] + eps
            gap, size = abs(slope - gradient[place]), max(abs(slope), abs(gradient[place]))
            check.analytic.append(float(gradient[place]))
            check.numeric.append(float(slope))
            check.error.append(float(gap / max(size, 1e-3) if error == "relative" else gap))
            check.kinks.append(False)
        checks.append(check)
    stream.set_state(state)
    return GradientReport(checks)


def first_only(check):
    """Says of the whole what it found of the first tensor."""

    def checked(*args, **options):
        report = check(*args, **options)
        return GradientReport(report.tensors[:1])

    return checked


def excused(*args, **options):
    """Calls everything a kink that does not agree."""
    report = ours.gradient_check(*args, **options)
    for tensor in report.tensors:
        for i, error in enumerate(tensor.error):
            if error > 1e-6:
                tensor.error[i], tensor.kinks[i] = 0.0, True
    return report


RNN_STATE = numpy_impl.layers.RNN(3, 4).state_dict()
KINKS = {  # what the inputs of the ReLU are, and the verdict
    "far away": ([0.5, -0.5], "right"),
    "within the step": ([2e-6, -0.5], "kink"),
    "a hair's breadth away": ([3e-8, -0.5], "kink"),
    "at the point itself": ([0.0, -0.5], "kink"),
}


def kinks_apart(where):
    """Whether a shorter step still gets out of the kink's way."""
    return where in ("far away", "within the step")


class TestGradientCheck(RuleCase):
    numpy, torch = ours.gradient_check, theirs.gradient_check
    mistakes = {
        "one-sided difference": Mistake(
            partial(naive, one_sided=True),
            "Whoever remembers the definition of the derivative and saves a forward.",
            "The error is that of f'' eps / 2, about 1e-6 at best, and right gradients look wrong.",
        ),
        "eps 1e-7 in float32": Mistake(
            partial(naive, eps=1e-7, dtype=np.float32),
            "The guide's eps, on a model as a framework makes it.",
            "The step is lost in the last digit of the weight, and the slope is 0 or noise.",
        ),
        "absolute error": Mistake(
            partial(naive, error="absolute"),
            "The guide prints the largest difference, whatever the size of the gradient.",
            "Where gradients are small, all of them pass.",
        ),
        "biases not checked": Mistake(
            partial(naive, biases=False),
            "The guide goes through the weights alone.",
            "A bias gradient that is a mean for a sum is never seen.",
        ),
        "checked under ones": Mistake(
            partial(naive, ones=True),
            "Checks of layers that sum the output, as the shortest number that depends on it.",
            "The gradients of softmax and batch norm under ones are 0, right or wrong.",
        ),
        "a new mask for every forward": Mistake(
            partial(naive, fixed=False),
            "Whoever forgets that the model is in training mode.",
            "Every slope is the difference of two dropouts, divided by eps.",
        ),
        "on the model itself": Mistake(
            partial(naive, copied=False),
            "Most hand-written checks: w += eps, w -= 2 eps, w += eps.",
            "The last digits of the weights, the gradients and batch norm's statistics move.",
        ),
        "the first tensor for all": Mistake(
            first_only(ours.gradient_check),
            "A loop that returns from within.",
            "What is wrong behind the first layer is not seen.",
        ),
        "whatever does not agree is a kink": Mistake(
            excused,
            "Checks that count a few misses as kinks without looking.",
            "A wrong gradient passes as a right one at a kink.",
        ),
    }

    def check_finite_differences_and_gradients_agree(self, log, rng):
        choices: list[dict[str, Any]] = [{}, {"sample": 4}, {"directions": 3}]
        for options in choices:
            a = partial(slopes, numpy_impl, type(self).numpy, **options)
            b = partial(slopes, torch_impl, theirs.gradient_check, **options)
            log.compare(compare(a, b, given(rng), "float64"), f"{options}")

    def check_finite_differences_tell_a_wrong_gradient_from_a_right_one(self, log, rng):
        arrays, small = given(rng), {}
        for key, scale in {"state 5.weight": 1e-6, "y": 1}.items():
            small[key] = (arrays[key] * scale).astype(arrays[key].dtype)
        for slope, expected in (
            (3.0, "right"),
            (3.0001, "doubtful"),
            (3.1, "wrong"),
            (0.0, "wrong"),
        ):
            for which, extra in (("", {}), ("small gradients", small))[: 2 if slope == 3.1 else 1]:
                found = [
                    checked(impl, check, arrays | extra, slope)
                    for impl, check in (
                        (numpy_impl, type(self).numpy),
                        (torch_impl, theirs.gradient_check),
                    )
                ]
                verdicts = [report.verdicts() for report in found]
                log.require(verdicts[0] == verdicts[1], f"{slope} {which}: {verdicts}")
                wanted = dict.fromkeys(("0.weight", "1.weight", "1.bias", "input 0"), expected)
                if which and expected == "doubtful":  # below what rounding lets one see
                    continue
                told = {k: verdicts[0].get(k) for k in wanted}
                log.require(told == wanted, f"{slope} {which}:\n{found[0]}")
                log.require(bool(found[0]) == (expected == "right"), f"{slope} {which}")
                last = {verdicts[0].get("5.weight"), verdicts[0].get("5.bias")}
                log.require(last == {"right"}, f"{slope} {which}:\n{found[0]}")

    def check_without_a_loss_the_output_is_weighted_at_random(self, log, rng):
        x = rng.standard_normal((4, 5))
        for impl, check in ((numpy_impl, type(self).numpy), (torch_impl, theirs.gradient_check)):
            softmax = impl.layers.Softmax(dim=1)
            report = check(softmax, [x if impl is numpy_impl else to_torch(x)])
            size = max(map(abs, report["input 0"].analytic))
            log.require(bool(report) and size > 1e-2, f"{impl.__name__}: {size}\n{report}")

    def check_every_output_and_every_input_has_its_part(self, log, rng):
        arrays = {"x": rng.standard_normal((4, 2, 3)), "hx": rng.standard_normal((1, 2, 4))}
        found = []
        for impl, check in ((numpy_impl, type(self).numpy), (torch_impl, theirs.gradient_check)):
            rnn = impl.layers.RNN(3, 4).double()
            state = {k: np.sin(np.arange(v.size).reshape(v.shape)) for k, v in RNN_STATE.items()}
            rnn.load_state_dict(state if impl is numpy_impl else to_torch(state))
            given = list(arrays.values() if impl is numpy_impl else to_torch(arrays).values())
            found.append(check(rnn, given, directions=2))
            log.require(found[-1].passed, f"{impl.__name__}: {found[-1]}")
            criterion = impl.losses.MSELoss()
            said = refused(partial(check, rnn, given, given[0], criterion))
            log.require(said is not None and "for the loss, got tuple" in said, f"{said}")
        a, b = (report.verdicts() for report in found)
        log.require(a == b and {"input 0", "input 1", "weight_hh_l0"} <= set(a), f"{a}, {b}")

    def check_kinks_are_named(self, log, rng):
        for where, (values, verdict) in KINKS.items():
            for slope in (1.0, 0.9):
                found = []
                for impl, check in (
                    (numpy_impl, type(self).numpy),
                    (torch_impl, theirs.gradient_check),
                ):
                    model = impl.layers.Sequential(
                        times_three(impl, 3 * slope), impl.layers.ReLU(), impl.layers.Identity()
                    )
                    x: Any = np.array([values]) / 3
                    found.append(check(model, [x if impl is numpy_impl else to_torch(x)]))
                a, b = (report["input 0"] for report in found)
                told = [a.verdict, a.kinks, a.kinked], [b.verdict, b.kinks, b.kinked]
                log.require(told[0] == told[1], f"{where}, slope {slope}: {told}")
                if slope == 1.0:
                    kinked = ["1"] if verdict == "kink" else []
                    log.require(a.verdict == verdict and a.kinked == kinked, f"{where}: {a}")
                elif kinks_apart(where):  # nearer by, 0.9 of a slope is between those of the sides
                    log.require(a.verdict == "wrong", f"{where}, slope {slope}: {a}")

    def check_nothing_is_moved(self, log, rng):
        arrays = given(rng)
        for impl, check in ((numpy_impl, type(self).numpy), (torch_impl, theirs.gradient_check)):
            for ending in ("right", "a loss that raises", "an interrupt"):
                model, inputs, y, criterion = setup(impl, arrays)
                model[1].eval()
                model[5].bias.requires_grad = False
                calls = [0]

                def interrupt(module, args, output, calls=calls, ending=ending):
                    calls[0] += 1
                    if calls[0] == 30 and ending != "right":
                        raise KeyboardInterrupt if ending == "an interrupt" else ValueError("no")

                model[5].register_forward_hook(interrupt)
                before, state = snapshot(model, inputs, y), model.state_dict()
                try:
                    report = check(model, inputs, y, criterion)
                    log.require(ending == "right", f"{impl.__name__}: {ending} was swallowed")
                    log.require("5.bias" not in report.verdicts(), "a frozen bias was checked")
                except (ValueError, KeyboardInterrupt):
                    log.require(ending != "right", f"{impl.__name__}: it raised")
                same = str(before) == str(snapshot(model, inputs, y))
                log.require(same and len(state) == 8, f"{impl.__name__}: {ending}: moved")
        streams = numpy_impl.random.default_generator, torch.default_generator
        log.require(same_stream(*streams), "the random streams parted")

    def check_what_cannot_be_checked_is_refused(self, log, rng):
        arrays = given(rng)
        wrong: list[tuple[dict[str, Any], str]] = [
            ({"eps": 0.0}, "eps must be"),
            ({"sample": 0}, "sample must be"),
            ({"directions": 1.5}, "directions must be"),
            ({"sample": 2, "directions": 2}, "sample or directions"),
        ]
        for impl, check in ((numpy_impl, type(self).numpy), (torch_impl, theirs.gradient_check)):
            model, inputs, y, criterion = setup(impl, arrays)
            for options, words in wrong:
                said = refused(partial(check, model, inputs, y, criterion, **options))
                log.require(said is not None and words in said, f"{options}: {said}")
            said = refused(partial(check, model, inputs, y))
            log.require(said is not None and "both or neither" in said, f"{said}")
            each = impl.losses.CrossEntropyLoss(reduction="none")
            said = refused(partial(check, model, inputs, y, each))
            log.require(said is not None and "(5,)" in said, f"{said}")
            inputs[0][0, 0] = np.inf
            said = refused(partial(check, model, inputs, y, criterion))
            log.require(said is not None and "must be finite" in said, f"{said}")
            elsewhere = np.random.default_rng(0)

            def draw(module, args, output, elsewhere=elsewhere):
                return output * elsewhere.random()

            model, inputs, y, criterion = setup(impl, arrays)
            model[4].register_forward_hook(draw)
            said = refused(partial(check, model, inputs, y, criterion))
            log.require(said is not None and "random numbers" in said, f"{said}")


def snapshot(model, inputs, y):
    """All that a check must leave alone, as text of full length."""
    with np.printoptions(floatmode="unique", threshold=10**6):
        arrays = {k: to_numpy(v) for k, v in model.state_dict().items()}
        grads = [(k, p.requires_grad, p.grad) for k, p in model.named_parameters()]
        modes = [m.training for m in model.modules()]
        saved = [getattr(m, "_saved", None) for m in model.modules()]
        return repr([arrays, grads, modes, saved, to_numpy(inputs), to_numpy(y)])


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
    """

    def __init__(self, tanh, weights, biases, factor):
        self.tanh, self.weights, self.biases, self.factor = tanh, weights, biases, factor

    def forward(self, x):
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

    def run(self, impl, arrays, factor, loss=None):
        tanh: Any = np.tanh if impl is numpy_impl else torch.tanh
        a = arrays if impl is numpy_impl else to_torch(dict(arrays))
        model = Lists(tanh, [a["w0"], a["w1"]], [a["b0"], a["b1"]], factor)
        check = type(self).numpy if impl is numpy_impl else theirs.gradient_check_lists
        return model, check(model, a["x"], a["y"], loss)

    def check_finite_differences_of_weights_and_biases_agree(self, log, rng):
        arrays = self.given(rng)
        for factor, verdict in ((2 / 3, "right"), (1.0, "wrong")):

            def numbers(impl, arrays, factor=factor):
                entries = self.run(impl, arrays, factor)[1].tensors
                return {f"gradient {t.name} {k}": np.array(getattr(t, k))
                        for t in entries for k in ("analytic", "numeric")}  # fmt: skip

            a, b = partial(numbers, numpy_impl), partial(numbers, torch_impl)
            log.compare(compare(a, b, arrays, "float64"), f"factor {factor:.3g}")
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
