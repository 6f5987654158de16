"""What comes out of each layer: the same statistics from both sides, and nothing disturbed."""

import copy
from functools import partial
from typing import Any

import numpy as np
import torch

import numpy_impl.layers
import numpy_impl.losses
import numpy_impl.normalization
import numpy_impl.optimization
import numpy_impl.regularization
import numpy_impl.training
import torch_impl.layers
import torch_impl.losses
import torch_impl.normalization
import torch_impl.optimization
import torch_impl.regularization
import torch_impl.training
from numpy_impl.debugging import activations as ours
from parity_tests.debugging.test_monitor import remembered
from parity_tests.harness import RuleCase
from parity_tests.harness.bridge import to_numpy, to_torch
from parity_tests.harness.budget import compare
from parity_tests.harness.mistake import Mistake
from parity_tests.harness.refusal import refused
from torch_impl.debugging import activations as theirs

SIDES = numpy_impl, torch_impl


def network(impl):
    """Nine layers of six kinds."""
    return impl.layers.Sequential(
        impl.layers.Linear(4, 6),
        impl.normalization.BatchNorm1d(6),
        impl.layers.Sigmoid(),
        impl.layers.Linear(6, 5),
        impl.layers.Tanh(),
        impl.regularization.Dropout(0.4),
        impl.layers.Linear(5, 7),
        impl.layers.ReLU(),
        impl.layers.Linear(7, 3),
    )


def given(rng):
    """Weights so large that much saturates, biases so low that some units die, and batches."""
    state = network(numpy_impl).double().state_dict()
    arrays = {
        f"state {k}": 3 * rng.standard_normal(v.shape)
        for k, v in state.items()
        if not k.startswith("1.")
    }
    arrays["state 6.bias"] = np.array([-20.0, 0.0, -20.0, 1.0, 0.0, -3.0, 2.0])
    return arrays | {"x": rng.standard_normal((20, 4)), "y": rng.integers(0, 3, 20)}


def setup(impl, arrays):
    """Model, batches, criterion and optimizer on one side, and the stream of dropout seeded."""
    model = network(impl)
    model = model if arrays["x"].dtype == np.float32 else model.double()
    state = {k[6:]: v for k, v in arrays.items() if k.startswith("state")}
    if impl is torch_impl:
        arrays, state = to_torch(dict(arrays)), to_torch(state)
    model.load_state_dict(state, strict=False)
    (numpy_impl if impl is numpy_impl else torch.default_generator).manual_seed(7)
    loader = impl.training.batches(arrays["x"], arrays["y"], batch_size=12)
    optimizer = impl.optimization.SGD(model.parameters(), lr=0.05)
    return model, loader, impl.losses.CrossEntropyLoss(), optimizer


def watched(impl, Watch, arrays, epochs=2, **options):
    """A training under a monitor."""
    model, loader, criterion, optimizer = setup(impl, arrays)
    with Watch(model, **options) as monitor:
        rows = loader.dataset.tensors
        impl.training.fit(
            model, loader, criterion, optimizer, epochs=epochs, validation=[(rows[0], rows[1])]
        )
    return monitor


def looked_at(impl, Watch, outputs, kind="Identity", **options):
    """A monitor of one layer that gives these outputs, one after the other."""
    layer, coming = getattr(impl.layers, kind)(), iter(outputs)
    layer.register_forward_hook(lambda module, args, output: next(coming))
    model = impl.layers.Sequential(layer)
    with Watch(model, **options) as monitor:
        for _ in outputs:
            model(np.zeros(1) if impl is numpy_impl else torch.zeros(1))
    return monitor


@remembered
def numbers(impl, Watch, arrays, counts=True, **options):
    """Every number that the monitor wrote down, by label."""
    monitor, dtype = watched(impl, Watch, arrays, **options), arrays["x"].dtype
    found = {"step number": np.array(monitor.calls)}
    for kind in ("mean", "std", "saturation", "dead"):
        for name, entries in getattr(monitor, kind).items():
            found[f"step {kind} {name}"] = np.array(entries, dtype)
    for name, entries in monitor.histogram.items():
        found[f"step ends {name}"] = np.array([entry[1:] for entry in entries], dtype)
        if counts:
            found[f"step counts {name}"] = np.stack([to_numpy(entry[0]) for entry in entries])
    return found


class Changed(ours.ActivationMonitor):
    """Changes what was measured of one output."""

    def _measure(self, module, y):
        found = super()._measure(module, y)
        return found | self.instead(module, y, found)

    def instead(self, module, y, found):
        """What takes the place of the right numbers."""
        return {}


class DeadNumbers(Changed):
    """Counts zeros among all numbers: half of them are under any healthy ReLU."""

    def instead(self, module, y, found):
        return {"dead": float((y == 0).mean())} if "dead" in found else {}


class DeadSamples(Changed):
    """Counts the samples for which every unit is silent, along the other axis."""

    def instead(self, module, y, found):
        return {"dead": float((y == 0).all(axis=1).mean())} if "dead" in found else {}


class OnlyAbove(Changed):
    """Looks at the upper end alone."""

    def instead(self, module, y, found):
        return {"saturation": float((y > 0.98).mean())} if "saturation" in found else {}


class OneThreshold(Changed):
    """Takes |y| > 0.99 for both: half a percent of tanh's range, one end of the sigmoid's."""

    def instead(self, module, y, found):
        return {"saturation": float((abs(y) > 0.99).mean())} if "saturation" in found else {}


class Unbiased(Changed):
    """Divides by n-1, as `Tensor.std` does if not told otherwise."""

    def instead(self, module, y, found):
        return {"std": float(y.std(ddof=1))}


class BeforeTheLayer(ours.ActivationMonitor):
    """Measures what comes in for what goes out."""

    def __enter__(self):
        super().__enter__()
        names = {id(m): n for n, m in self._watched.items()}
        handles, self._handles = self._handles[:-1], self._handles[-1:]
        for handle, module in zip(handles, self._watched.values()):
            handle.remove()

            def look(m, args, output):
                self._seen[names[id(m)]] = self._measure(m, args[0])

            self._handles.append(module.register_forward_hook(look))
        return self


class EveryForward(ours.ActivationMonitor):
    """Counts the forwards of validation too."""

    def __enter__(self):
        super().__enter__()

        def finish(module, args, output):
            if not self.model.training:
                self._finish()

        self._handles.append(self.model.register_forward_hook(finish))
        return self

    def _due(self):
        return self._taken % self.every == 0


class LeavesItsHooks(ours.ActivationMonitor):
    """Unhooks nothing."""

    def __exit__(self, *exc):
        pass


class TestActivationMonitor(RuleCase):
    numpy, torch = ours.ActivationMonitor, theirs.ActivationMonitor
    mistakes = {
        "dead share over numbers, not units": Mistake(
            DeadNumbers,
            "Whoever takes the mean of `y == 0`.",
            "Half of a healthy network is called dead.",
        ),
        "dead share over samples, not units": Mistake(
            DeadSamples,
            "Whoever takes the other axis.",
            "Dead units are not seen while any other one lives.",
        ),
        "saturation at the upper end only": Mistake(
            OnlyAbove,
            "Whoever checks `y > 0.99`.",
            "The lower half of the saturated units is missed.",
        ),
        "one saturation threshold for every range": Mistake(
            OneThreshold,
            "Whoever applies tanh's threshold to a sigmoid, or the other way round.",
            "A sigmoid stuck at 0 counts as fine.",
        ),
        "unbiased standard deviation": Mistake(
            Unbiased,
            "Whoever calls `Tensor.std()` on one side and `np.std` on the other.",
            "The two differ by sqrt(n / (n - 1)), which is seen in small batches.",
        ),
        "what comes in for what goes out": Mistake(
            BeforeTheLayer,
            "A hook that takes its second argument for the output.",
            "Every layer is given the statistics of the one before it.",
        ),
        "forwards of validation counted": Mistake(
            EveryForward,
            "A hook that does not ask in which mode the model is.",
            "Dropout and batch norm behave otherwise there, and curves jump at every epoch.",
        ),
        "hooks left behind": Mistake(
            LeavesItsHooks,
            "Whoever registers a hook and drops its handle.",
            "Every later forward is measured, and the lists grow.",
        ),
    }

    def check_every_number_agrees_over_two_epochs(self, log, rng):
        arrays = given(rng)
        a = partial(numbers, numpy_impl, type(self).numpy)
        b = partial(numbers, torch_impl, theirs.ActivationMonitor)
        log.compare(compare(a, b, arrays, "float64", by_step=True), "every forward")
        few = {"every": 3, "layers": ["2", "7"], "bins": 7, "margin": 0.1}
        few_of = partial(a, **few), partial(b, **few)
        log.compare(compare(*few_of, arrays, "float64", by_step=True), f"{few}")
        one = {"epochs": 1, "every": 2, "counts": False}  # rounding moves a number to the next bin
        one_of = partial(a, **one), partial(b, **one)
        log.compare(compare(*one_of, arrays, "float32", by_step=True), "first forward")

    def check_both_sides_say_the_same(self, log, rng):
        arrays = given(rng)
        a = watched(numpy_impl, type(self).numpy, arrays)
        b = watched(torch_impl, theirs.ActivationMonitor, arrays)
        log.require(str(a) == str(b) and "of units dead" in str(a), f"{a}\ntorch side\n{b}")
        log.require(a.calls == b.calls == [1, 2, 3, 4], f"{a.calls}, {b.calls}")
        log.require(set(a.saturation) == {"2", "4"} and set(a.dead) == {"7"}, f"{a.saturation}")
        log.require(a.dead["7"][0] >= 2 / 7, f"two units start dead, got {a.dead}")
        total = [sum(entry[0].tolist()) for entry in a.histogram["7"]]
        log.require(total == [84, 56, 84, 56], f"{total}")

    def check_what_is_not_finite_is_told_apart(self, log, rng):
        arrays = given(rng)
        for planted in ([np.nan], [np.inf, -np.inf], "all", "one value"):
            x = np.full((3, 4), 2.5) if planted == "one value" else arrays["x"][:3].copy()
            if planted == "all":
                x[...] = np.nan
            elif planted != "one value":
                x.flat[: len(planted)] = planted
            found = []
            for impl, Watch in ((numpy_impl, type(self).numpy), (torch_impl, self.torch)):
                model = impl.layers.Sequential(impl.layers.Identity())
                with Watch(model, bins=4) as monitor:
                    model(x if impl is numpy_impl else to_torch(x))
                counts, *ends = monitor.histogram["0"][0]
                mean, std = monitor.mean["0"][0], monitor.std["0"][0]
                found.append([counts.tolist(), ends, np.isfinite(mean), np.isfinite(std)])
            log.require(str(found[0]) == str(found[1]), f"{planted}: {found}")

    def check_a_histogram_counts_every_finite_number(self, log, rng):
        near, far = np.nextafter(np.float32(1), np.float32(0)), 3.4e38
        drawn: list[tuple[list[float], list[int]]] = [
            ([near, 1.0, 1.0, 1.0], [1, 0, 0, 3]),  # a tanh that has saturated
            ([1e9, 1e9, 1e9, np.inf], [0, 0, 3, 0]),
            ([-far, far, 0.0, np.nan], [1, 0, 1, 1]),
            ([-5.0, 5.0, 0.0, 0.1, -0.1], [1, 1, 2, 1]),
            ([0.0, 1.0, 2.0, 3.0, 4.0], [1, 1, 1, 2]),
        ]
        for values, counts in drawn:
            for dtype in (np.float32, np.float64):
                x = np.array(values, dtype)[:, None]
                for impl, Watch in ((numpy_impl, type(self).numpy), (torch_impl, self.torch)):
                    given = x if impl is numpy_impl else to_torch(x)
                    monitor = looked_at(impl, Watch, [given], bins=4)
                    found, *ends = monitor.histogram["0"][0]
                    where = f"{impl.__name__}, {values} in {dtype.__name__}: {found}, {ends}"
                    log.require(found.tolist() == counts, where)
                    low, high = (float(end(x[np.isfinite(x)])) for end in (np.min, np.max))
                    widen = 0.5 * (low == high)
                    log.require(ends == [low - widen, high + widen], where)

    def check_what_lies_on_the_edge_of_a_bin_falls_as_in_histc(self, log, rng):
        for dtype in (np.float32, np.float64):
            x = (np.arange(301) / 300).astype(dtype)
            counts = torch.histc(torch.from_numpy(x), 300).tolist()
            for impl, Watch in ((numpy_impl, type(self).numpy), (torch_impl, self.torch)):
                given = x if impl is numpy_impl else to_torch(x)
                found = looked_at(impl, Watch, [given], bins=300).histogram["0"][0][0].tolist()
                log.require(found == counts, f"{impl.__name__}, {dtype.__name__}: {found}")

    def check_shares_are_told_as_the_docstring_has_them(self, log, rng):
        edges = {"Sigmoid": [0.25, 0.75, 0.2, 0.8], "Tanh": [0.5, -0.5, -0.6, 0.6]}
        dead: list[Any] = [0.0, 1.0, [0.0, 0.0], [[0.0, 1.0], [0.0, 0.0]]]
        dead += [[[[0.0, 1.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 3.0]]]]
        for impl, Watch in ((numpy_impl, type(self).numpy), (torch_impl, self.torch)):
            side: Any = np.array if impl is numpy_impl else torch.tensor
            for kind, y in edges.items():
                monitor = looked_at(impl, Watch, [side(y)], kind, margin=0.25)
                log.require(monitor.saturation["0"] == [0.5], f"{kind}: {monitor.saturation}")
            monitor = looked_at(impl, Watch, list(map(side, dead)), "ReLU")
            log.require(monitor.dead["0"] == [1, 0, 1, 0.5, 0.5], f"{monitor.dead}")
            row = "0  0.5         1           50% of units dead"
            log.require(str(monitor).endswith(row), f"the last forward: {monitor}")

    def check_outputs_that_are_no_floats_are_passed_over(self, log, rng):
        x = np.array([[1.0, 2.0], [3.0, 6.0]])
        for impl, Watch in ((numpy_impl, type(self).numpy), (torch_impl, self.torch)):
            one = x if impl is numpy_impl else to_torch(x)
            passed: list[Any] = [one > 2, one[:0], {"y": one}, 3.0]
            monitor = looked_at(impl, Watch, passed)
            log.require(monitor.calls == [1, 2, 3, 4] and not monitor.mean, f"{monitor.mean}")
            log.require(str(monitor) == "forward 4\n  mean        std", str(monitor))
            monitor = looked_at(impl, Watch, [(one, -one), one], every=2)
            log.require(monitor.mean["0"] == [3.0], f"of several the first: {monitor.mean}")
            monitor = Watch(impl.layers.Sequential(impl.layers.Identity()))
            said = str(monitor)
            log.require(said == "ActivationMonitor: no forward was watched", said)
            monitor.__exit__(None, None, None)  # nothing was begun, nothing is to be ended

    def check_watching_changes_nothing_and_ends(self, log, rng):
        arrays = given(rng)
        for impl, Watch in ((numpy_impl, type(self).numpy), (torch_impl, theirs.ActivationMonitor)):
            ends = []
            for watch in (False, True):
                made = model, *_ = setup(impl, arrays)
                if watch:
                    monitor = Watch(model)
                    with monitor:
                        log.require(refused(monitor.__enter__) is not None, "entered twice")
                        impl.training.fit(*made)
                    seen = len(monitor.calls)
                    try:
                        with monitor:
                            raise KeyboardInterrupt
                    except KeyboardInterrupt:
                        pass
                    left = [h for m in model.modules() for h in m._forward_hooks.values()]
                    log.require(not left, f"{impl.__name__}: hooks left behind: {left}")
                else:
                    impl.training.fit(*made)
                impl.training.fit(*made)
                ends.append([np.array(to_numpy(v)) for v in model.state_dict().values()])
            log.require(len(monitor.calls) == seen, "it went on watching")
            log.require(all(map(np.array_equal, *ends)), f"{impl.__name__}: the run differs")

    def check_a_forward_that_fails_leaves_no_half_of_it(self, log, rng):
        arrays = given(rng)
        for impl, Watch in ((numpy_impl, type(self).numpy), (torch_impl, theirs.ActivationMonitor)):
            model, loader, *_ = setup(impl, arrays)
            x = loader.dataset.tensors[0]
            with Watch(model) as monitor:
                last, model[8] = model[8], impl.layers.Linear(9, 3).double()
                log.require(refused(lambda: model(x)) is not None, "9 took 7")  # noqa: B023
                model[8] = last
                model(x)
                copy.deepcopy(model)(x)  # which nobody watches
                model(x)
            entries = {name: len(entry) for name, entry in monitor.mean.items()}
            log.require(monitor.calls == [1, 2], f"{impl.__name__}: {monitor.calls}")
            log.require(entries == dict.fromkeys("012345678", 2), f"{impl.__name__}: {entries}")

    def check_bad_arguments_are_refused(self, log, rng):
        wrong: list[tuple[dict[str, Any], str]] = [
            ({"every": 0}, "every must be a positive whole number, got 0"),
            ({"bins": 0}, "bins must"),
            ({"bins": 2.0}, "bins must"),
            ({"margin": 0.0}, "margin must"),
            ({"margin": 0.5}, "margin must"),
            ({"layers": ["9"]}, "the model has no module named ['9']"),
        ]
        for impl, Watch in ((numpy_impl, type(self).numpy), (torch_impl, theirs.ActivationMonitor)):
            for options, word in wrong:
                said = refused(partial(Watch, network(impl), **options))
                log.require(said is not None and said.startswith(word), f"{options}: {said}")
