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
from numpy_impl.debugging import gradient_checking as ours
from numpy_impl.debugging.gradient_report import GradientReport, TensorCheck
from parity_tests.debugging.test_monitor import remembered
from parity_tests.harness import RuleCase
from parity_tests.harness.bridge import same_stream, to_numpy, to_torch
from parity_tests.harness.budget import SECOND_LOOK, compare
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
            # slopes come in grains, an ulp of the loss over the step: two draws may meet in one
            found = compare(a, b, given(rng), "float64", jitters=SECOND_LOOK)
            log.compare(found, f"{options}")

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
                # of what is smaller, 3 % is no more than what rounding makes of a slope
                sizes = {t.name: max(map(abs, t.analytic)) for t in found[1].tensors}
                seen = {k for k, size in sizes.items() if size > 1e-7 or not which}
                verdicts = [
                    {k: v for k, v in report.verdicts().items() if k in seen} for report in found
                ]
                log.require(verdicts[0] == verdicts[1], f"{slope} {which}: {verdicts}")
                upstream = seen & {"0.weight", "1.weight", "1.bias", "input 0"}
                told = {k: verdicts[0].get(k) for k in upstream}
                wanted = dict.fromkeys(upstream | {"1.weight"}, expected)
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
