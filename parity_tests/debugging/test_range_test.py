"""The loss by learning rate: the same curve and the same advice on both sides."""

import math
from functools import partial
from typing import Any

import numpy as np
import torch

import numpy_impl.architectures
import numpy_impl.losses
import numpy_impl.optimization
import numpy_impl.training
import torch_impl.architectures
import torch_impl.losses
import torch_impl.optimization
import torch_impl.training
from numpy_impl.debugging import range_test as ours
from parity_tests.debugging.test_sanity import everything
from parity_tests.harness import RuleCase
from parity_tests.harness.bridge import same_stream, to_torch
from parity_tests.harness.budget import compare
from parity_tests.harness.mistake import Mistake
from parity_tests.harness.refusal import refused
from torch_impl.debugging import range_test as theirs

SIDES = (numpy_impl, torch_impl)
WIDTHS = [5, 8, 3]
FEW: dict[str, Any] = {"low": 1e-4, "high": 0.3, "steps": 12}


def given(rng):
    """A network's state, and batches with something to learn in them."""
    state = numpy_impl.architectures.DeepMLP(WIDTHS, activation="tanh").double().state_dict()
    arrays = {f"state {k}": rng.standard_normal(v.shape) for k, v in state.items()}
    x = rng.standard_normal((40, 5))
    return arrays | {"x": x, "y": (x @ rng.standard_normal((5, 3))).argmax(1)}


def setup(impl, arrays):
    """Model, shuffled batches, loss and optimizer with two groups on one side."""
    model = impl.architectures.DeepMLP(WIDTHS, activation="tanh").double()
    state = {k[6:]: v for k, v in arrays.items() if k.startswith("state")}
    x, y = arrays["x"], arrays["y"]
    if impl is torch_impl:
        x, y, state = to_torch(x), to_torch(y), to_torch(state)
    model.load_state_dict(state)
    generator = (numpy_impl if impl is numpy_impl else torch).Generator().manual_seed(3)
    loader = impl.training.batches(x, y, batch_size=16, shuffle=True, generator=generator)
    parameters = list(model.parameters())
    groups = [{"params": parameters[:2]}, {"params": parameters[2:], "lr": 0.7}]
    optimizer = impl.optimization.SGD(groups, lr=0.1, momentum=0.9)
    return model, loader, impl.losses.CrossEntropyLoss(), optimizer


def numbers(impl, test, arrays):
    """What a test wrote down."""
    found = test(*setup(impl, arrays), **FEW)
    return {f"step {k}": np.array(getattr(found, k)) for k in ("lr", "loss", "smoothed")}


def changed(change):
    """A test whose result is changed."""

    def tested(*args, **options):
        found = ours.lr_range_test(*args, **options)
        change(found, **options)
        return found

    return tested


def uncorrected(found, smoothing=0.9, **options):
    """The average as it is, from 0."""
    for t in range(len(found.lr)):
        found.smoothed[t] *= 1 - smoothing ** (t + 1)


def linearly(found, low=1e-6, high=1.0, **options):
    """Rates that grow by a constant."""
    found.lr[:] = np.linspace(low, high, len(found.lr)).tolist()


class AtTheLowest(ours.RangeTest):
    """Suggests the rate of the lowest loss."""

    @property
    def suggestion(self):
        return super().suggestion * 10


def at_the_lowest(*args, **options):
    """Its result suggests too much."""
    return AtTheLowest(**vars(ours.lr_range_test(*args, **options)))


def first_group_only(model, batches, criterion, optimizer, **options):
    """The rates of the other groups stay."""
    for group in optimizer.param_groups[1:]:
        group["params"], group["held"] = [], group["params"]
    try:
        return ours.lr_range_test(model, batches, criterion, optimizer, **options)
    finally:
        for group in optimizer.param_groups[1:]:
            group["params"] = group.pop("held")


def stream_used_up(model, batches, criterion, optimizer, **options):
    """The loader's generator stands where the test left it."""
    found = ours.lr_range_test(model, batches, criterion, optimizer, **options)
    for _ in getattr(batches, "generator", None) and batches or ():
        pass
    return found


class TestLRRangeTest(RuleCase):
    numpy, torch = ours.lr_range_test, theirs.lr_range_test
    covers = (ours.RangeTest,)
    mistakes = {
        "average not corrected for its start": Mistake(
            changed(uncorrected),
            "Whoever smooths from 0.",
            "The curve climbs for twenty steps and looks as if the lowest rates diverged.",
        ),
        "rates that grow by a constant": Mistake(
            changed(linearly),
            "Smith's own form, over a range of decades.",
            "All but a few steps are taken in the highest decade.",
        ),
        "the rate of the lowest loss": Mistake(
            at_the_lowest,
            "Whoever reads the minimum off the curve.",
            "That rate is on the edge of what diverges.",
        ),
        "the rate of the first group only": Mistake(
            first_group_only,
            "Whoever writes `param_groups[0]`.",
            "The other groups train at a rate of their own, or not at all.",
        ),
        "the loader's stream used up": Mistake(
            stream_used_up,
            "Whoever goes through the training loader to try something.",
            "The run that follows sees its data in another order.",
        ),
    }

    def check_curves_agree(self, log, rng):
        a = partial(numbers, numpy_impl, type(self).numpy)
        b = partial(numbers, torch_impl, theirs.lr_range_test)
        log.compare(compare(a, b, given(rng), "float64", by_step=True), "12 rates")

    def check_it_falls_and_then_diverges(self, log, rng):
        arrays, said = given(rng), list[Any]()
        for impl, test in ((numpy_impl, type(self).numpy), (torch_impl, theirs.lr_range_test)):
            found = test(*setup(impl, arrays), low=1e-5, high=1e4, steps=60)
            lowest = int(np.argmin(found.smoothed))
            where = f"{impl.__name__}: {found}"
            log.require(found.diverged and 10 < lowest < len(found.lr) - 1 < 59, where)
            log.require(found.suggestion == found.lr[lowest] / 10, where)
            log.require(1e-5 < found.steepest < 10 * found.lr[lowest], where)
            ratios = np.array(found.lr[1:]) / np.array(found.lr[:-1])
            log.require(bool(np.allclose(ratios, 1e9 ** (1 / 59))), where)
            said.append(str(found))
            short = test(*setup(impl, arrays), low=1e-3, high=1e-2, steps=2)
            log.require(not short.diverged and str(short.steepest) == "nan", f"{short}")
        log.require(said[0] == said[1] and "diverged" in said[0], f"{said}")

    def check_losses_as_handed_are_judged_as_they_say(self, log, rng):
        arrays = given(rng)
        judged = (4.0, [2.0, 1.0, 3.0, 1.5, 4.0, 4.1], 2), (1.5, [2.0, 1.0, 1.5, 1.6], 1)
        for impl, test in ((numpy_impl, type(self).numpy), (torch_impl, theirs.lr_range_test)):
            for training, (stop, handed, steepest) in zip((True, False), judged):
                model, loader, criterion, optimizer = setup(impl, arrays)
                modes, coming = list[Any](), iter(handed)
                last = list(model.modules())[-1].eval()
                model.train(training)
                last.train(not training)

                def note(module, args, output, modes=modes):
                    modes.append([m.training for m in module.modules()])

                def hand(module, args, output, coming=coming):
                    return output * 0 + next(coming)

                model.register_forward_hook(note)
                criterion.register_forward_hook(hand)
                options: dict[str, Any] = {"steps": 9, "smoothing": 0.0, "stop": stop}
                found = test(model, loader, criterion, optimizer, **options)
                where = f"{impl.__name__}: {found}"
                log.require(
                    found.loss == found.smoothed == handed, where
                )  # as high as stop is not above it
                log.require(found.diverged and found.suggestion == found.lr[1] / 10, where)
                rates = 10.0 ** np.arange(-6, 0.5, 0.75)[: len(handed)]
                log.require(bool(np.allclose(found.lr, rates)), where)
                log.require(found.steepest == found.lr[steepest], where)
                own = [m.training for m in model.modules()]  # a part may be in another mode
                log.require(modes[0] == (own if training else [True] * len(own)), f"{modes[0]}")

    def check_a_loss_that_is_not_finite_ends_it(self, log, rng):
        arrays = given(rng)
        for impl, test in ((numpy_impl, type(self).numpy), (torch_impl, theirs.lr_range_test)):
            model, loader, criterion, optimizer = setup(impl, arrays)
            calls = [0]

            def overflow(module, args, output, calls=calls):
                calls[0] += 1
                return output * np.inf if calls[0] >= 4 else None

            criterion.register_forward_hook(overflow)
            found = test(model, loader, criterion, optimizer, **FEW)
            log.require(found.diverged and len(found.loss) == 3, f"{impl.__name__}: {found}")
            error = impl.training.NonFiniteError
            try:
                test(*setup(impl, arrays | {"x": np.full((40, 5), np.nan)}))
                log.require(False, f"{impl.__name__}: NaN from the start was taken")
            except error:
                log.require(True, "")

    def check_nothing_is_moved(self, log, rng):
        arrays, orders = given(rng), list[Any]()
        for impl, test in ((numpy_impl, type(self).numpy), (torch_impl, theirs.lr_range_test)):
            for ending in ("", "interrupted"):
                model, loader, criterion, optimizer = setup(impl, arrays)
                before = everything(model, optimizer)
                (numpy_impl if impl is numpy_impl else torch.default_generator).manual_seed(3)
                calls = [0]

                def interrupt(module, args, output, calls=calls, ending=ending):
                    calls[0] += 1
                    if ending and calls[0] == 3:
                        raise KeyboardInterrupt

                model.register_forward_hook(interrupt)
                try:
                    test(model, loader, criterion, optimizer, **FEW)
                    log.require(not ending, f"{impl.__name__}: an interrupt was swallowed")
                except KeyboardInterrupt:
                    log.require(bool(ending), f"{impl.__name__}: interrupted")
                log.require(everything(model, optimizer) == before, f"{impl.__name__}: moved")
                orders.append(np.concatenate([np.asarray(y) for _, y in loader]).tolist())
        streams = numpy_impl.random.default_generator, torch.default_generator
        log.require(same_stream(*streams), "the global streams parted")
        log.require(all(order == orders[0] for order in orders), "the loader's stream moved")
        fresh = np.concatenate([y for _, y in setup(numpy_impl, arrays)[1]]).tolist()
        log.require(orders[0] == fresh, "the loader's stream moved")

    def check_bad_arguments_are_refused(self, log, rng):
        arrays = given(rng)
        wrong: list[tuple[dict[str, Any], str]] = [
            ({"low": 0.0}, "0 < low < high"),
            ({"low": 0.1, "high": 0.1}, "0 < low < high"),
            ({"high": np.inf}, "0 < low < high, got low=1e-06 high=inf"),
            ({"steps": 1}, "steps must be a whole number of at least 2, got 1"),
            ({"steps": 2.0}, "got 2.0"),
            ({"smoothing": 1.0}, "got smoothing=1.0 stop=4.0"),
            ({"smoothing": -0.1}, "got smoothing=-0.1"),
            ({"stop": 1.0}, "stop=1.0"),
        ]
        for impl, test in ((numpy_impl, type(self).numpy), (torch_impl, theirs.lr_range_test)):
            model, loader, criterion, optimizer = setup(impl, arrays)
            for options, words in wrong:
                said = refused(partial(test, model, loader, criterion, optimizer, **options))
                log.require(said is not None and words in said, f"{options}: {said}")
            said = refused(partial(test, model, iter(loader), criterion, optimizer))
            log.require(said is not None and "only once" in said, f"{said}")
            said = refused(partial(test, model, [], criterion, optimizer))
            log.require(said is not None and "at least one batch" in said, f"{said}")


def test_advice_goes_by_decades_and_by_the_last_inner_rate_too():
    for side in (ours, theirs):
        uneven = side.RangeTest([1e-3, 1e-2, 1e-1, 1e1, 1e3], [], [6.0, 5.0, 4.0, 2.2, 1.0])
        assert uneven.steepest == 1e-2 and uneven.suggestion == 1e2
        late = side.RangeTest([1e-3, 1e-2, 1e-1, 1.0], [], [3.0, 3.0, 3.0, 1.0])
        assert late.steepest == 1e-1 and math.isnan(side.RangeTest([1.0, 2.0], [], [1, 0]).steepest)


def test_the_text_says_how_it_ended():
    rates, losses = [1e-3, 1e-2, 1e-1], [3.0, 2.0, 1.0]
    for side in (ours, theirs):
        for diverged, end in ((False, "did not diverge"), (True, "diverged")):
            said = str(side.RangeTest(rates, losses, losses, diverged))
            text = f"rates 0.001 to 0.1, the loss {end}; falls fastest at 0.01, try 0.01"
            assert said == text, said
