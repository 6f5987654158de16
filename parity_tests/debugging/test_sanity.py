"""Where a loss starts and whether one batch can be learned: the same on both sides."""

import copy
import math
from functools import partial
from typing import Any

import numpy as np
import torch

import numpy_impl.architectures
import numpy_impl.losses
import numpy_impl.optimization
import torch_impl.architectures
import torch_impl.losses
import torch_impl.optimization
from numpy_impl.debugging import sanity as ours
from numpy_impl.module import no_grad
from parity_tests.harness import RuleCase
from parity_tests.harness.bridge import same_stream, to_numpy, to_torch
from parity_tests.harness.budget import compare
from parity_tests.harness.mistake import Mistake
from parity_tests.harness.refusal import refused
from torch_impl.debugging import sanity as theirs

SIDES = (numpy_impl, torch_impl)
CLASSES = 4


def given(rng):
    """A network's state and one batch."""
    network = numpy_impl.architectures.DeepMLP([5, 16, CLASSES], batch_norm=True, dropout=0.2)
    state = network.double().state_dict()
    arrays = {f"state {k}": rng.standard_normal(v.shape) for k, v in state.items()}
    arrays = {k: v for k, v in arrays.items() if "running" not in k and "tracked" not in k}
    return arrays | {"x": rng.standard_normal((12, 5)), "y": rng.integers(0, CLASSES, 12)}


def setup(impl, arrays, dropout=0.2):
    """Model, batch, loss and an optimizer that has taken a step, on one side."""
    model = impl.architectures.DeepMLP([5, 16, CLASSES], batch_norm=True, dropout=0.2).double()
    next(m for m in model.modules() if type(m).__name__ == "Dropout").p = dropout
    state = {k[6:]: v for k, v in arrays.items() if k.startswith("state")}
    batch: Any = [arrays["x"].copy(), arrays["y"].copy()]
    if impl is torch_impl:
        batch, state = to_torch(batch), to_torch(state)
    model.load_state_dict(state, strict=False)
    criterion = impl.losses.CrossEntropyLoss()
    optimizer = impl.optimization.Adam(model.parameters(), lr=0.05)
    (numpy_impl if impl is numpy_impl else torch.default_generator).manual_seed(3)
    impl.training.train_step(model, batch, criterion, optimizer)
    return model, batch, criterion, optimizer


def everything(model, optimizer):
    """All that must stay, as text of full length."""
    with np.printoptions(floatmode="unique", threshold=10**6):
        state = {k: to_numpy(v) for k, v in model.state_dict().items()}
        grads = [to_numpy(p.grad) for p in model.parameters()]
        modes = [m.training for m in model.modules()]
        return repr([state, grads, modes, to_numpy(optimizer.state_dict())])


def untouched(log, side, call, ending=""):
    """Run call on a fresh setup and require that nothing of it moved."""
    impl, arrays = side
    model, batch, criterion, optimizer = setup(impl, arrays)
    list(model.modules())[2].eval()
    before = everything(model, optimizer)
    stream = impl is numpy_impl and copy.deepcopy(numpy_impl.random.default_generator.get_state())
    state = torch.get_rng_state()
    if ending:

        def interrupt(module, args, output):
            raise KeyboardInterrupt

        model.register_forward_hook(interrupt)
    try:
        call(model, batch, criterion, optimizer)
        log.require(not ending, f"{impl.__name__}: an interrupt was swallowed")
    except KeyboardInterrupt:
        log.require(bool(ending), f"{impl.__name__}: it was interrupted")
    log.require(everything(model, optimizer) == before, f"{impl.__name__}: something moved")
    if impl is numpy_impl:
        after = numpy_impl.random.default_generator.get_state()
        log.require(repr(after) == repr(stream), "the stream moved")
        log.require(not any(m._saved for m in model.modules()), "forwards left behind")
    else:
        log.require(torch.equal(torch.get_rng_state(), state), "torch's stream moved")


def in_plain_sight(model, batch, criterion):
    """The model itself is run."""
    with no_grad():
        output = model(*batch[:-1])
        return ours.InitialLoss(
            float(criterion(output, batch[-1])), float(criterion(np.zeros_like(output), batch[-1]))
        )


def log_of_the_batch(model, batch, criterion):
    """ln N."""
    found = ours.initial_loss(model, batch, criterion)
    return ours.InitialLoss(found.loss, math.log(len(batch[-1])))


def always_ln_c(model, batch, criterion):
    """ln C, whatever the loss is."""
    found = ours.initial_loss(model, batch, criterion)
    with no_grad():
        return ours.InitialLoss(found.loss, math.log(copy.deepcopy(model)(batch[0]).shape[-1]))


class TestInitialLoss(RuleCase):
    numpy, torch = ours.initial_loss, theirs.initial_loss
    covers = (ours.InitialLoss,)
    mistakes = {
        "the model itself is run": Mistake(
            in_plain_sight,
            "Whoever calls the model to have a look.",
            "Batch norm has counted a batch and dropout has drawn before the run begins.",
        ),
        "the logarithm of the batch": Mistake(
            log_of_the_batch,
            "Whoever takes the length of the wrong axis.",
            "A start that is right looks wrong at every other batch size.",
        ),
        "ln C for every loss": Mistake(
            always_ln_c,
            "Whoever knows the rule for one loss alone.",
            "A binary or a squared loss is compared with a number that means nothing.",
        ),
    }

    def check_losses_agree(self, log, rng):
        def run(impl, initial_loss, arrays):
            model, batch, criterion, _ = setup(impl, arrays)
            found = initial_loss(model, batch, criterion)
            return {
                "forward loss": np.array(found.loss),
                "forward expected": np.array(found.expected),
                "forward ratio": np.array(found.ratio),
            }

        a = partial(run, numpy_impl, type(self).numpy)
        b = partial(run, torch_impl, theirs.initial_loss)
        log.compare(compare(a, b, given(rng), "float64"), "cross-entropy")

    def check_each_loss_has_an_expected_start(self, log, rng):
        x, k = rng.standard_normal((6, CLASSES)), rng.integers(0, CLASSES, 6)
        real, yes = rng.standard_normal((6, CLASSES)), 1.0 * (rng.random((6, CLASSES)) < 0.5)
        weight = np.array([1.0, 2.0, 0.5, 3.0])
        cases: list[tuple[str, dict[str, Any], Any, float]] = [
            ("CrossEntropyLoss", {}, k, math.log(CLASSES)),
            ("CrossEntropyLoss", {"label_smoothing": 0.2}, k, math.log(CLASSES)),
            ("CrossEntropyLoss", {"weight": weight}, k, math.log(CLASSES)),
            ("NLLLoss", {}, k, math.log(CLASSES)),
            ("BCEWithLogitsLoss", {}, yes, math.log(2)),
            ("BCELoss", {}, yes, math.log(2)),
            ("MSELoss", {}, real, float(np.mean(real**2))),
            ("L1Loss", {}, real, float(np.mean(abs(real)))),
        ]
        for name, options, target, expected in cases:
            for impl, check in ((numpy_impl, type(self).numpy), (torch_impl, theirs.initial_loss)):
                layers: dict[str, Any] = {"NLLLoss": impl.layers.LogSoftmax(dim=1)}
                layers["BCELoss"] = impl.layers.Sigmoid()
                model = impl.layers.Sequential(layers.get(name, impl.layers.Identity()))
                carried = (
                    (x, target, options) if impl is numpy_impl else to_torch((x, target, options))
                )
                criterion = getattr(impl.losses, name)(**carried[2])
                found = check(model, carried[:2], criterion)
                close = math.isclose(found.expected, expected, rel_tol=1e-12)
                log.require(close, f"{impl.__name__} {name} {options}: {found}")
                log.require(found.loss > 0 and str(found).endswith(" of an output that "
                    "prefers nothing"), f"{found}")  # fmt: skip
        for side in (ours, theirs):
            log.require(side.InitialLoss(1.0, 0.0).ratio == math.inf, "a ratio to 0")

    def check_a_start_that_overflows_is_told_in_silence(self, log, rng):
        x, y = np.full((2, 3), 1e200), np.ones((2, 3))
        for impl, check in ((numpy_impl, type(self).numpy), (torch_impl, theirs.initial_loss)):
            model = impl.layers.Sequential(impl.layers.Identity())
            model.register_forward_hook(lambda module, args, output: output * output)
            batch: Any = [x, y] if impl is numpy_impl else to_torch([x, y])
            found = check(model, batch, impl.losses.L1Loss())
            log.require(found.loss == found.ratio == math.inf, f"{impl.__name__}: {found}")
            log.require(found.expected == 1.0, f"{impl.__name__}: {found}")

    def check_nothing_is_moved(self, log, rng):
        arrays = given(rng)
        for impl, check in ((numpy_impl, type(self).numpy), (torch_impl, theirs.initial_loss)):
            for ending in ("", "interrupted"):
                untouched(log, (impl, arrays), lambda m, b, c, o: check(m, b, c), ending)  # noqa: B023
            each = impl.losses.CrossEntropyLoss(reduction="none")
            model, batch, *_ = setup(impl, arrays)
            said = refused(partial(check, model, batch, each))
            log.require(said is not None and "(12,)" in said, f"{said}")
        streams = numpy_impl.random.default_generator, torch.default_generator
        log.require(same_stream(*streams), "the random streams parted")


def on_the_model_itself(model, batch, criterion, optimizer, *, steps=200, share=0.01):
    """The model is trained."""
    losses = [
        float(numpy_impl.training.train_step(model, batch, criterion, optimizer)[0])
        for _ in range(steps)
    ]
    return ours.Overfit(losses, share * losses[0])


def in_evaluation_mode(model, batch, criterion, optimizer, **options):
    """Dropout and batch norm stand still."""
    return ours.overfit_one_batch(
        copy.deepcopy(model).eval(), batch, criterion, optimizer, **options
    )


def a_new_optimizer(model, batch, criterion, optimizer, **options):
    """Starts the moments anew."""
    fresh = numpy_impl.optimization.Adam(model.parameters(), lr=optimizer.param_groups[0]["lr"])
    return ours.overfit_one_batch(model, batch, criterion, fresh, **options)


class TestOverfitOneBatch(RuleCase):
    numpy, torch = ours.overfit_one_batch, theirs.overfit_one_batch
    covers = (ours.Overfit,)
    mistakes = {
        "the model itself is trained": Mistake(
            on_the_model_itself,
            "Whoever tries it at the top of the script.",
            "The run starts from a network that knows one batch by heart.",
        ),
        "the optimizer left with the original": Mistake(
            in_evaluation_mode,
            "Whoever copies the model and forgets that the optimizer holds its parameters.",
            "The copy does not move, and no batch is ever learned.",
        ),
        "a new optimizer": Mistake(
            a_new_optimizer,
            "Whoever builds another one with the same rate.",
            "Moments, groups and options are not those that the run will use.",
        ),
    }

    def check_losses_agree(self, log, rng):
        def run(impl, overfit, arrays):
            made = setup(impl, arrays)
            found = overfit(*made, steps=5)
            return {"step loss": np.array(found.losses), "forward wanted": np.array(found.wanted)}

        a = partial(run, numpy_impl, type(self).numpy)
        b = partial(run, torch_impl, theirs.overfit_one_batch)
        log.compare(compare(a, b, given(rng), "float64", by_step=False), "five steps")

    def check_what_can_be_learned_is_and_what_cannot_is_not(self, log, rng):
        arrays, said = given(rng), list[Any]()
        for impl, check in ((numpy_impl, type(self).numpy), (torch_impl, theirs.overfit_one_batch)):
            good = check(*setup(impl, arrays, dropout=0.0))
            log.require(good.reached and len(good.losses) < 150, f"{impl.__name__}: {good}")
            model, batch, criterion, optimizer = setup(impl, arrays, dropout=0.0)
            batch[0][6:] = batch[0][:6]
            batch[1][6:] = (batch[1][:6] + 1) % CLASSES  # one row, two labels: ln 2 is the least
            bad = check(model, batch, criterion, optimizer, steps=60)
            log.require(not bad.reached and len(bad.losses) == 61, f"{impl.__name__}: {bad}")
            log.require(0.6 < bad.losses[-1] < 1.0, f"{impl.__name__}: {bad}")
            said.append([str(good), str(bad)])
        log.require(said[0] == said[1] and "is not learned" in said[0][1], f"{said}")

    def check_losses_as_handed_are_judged_as_they_say(self, log, rng):
        arrays = given(rng)
        cases: list[tuple[list[float], int, bool]] = [
            ([4.0, 2.0, 1.0, 0.5], 3, True),  # as low as was wanted is low enough
            ([4.0, 1.0, 1.0, 1.0], 2, True),
            ([4.0, 2.0, 2.0, 1.0], 4, True),  # by the last look, after the last step
            ([4.0, 2.0, 2.0, 1.5], 4, False),
            ([0.0, 0.0, 0.0, 0.0], 2, True),  # at least one step is watched
        ]
        for impl, check in ((numpy_impl, type(self).numpy), (torch_impl, theirs.overfit_one_batch)):
            for handed, long, reached in cases:
                coming, made = iter(handed), setup(impl, arrays)

                def hand(module, args, output, coming=coming):
                    return output * 0 + next(coming)

                made[2].register_forward_hook(hand)
                found = check(*made, steps=3, share=0.25)
                where = f"{impl.__name__}: {found}"
                log.require(found.losses == handed[:long], where)
                log.require(found.reached is reached and found.wanted == handed[0] / 4, where)

    def check_a_model_in_evaluation_mode_trains_all_the_same(self, log, rng):
        arrays = given(rng)
        for impl, check in ((numpy_impl, type(self).numpy), (torch_impl, theirs.overfit_one_batch)):
            runs = []
            for training in (True, False):
                model, *rest = setup(impl, arrays)
                model.train(training)
                runs.append(check(model, *rest, steps=1).losses)
                log.require(model.training is training, f"{impl.__name__}: the mode moved")
            log.require(runs[0] == runs[1] and len(runs[0]) == 2, f"{impl.__name__}: {runs}")

    def check_nothing_is_moved(self, log, rng):
        arrays = given(rng)
        for impl, check in ((numpy_impl, type(self).numpy), (torch_impl, theirs.overfit_one_batch)):
            for ending in ("", "interrupted"):
                untouched(log, (impl, arrays), partial(check, steps=2), ending)
            for wrong in ({"steps": 0}, {"steps": 1.5}, {"share": 0.0}, {"share": 1.0}):
                options: dict[str, Any] = wrong
                said = refused(partial(check, *setup(impl, arrays), **options))
                log.require(said is not None and next(iter(wrong)) in said, f"{wrong}: {said}")
