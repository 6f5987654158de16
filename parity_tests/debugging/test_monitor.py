"""What a step did to each parameter: the same numbers from both sides, and nothing disturbed."""

import copy
import math
from collections.abc import Mapping
from functools import partial, wraps
from typing import Any

import numpy as np
import torch

import numpy_impl.architectures
import numpy_impl.training
import torch_impl.architectures
import torch_impl.losses
import torch_impl.optimization
import torch_impl.training
from numpy_impl.debugging import monitor as ours
from parity_tests.harness import RuleCase
from parity_tests.harness.bridge import to_numpy, to_torch
from parity_tests.harness.budget import compare
from parity_tests.harness.mistake import Mistake
from parity_tests.harness.refusal import refused
from torch_impl.debugging import monitor as theirs

WIDTHS = [5, 7, 6, 3]
RUNS = {
    "SGD with momentum, clipped": ("SGD", {"lr": 0.1, "momentum": 0.9}, {"clip_norm": 0.5}),
    "AdamW, a frozen bias": ("AdamW", {"lr": 1e-2, "weight_decay": 0.1}, {}),
}
KINDS = "grad_norm", "weight_norm", "update_ratio"


def remembered(run):
    """Keep what torch found for what went in: every stand-in for the other side meets the same."""
    known: dict[Any, Any] = {}

    @wraps(run)
    def once(impl, tool, *args, **options):
        if impl is numpy_impl:
            return run(impl, tool, *args, **options)
        parts = [x if not isinstance(x, Mapping) else _bytes(x) for x in args]
        key = repr([parts, sorted(options.items())])
        if key not in known:
            known[key] = run(impl, tool, *args, **options)
        return known[key]

    return once


def _bytes(arrays):
    return [(name, x.dtype.str, x.shape, x.tobytes()) for name, x in arrays.items()]


def given(rng):
    """A network's state and batches of two sizes."""
    state = numpy_impl.architectures.DeepMLP(WIDTHS).double().state_dict()
    arrays = {f"state {k}": rng.standard_normal(v.shape) for k, v in state.items()}
    arrays["state net.0.bias"] = np.zeros(WIDTHS[1])
    return arrays | {"x": rng.standard_normal((40, 5)), "y": rng.integers(0, 3, 40)}


def setup(impl, arrays, kind="SGD", frozen=False, **options):
    """Model, batches, criterion and optimizer on one side."""
    model = impl.architectures.DeepMLP(WIDTHS)
    state = {k[6:]: v for k, v in arrays.items() if k.startswith("state")}
    if impl is torch_impl:
        arrays, state = to_torch(dict(arrays)), to_torch(state)
    model = model.double() if arrays["x"].dtype in (np.float64, torch.float64) else model
    model.load_state_dict(state)
    if frozen:
        list(model.parameters())[1].requires_grad = False
    optimizer = getattr(impl.optimization, kind)(model.parameters(), **options)
    loader = impl.training.batches(arrays["x"], arrays["y"], batch_size=16)
    return model, loader, impl.losses.CrossEntropyLoss(), optimizer


def watched(impl, Monitor, run, arrays, epochs=2, every=1):
    """A training under a monitor: what the monitor wrote down, by label, and the monitor."""
    kind, options, told = RUNS[run]
    made = setup(impl, arrays, kind, "frozen" in run, **options)
    with Monitor(made[0], made[3], made[2], every=every) as monitor:
        validation = [(made[1].dataset.tensors[0][:4], made[1].dataset.tensors[1][:4])]
        history = impl.training.fit(*made, epochs=epochs, validation=validation, **told)
    return monitor, history


@remembered
def numbers(impl, Monitor, run, arrays, **options):
    """Every number that the monitor wrote down."""
    monitor, _ = watched(impl, Monitor, run, arrays, **options)
    dtype = arrays["x"].dtype
    lists = {"lr": monitor.lr, "loss": monitor.loss}
    lists |= {f"total {k}": monitor.total(getattr(monitor, k)) for k in KINDS[:2]}
    lists |= {f"{k} {n}": v for k in KINDS for n, v in getattr(monitor, k).items()}
    found = {f"step {k}": np.array(v, dtype) for k, v in lists.items()}
    return found | {"step number": np.array(monitor.steps)}


class OverTheNewWeight(ours.Monitor):
    """Divides the update by the norm that the weight has after it."""

    def _end(self, optimizer, args, kwargs):
        before = self._before
        super()._end(optimizer, args, kwargs)
        for name, p in self._parameters.items() if before else ():
            assert before is not None
            moved, size = np.linalg.norm(p.data - before[name]), np.linalg.norm(p.data)
            self.update_ratio[name][-1] = float(moved / size) if size else 0.0


class GradientTimesRate(ours.Monitor):
    """Takes lr * ||g|| for the update, which it is for plain SGD alone."""

    def _end(self, optimizer, args, kwargs):
        seen = self._before is not None
        super()._end(optimizer, args, kwargs)
        for name in self._parameters if seen else ():
            size = self.weight_norm[name][-1] or math.nan
            self.update_ratio[name][-1] = self.lr[-1] * self.grad_norm[name][-1] / size


class MeanSquare(ours.Monitor):
    """Root mean square in the place of the norm: layers of unlike size cannot be added up."""

    def _end(self, optimizer, args, kwargs):
        seen = self._before is not None
        super()._end(optimizer, args, kwargs)
        for name, p in self._parameters.items() if seen else ():
            self.grad_norm[name][-1] /= math.sqrt(p.numel())


class NotCopied(ours.Monitor):
    """Keeps the live arrays for what was before the step, so nothing seems to move."""

    def _begin(self, optimizer, args, kwargs):
        super()._begin(optimizer, args, kwargs)
        if self._before is not None:
            self._before = {name: p.data for name, p in self._parameters.items()}


class NormsAddedUp(ours.Monitor):
    """Adds norms up as if they were not roots of sums."""

    def total(self, norms):
        return [sum(step) for step in zip(*norms.values())]


class ValidationLoss(ours.Monitor):
    """Does not ask whether the model trains when the criterion is called."""

    def _see_loss(self, loss):
        self._last_loss = loss
        self.loss.append(float(loss)) if not self.model.training else None


class LeavesItsHooks(ours.Monitor):
    """Unhooks nothing."""

    def __exit__(self, *exc):
        pass


class TestMonitor(RuleCase):
    numpy, torch = ours.Monitor, theirs.Monitor
    mistakes = {
        "norm of the update over norm of the new weight": Mistake(
            OverTheNewWeight,
            "Whoever measures after the step and has no copy from before.",
            "Ratios of large steps come out too small, of steps from 0 as 1 instead of infinity.",
        ),
        "rate times gradient for the update": Mistake(
            GradientTimesRate,
            "Whoever reads the rule of thumb with plain SGD in mind.",
            "Under momentum, Adam or decay it is not the step that was made.",
        ),
        "root mean square for the norm": Mistake(
            MeanSquare,
            "Whoever wants layers of unlike size on one axis.",
            "The total is not the norm that clipping looks at.",
        ),
        "the weights before the step not copied": Mistake(
            NotCopied,
            "Whoever keeps a reference to an array that is changed in place.",
            "Nothing ever seems to move.",
        ),
        "norms added up": Mistake(
            NormsAddedUp,
            "Whoever sums the norms of the layers.",
            "The total is too large by up to the root of their number.",
        ),
        "losses of validation among those of training": Mistake(
            ValidationLoss,
            "A hook that does not ask in which mode the model is.",
            "The curve has a step more an epoch, and lower ones.",
        ),
        "hooks left behind": Mistake(
            LeavesItsHooks,
            "Whoever registers a hook and drops its handle.",
            "Every later training is watched and slowed down, and memory grows.",
        ),
    }

    def check_every_number_agrees_over_two_epochs(self, log, rng):
        for run in RUNS:
            arrays = given(rng)
            a = partial(numbers, numpy_impl, type(self).numpy, run)
            b = partial(numbers, torch_impl, theirs.Monitor, run)
            log.compare(compare(a, b, arrays, "float64", by_step=True), run)
            once = partial(a, epochs=1, every=3), partial(b, epochs=1, every=3)
            log.compare(compare(*once, arrays, "float32", by_step=True), f"{run}, first step")

    def check_both_sides_say_the_same(self, log, rng):
        for run in RUNS:
            arrays, lines = given(rng), list[str]()
            (a, history), (b, _) = (
                watched(impl, Monitor, run, arrays, every=4)
                for impl, Monitor in ((numpy_impl, type(self).numpy), (torch_impl, theirs.Monitor))
            )
            log.require(str(a) == str(b), f"{a}\ntorch side\n{b}")
            log.require(a.steps == b.steps == [1, 5], f"{a.steps}, {b.steps}")
            steps = [history.step_loss[i - 1] for i in a.steps]
            log.require(a.loss == steps, f"{a.loss}, the history has {steps}")
            kind, options, _ = RUNS[run]
            made = setup(numpy_impl, arrays, kind, **options)
            with type(self).numpy(made[0], made[3], live=lines.append):
                numpy_impl.training.fit(*made)
            log.require(len(lines) == 3 and "update/weight" in lines[0], f"{lines}")
        log.require("no gradient" in str(a) and "step 5  loss" in str(a), str(a))

    def check_watching_changes_nothing_and_ends(self, log, rng):
        arrays = given(rng)
        for impl, Monitor in ((numpy_impl, type(self).numpy), (torch_impl, theirs.Monitor)):
            ends = []
            for watch in (False, True):
                model, loader, criterion, optimizer = made = setup(impl, arrays, "Adam")
                if watch:
                    monitor = Monitor(model, optimizer, criterion)
                    with monitor:
                        log.require(refused(monitor.__enter__) is not None, "entered twice")
                        impl.training.fit(*made)
                        twin = copy.deepcopy(optimizer)
                    step, nothing = len(monitor.steps), hooks(model, criterion, twin)
                    log.require(not nothing, f"a copy of the optimizer is watched: {nothing}")
                    try:
                        with monitor:
                            raise KeyboardInterrupt
                    except KeyboardInterrupt:
                        pass
                    left = hooks(model, criterion, optimizer)
                    log.require(not left, f"{impl.__name__}: hooks left behind: {left}")
                else:
                    impl.training.fit(*made)
                impl.training.fit(*made)
                ends.append([np.array(to_numpy(v)) for v in model.state_dict().values()])
            log.require(len(monitor.steps) == step, "it went on watching")
            log.require(all(map(np.array_equal, *ends)), f"{impl.__name__}: weights differ")

    def check_a_step_from_zero_and_a_gradient_of_nothing(self, log, rng):
        arrays = given(rng)
        for impl, Monitor in ((numpy_impl, type(self).numpy), (torch_impl, theirs.Monitor)):
            model, loader, criterion, optimizer = setup(impl, arrays, lr=0.1)
            with Monitor(model, optimizer) as monitor:
                log.require(str(monitor) == "Monitor: no step was watched", str(monitor))
                optimizer.step()
                impl.training.fit(model, loader, criterion, optimizer)
            bias, weight = monitor.update_ratio["net.0.bias"], monitor.grad_norm["net.0.weight"]
            log.require(bias[:2] == [0.0, math.inf], f"{impl.__name__}: {bias}")
            log.require(math.isnan(weight[0]) and weight[1] > 0, f"{impl.__name__}: {weight}")
            log.require(monitor.total(monitor.grad_norm)[0] == 0, "nothing counts as nothing")
            log.require(not monitor.loss, "a loss without a criterion")

    def check_what_is_out_of_the_ordinary_is_said(self, log, rng):
        grads: dict[str, Any] = {
            "a": [0.0, 0.0],
            "b": [np.inf, 1.0],
            "c": [300.0, 400.0],
            "d": [3e-6, 4e-6],
        }
        grads |= {"e": [0.3, 0.4], "f": None}
        words = {"a": "gradient exactly 0", "b": "gradient not finite", "c": "large step"}
        words |= {"d": "small step", "e": "", "f": "no gradient"}
        said = []
        for impl, Watch in ((numpy_impl, type(self).numpy), (torch_impl, theirs.Monitor)):
            nn: Any = numpy_impl.nn if impl is numpy_impl else torch.nn
            model = nn.Module()
            for name in grads:
                one = np.array([0.6, 0.8])
                held = nn.Parameter(one if impl is numpy_impl else torch.from_numpy(one))
                setattr(model, name, held)
            optimizer = impl.optimization.SGD(model.parameters(), lr=1e-3)
            criterion, lines = impl.losses.MSELoss(), list[str]()
            each = impl.losses.MSELoss(reduction="none")
            with (
                Watch(model, optimizer, criterion, live=lines.append) as monitor,
                Watch(model, optimizer, each) as unreduced,
            ):
                for step in range(4):
                    for name, p in model.named_parameters():
                        g = None if grads[name] is None else np.array(grads[name])
                        if step < 3 and g is not None:
                            g = 0 * one + 0.1 * (step + 1)
                        p.grad = g if g is None or impl is numpy_impl else torch.from_numpy(g)
                    pair: Any = np.array([1.0, 3.0]), np.array([float(step), 3.0])
                    pair = pair if impl is numpy_impl else to_torch(pair)
                    each(*pair)
                    if step != 2:
                        criterion(*pair)
                        model.eval()
                        criterion(pair[0], 9 + pair[1])  # as a validation would
                        model.train()
                    optimizer.step()
            rows = {row.split()[0]: row for row in str(monitor).splitlines()[2:]}
            for name, word in words.items():
                log.require(rows[name].endswith(word or "0.0005"), f"{impl.__name__}: {rows[name]}")
            losses = [0.5, 0.0, math.nan, 2.0]
            log.require(str(monitor.loss) == str(losses), f"{impl.__name__}: {monitor.loss}")
            log.require(all(map(math.isnan, unreduced.loss)), f"{unreduced.loss}")
            said.append([str(monitor), *lines])
        log.require(said[0] == said[1] and len(said[0]) == 5, f"{said}")
        log.require(said[0][-1].startswith("step 4  loss 2  lr 0.001"), said[0][-1])

    def check_a_step_is_large_beyond_a_hundredth_and_small_below_a_ten_thousandth(self, log, rng):
        words = {1e-2: "0.01", 1.001e-2: "large step", 1e-4: "0.0001", 0.999e-4: "small step"}
        for impl, Monitor in ((numpy_impl, type(self).numpy), (torch_impl, theirs.Monitor)):
            model, loader, criterion, optimizer = setup(impl, given(rng))
            with Monitor(model, optimizer) as monitor:
                impl.training.fit(model, loader, criterion, optimizer)
            for ratio, word in words.items():
                monitor.update_ratio["net.0.weight"][-1] = ratio
                row = next(r for r in str(monitor).splitlines() if r.startswith("net.0.weight"))
                log.require(row.endswith(word), f"{impl.__name__}: {row}")

    def check_infinite_weights_are_watched_in_silence(self, log, rng):
        for impl, Monitor in ((numpy_impl, type(self).numpy), (torch_impl, theirs.Monitor)):
            model, _, _, optimizer = setup(impl, given(rng), lr=0.1)
            weight = next(iter(model.parameters()))
            weight.grad = 0 * weight.data + 1
            weight.data[0, 0] = np.inf
            with Monitor(model, optimizer) as monitor:
                optimizer.step()
            size, ratio = (k["net.0.weight"] for k in (monitor.weight_norm, monitor.update_ratio))
            log.require(size == [math.inf] and str(ratio) == "[nan]", f"{impl.__name__}: {ratio}")

    def check_watching_begins_with_a_whole_step(self, log, rng):
        for impl, Monitor in ((numpy_impl, type(self).numpy), (torch_impl, theirs.Monitor)):
            model, _, _, optimizer = setup(impl, given(rng))
            monitor = Monitor(model, optimizer)

            def amid(monitor=monitor):
                monitor.__enter__()
                return 0.0

            Monitor(model, optimizer).__exit__(None, None, None)  # nothing begun, nothing to end
            optimizer.step(amid)
            log.require(not monitor.steps, f"{impl.__name__}: half a step was watched")
            optimizer.step()
            monitor.__exit__(None, None, None)
            log.require(monitor.steps == [1], f"{impl.__name__}: {monitor.steps}")

    def check_bad_arguments_are_refused(self, log, rng):
        arrays = given(rng)
        for impl, Monitor in ((numpy_impl, type(self).numpy), (torch_impl, theirs.Monitor)):
            model, _, _, optimizer = setup(impl, arrays)
            other = setup(impl, arrays)[0]
            every: Any
            for every in (0, -1, 1.5):
                said = refused(lambda: Monitor(model, optimizer, every=every))  # noqa: B023
                log.require(said is not None and f"got {every!r}" in said, f"{said}")
            said = refused(lambda: Monitor(other, optimizer))  # noqa: B023
            log.require(said is not None and "none of the model's" in said, f"{said}")


def hooks(model, criterion, optimizer):
    """What still hangs on them."""
    names = "_pre_hooks", "_post_hooks", "_optimizer_step_pre_hooks", "_optimizer_step_post_hooks"
    held = [hook for name in names for hook in getattr(optimizer, name, {}).values()]
    for module in (*model.modules(), criterion):
        held += module._forward_hooks.values()
    return held
