"""Gradients that are right, wrong or at a kink: the same verdict and the same slopes either way."""

import copy
from functools import partial
from typing import Any

import numpy as np
import pytest
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


EACH = pytest.mark.parametrize(
    ("impl", "side"), [(numpy_impl, ours), (torch_impl, theirs)], ids=["numpy_impl", "torch_impl"]
)


def on(impl, array):
    """An array of one side."""
    return array if impl is numpy_impl else to_torch(array)


# ---- a slope of a function of one number -------------------------------------------------------


def by_steps(*shapes):
    """Functions with a slope and a bend of their own at the steps 1, 1/8 and 1/64, and the steps.

    The slope is the mean of those to the two sides of 0, the bend how far these are apart. Powers
    of two make all of it exact.
    """
    of = dict(zip((1.0, 1 / 8, 1 / 64), shapes))
    taken = []

    def at(step):
        taken.append(step)
        slope, bend = of[abs(step)] if step else (0.0, 0.0)
        return slope * step + bend / 2 * abs(step)

    return at, taken


def measured(side, at, analytic, noise=0.0, eps=1.0):
    """What the one or the other side makes of a function's slope."""
    holds = () if side is ours else (False,)
    return side._slope(at, analytic, eps, noise, *holds)


@EACH
def test_what_rounding_accounts_for_is_right_and_looked_at_once(impl, side):
    for excess, right in ((0.0, True), (2.0**-40, False)):
        at, taken = by_steps(*[(1.0, 0.0)] * 3)
        analytic = 1 + 2.0**-10 + excess
        slope, off, kink = measured(side, at, analytic, noise=2.0**-10)
        assert (slope, off <= 1e-6, kink) == (1.0, right, False)
        assert (taken == [1.0, -1.0]) == right
    # of a slope that is small itself, the error is written down as it is
    size, gap = 2.0**-20, 2.0**-50
    found = measured(side, lambda t: size * t, size + gap, noise=1.0)
    assert found == (size, gap / (size + gap), False)
    # and over a step of its own length
    found = measured(side, lambda t: t, 1 + 2.0**-10, noise=2.0**-20, eps=2.0**-10)
    assert found == (1.0, 1e-6, False)


@EACH
def test_a_kink_within_the_step_is_looked_at_from_nearer_until_it_is_out_of_the_way(impl, side):
    clamp, beyond = (0.75, -0.5), (1.0, 0.0)  # min(t, 1/2), whose slope at 0 is 1
    at, taken = by_steps(clamp, beyond, beyond)
    assert measured(side, at, 1.0) == (1.0, 0.0, True)
    assert taken == [1.0, -1.0, 0.0, 1 / 8, -1 / 8]
    at, taken = by_steps(clamp, clamp, beyond)
    assert measured(side, at, 1.0) == (1.0, 0.0, True)
    assert taken == [1.0, -1.0, 0.0, 1 / 8, -1 / 8, 1 / 64, -1 / 64]
    # rounding may take the gradient a little further than the slope of the further side
    at, taken = by_steps(clamp, beyond, beyond)
    assert measured(side, at, 1 + 2.0**-13, noise=2.0**-13) == (1.0, 1e-6, True)
    assert len(taken) == 5
    # steps of 1/1024: the noise of a slope is that of the number over the step
    at, taken = by_steps(clamp, beyond, beyond)
    small = measured(side, lambda t: at(1024 * t) / 1024, 1 + 2.0**-13, 2.0**-23, eps=2.0**-10)
    assert small == (1.0, 1e-6, True)


@EACH
def test_a_gradient_that_no_side_of_the_kink_has_is_not_excused_by_it(impl, side):
    clamp, beyond = (0.75, -0.5), (1.0, 0.0)
    at, _ = by_steps(clamp, beyond, beyond)
    slope, off, kink = measured(side, at, 1.1)
    assert (slope, kink) == (1.0, False) and off == pytest.approx(0.1 / 1.1)
    # flat around 0, with a kink to either side: no shorter step comes nearer to the gradient
    at, _ = by_steps((0.0, 1.0), (0.0, 0.0), (0.0, 0.0))
    assert measured(side, at, 0.1) == (0.0, 1.0, False)


@EACH
def test_a_kink_is_what_is_gone_in_a_shorter_step_and_not_what_shrinks_with_it(impl, side):
    bend = -0.5
    for share, kink in ((1.0, False), (0.6, False), (0.4, True), (0.0, True)):
        at, _ = by_steps((0.75, bend), (1.0, share * bend / 8), (1.0, share * bend / 64))
        assert measured(side, at, 1.0) == (1.0, 0.0, kink), share
    noise = 2.0**-10  # of a bend over 1/8, four times 2^-7 may be rounding
    for times, kink in ((3.5, False), (4.5, True)):
        near_bend = bend / 8 + abs(bend) / 16 + times * 8 * noise
        at, _ = by_steps((0.75, bend), (1.0, near_bend), (1.0, near_bend))
        assert measured(side, at, 1.0, noise) == (1.0, 0.0, kink), times


@EACH
def test_a_bent_slope_moves_to_the_nearer_one_even_by_less_than_rounding(impl, side):
    at, _ = by_steps((0.75, -0.5), (0.7575, -0.5), (0.75, -0.5))
    assert measured(side, at, 0.76, noise=0.001)[:2] == (pytest.approx(0.7575), 1e-6)


@EACH
def test_at_the_kink_itself_any_slope_between_those_of_its_sides_will_do(impl, side):
    even, off = (0.75, 0.5), pytest.approx(0.005 / 0.755)
    for times, kink in ((1.5, False), (2.5, True)):  # a bend of 1/64 is what a smooth one leaves
        at, _ = by_steps(even, even, (0.75, times * 0.5 / 64))
        assert measured(side, at, 0.755) == (0.75, 0.0 if kink else off, kink), times
    at, _ = by_steps(even, even, (0.75, 0.1))  # the sides' slopes are 0.7 and 0.8
    for analytic, kink in ((0.79, True), (0.71, True), (0.825, False), (0.675, False)):
        assert measured(side, at, analytic)[2] == kink, analytic
    noise, n = 2.0**-14, 2.0**-8  # n: what rounding makes of a slope over 1/64
    for times, gap, kink in (
        (4.5, 0.01, True),
        (3.5, 0.01, False),
        (4.5, 17 / 1024 + n / 2, True),
        (4.5, 17 / 1024 + 1.5 * n, False),
    ):
        near_bend = 1 / 64 + times * n
        at, _ = by_steps(even, even, (0.75, near_bend))
        assert measured(side, at, 0.75 + gap, noise)[2] == kink, (times, gap)


# ---- what else a check is made of --------------------------------------------------------------


@EACH
def test_noise_is_sixteen_times_what_an_ulp_moves(impl, side):
    # 2^20 + w: an ulp of w is nothing beside one of the value, and 16 of those over the step 2^-10
    ulp = 2.0**-52 * 2.0**20
    for times, right in ((15.9, True), (16.0, True), (16.1, False)):
        gradient = 1 + times * ulp * 2.0**18
        report = report_on(side, lambda w: w.sum() + 2.0**20, [[0.0]], gradient, eps=2.0**-18)
        assert (report["w"].verdict == "right") == right, (times, str(report))


class _Told(torch.autograd.Function):
    @staticmethod
    def forward(ctx, w, function, gradient):
        ctx.gradient, ctx.shape = gradient, w.shape
        return function(w.detach())

    @staticmethod
    def backward(ctx, dy):
        return torch.full(ctx.shape, ctx.gradient, dtype=torch.float64) * dy, None, None


def report_on(side, function, w, gradient, eps=6e-6, **options):
    """The report of a bare function of one array, with the gradient that it is told to have."""
    sample, directions = options.get("sample"), options.get("directions")
    w = np.array(w, np.float64)
    if side is ours:
        problem = ours.Problem(lambda: function(w), {"w": w}, [])
        problem.settle()
        problem.gradients["w"] = np.full(w.shape, gradient)
        return ours.report_of(problem, eps, sample, directions, numpy_impl.Generator())

    def value(at):
        return _Told.apply(at["w"], function, gradient)

    stream = torch.Generator()
    return theirs.report_of(value, {"w": torch.tensor(w)}, eps, sample, directions, stream)


@EACH
def test_a_kink_outside_of_all_layers_has_no_name(impl, side):
    report = report_on(side, lambda w: abs(w - 2e-6).sum(), [0.0, 0.5], 0.0)
    assert report["w"].kinks == [False, False]
    report = report_on(side, lambda w: abs(w - 2e-6).sum(), [0.0, -0.5], -1.0)
    assert report["w"].kinks == [True, False] and report["w"].kinked == []


def one_bend(impl, side, layers, eps=0.25):
    """The name of the layer that bends when the number is moved through layers in turn."""
    modules = {name: Applied[impl](function) for name, function in layers.items()}

    def at(step):
        y = on(impl, np.array([step]))
        for module in modules.values():
            y = module(y)
        return float(y[0])

    if side is ours:
        return ours._bent_layer(ours.Problem(lambda: 0, {}, [], list(modules.items())), at, eps)
    return theirs._bent_layer(at, eps, modules)


class OursApplied(numpy_impl.nn.Module):
    """A layer of one function."""

    def __init__(self, function):
        self.function = function

    def forward(self, x):
        return self.function(x)


class TheirsApplied(torch.nn.Module):
    """The same."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


Applied: Any = {numpy_impl: OursApplied, torch_impl: TheirsApplied}


def relu(x):
    """Half of what |x| and x sum to, on either side."""
    return (abs(x) + x) / 2


@EACH
def test_the_layer_with_the_kink_is_the_first_that_leaves_the_straight_line(impl, side):
    def bent(**layers):
        return one_bend(impl, side, layers)

    assert bent(scale=lambda x: 3 * x, smooth=lambda x: x + 1e-5 * x * x) == ""
    assert bent(zero=lambda x: 0 * x) == ""
    assert bent(scale=lambda x: 3 * x, first=relu, second=abs) == "first"
    # what stands still is no kink, and a large offset hides none
    assert bent(offset=lambda x: x + 1000, still=lambda x: relu(x - 1000) + 1000) == "still"
    assert bent(falling=lambda x: -relu(-x) - 1000) == "falling"
    assert bent(mask=lambda x: x > 0) == "mask"
    # nine ulps to one side are a kink, eight may be rounding
    ulp = 2.0**-52
    assert bent(ulps=lambda x: 1 + relu(x) * 36 * ulp) == "ulps"
    assert bent(ulps=lambda x: 1 + relu(x) * 32 * ulp) == ""


@EACH
def test_a_layer_that_runs_on_one_side_of_a_branch_alone_is_passed_over(impl, side):
    inner = Applied[impl](abs)
    modules = {"inner": inner, "relu": Applied[impl](relu)}
    for runs in (lambda step: step >= 0, lambda step: step <= 0, lambda step: step == 0):

        def at(step, runs=runs):
            x = on(impl, np.array([step]))
            return float(modules["relu"](inner(x) if runs(step) else x)[0])

        if side is ours:
            problem = ours.Problem(lambda: 0, {}, [], list(modules.items()))
            found = ours._bent_layer(problem, at, 0.25)
        else:
            found = theirs._bent_layer(at, 0.25, modules)
        assert found == "relu"


@EACH
def test_every_number_moves_an_ulp_up_or_down_and_the_worse_of_two_tries_counts(impl, side):
    ulp, seen, told = 2.0**-52, [], iter([2.0, 2.5, 1.0])
    tensors = {"a": np.ones((4, 8)), "b": np.full(5, -2.0)}
    stream = (numpy_impl if impl is numpy_impl else torch).Generator()
    if side is ours:

        def function():
            seen.append({k: v.copy() for k, v in tensors.items()})
            return next(told)

        moved = ours._moved_by_an_ulp(ours.Problem(function, tensors, []), stream)
    else:

        def value(at):
            seen.append({k: to_numpy(v) for k, v in at.items()})
            return torch.tensor(next(told), dtype=torch.float64)

        moved = theirs._moved_by_an_ulp(value, to_torch(tensors), stream)
    assert moved == 1.0 + 2 * ulp
    again = numpy_impl.Generator()
    for i, found in enumerate(seen):
        for name, start in (("a", np.ones((4, 8))), ("b", np.full(5, -2.0))):
            signs = 2.0 * again.randint(0, 2, start.shape) - 1 if i else 0.0
            assert np.array_equal(found[name], start * (1 + ulp * signs))
            assert np.array_equal(tensors[name], start)


def test_only_streams_that_were_drawn_from_are_put_back():
    class Counted(numpy_impl.Generator):
        count = 0

        def set_state(self, state):
            self.count += 1
            super().set_state(state)

    idle, drawn, w = Counted(), Counted(), np.ones(3)
    problem = ours.Problem(lambda: w.sum() * drawn.rand((), np.float64), {"w": w}, [idle, drawn])
    problem.settle()
    before = idle.count, drawn.count
    assert problem.value() == problem.value()
    assert (idle.count, drawn.count) == (before[0], before[1] + 2)


def test_a_number_can_be_had_before_anything_is_settled():
    assert ours.Problem(lambda: 2, {}, []).value() == 2.0


@EACH
def test_a_copy_is_contiguous_and_its_floats_are_wide(impl, side):
    x = np.arange(12.0).reshape(3, 4)
    for array, kind in (
        (x, "float64"),
        (x.T, "float64"),
        (x[:, ::2], "float64"),
        (x.astype(np.float32).T, "float64"),
        (x.astype(np.int64).T, "int64"),
    ):
        given = array if impl is numpy_impl else torch.from_numpy(array)
        found = side.wide(given)
        contiguous = found.flags.c_contiguous if impl is numpy_impl else found.is_contiguous()
        assert contiguous and str(found.dtype).endswith(kind)
        assert np.array_equal(to_numpy(found), array)
        found += 1
        assert not np.array_equal(to_numpy(found), array)


@EACH
def test_one_place_and_one_direction_are_enough_and_no_step_is_endless(impl, side):
    x = on(impl, np.array([[0.5, -2.0, 1.0]]))
    model = impl.layers.Identity()
    one = side.gradient_check(model, [x], sample=1)["input 0"]
    assert len(one.places) == 1 and one.verdict == "right" and not one.along_directions
    one = side.gradient_check(model, [x], directions=1)["input 0"]
    assert len(one.places) == 1 and one.verdict == "right" and one.along_directions
    said = refused(partial(side.gradient_check, model, [x], eps=np.inf))
    assert said is not None and "eps must be a positive number, got inf" in said


@EACH
def test_without_a_loss_weights_are_drawn_between_minus_one_and_one(impl, side):
    x = on(impl, np.arange(6.0).reshape(2, 3))
    report = side.gradient_check(impl.layers.Identity(), [x])
    drawn = numpy_impl.Generator().rand((2, 3), np.float64)
    assert np.array_equal(report["input 0"].analytic, (2 * drawn - 1).ravel())


@EACH
def test_a_kink_in_the_loss_is_the_criterions(impl, side):
    x, y = on(impl, np.array([[2e-6, -0.5]])), on(impl, np.zeros((1, 2)))
    report = side.gradient_check(impl.layers.Identity(), [x], y, impl.losses.L1Loss())
    assert report["input 0"].kinked == ["the criterion"]


class OursNoisy(numpy_impl.nn.Module):
    """y = x * (how many forwards there were + a random number), beside a parameter without use."""

    count: Any

    def __init__(self):
        self.generator = numpy_impl.Generator()
        self.register_buffer("count", np.zeros(()))
        self.unused = numpy_impl.nn.Parameter(np.ones((2, 3)))

    def forward(self, x):
        self.count += 1
        scale = self.count + self.generator.rand((), np.float64)
        self.save_for_backward(x * scale, scale)
        return x * scale

    def backward(self, dy):
        dy, scale = self.saved_for_backward(dy)
        return dy * scale


class TheirsNoisy(torch.nn.Module):
    """The same, from the global stream."""

    count: Any

    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.zeros(()))
        self.unused = torch.nn.Parameter(torch.ones((2, 3)))

    def forward(self, x):
        self.count += 1
        return x * (self.count + torch.rand(()))


@EACH
def test_buffers_and_streams_of_the_model_stand_and_what_is_unused_has_a_gradient_of_zeros(
    impl, side
):
    model: Any = (OursNoisy if impl is numpy_impl else TheirsNoisy)()
    report = side.gradient_check(model, [on(impl, np.arange(1.0, 4.0))])
    assert report.verdicts() == {"unused": "right", "input 0": "right"}, str(report)
    assert report["unused"].analytic == [0.0] * 6 and report["unused"].shape == (2, 3)
    assert float(model.count) == 0


@EACH
def test_what_a_model_gives_is_told_by_its_kind(impl, side):
    x = on(impl, np.ones((2, 3)))
    kind = "arrays" if impl is numpy_impl else "tensors"
    said = refused(partial(side.gradient_check, Applied[impl](lambda x: (x, None)), [x]))
    assert said == f"the model must give {kind}, got NoneType"


def test_gradients_of_inputs_are_as_many_and_as_large_as_the_inputs():
    class Told(OursApplied):
        told: Any = None

        def backward(self, dy):
            return self.told

    x = np.ones((2, 3))
    model = Told(lambda x: 3 * x)
    for told, words in (
        (None, "backward must give 1 gradients of inputs, got 0"),
        ((x, x), "backward must give 1 gradients of inputs, got 2"),
        (x.T, "the gradient of input 0 must have its shape (2, 3), got (3, 2)"),
    ):
        model.told = told
        assert refused(partial(ours.gradient_check, model, [x])) == words


def test_a_number_that_overflows_is_refused_without_a_warning():
    model = OursApplied(lambda x: np.exp(1000 * x))
    said = refused(partial(ours.gradient_check, model, [np.ones(2)]))
    assert said is not None and "must be finite" in said
