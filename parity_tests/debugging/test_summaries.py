"""What goes to a dashboard: the same calls from both sides, and TensorBoard's files read back."""

import importlib.util
import sys
from typing import Any

import numpy as np
import pytest

import numpy_impl.training
import torch_impl.training
from numpy_impl.debugging import ActivationMonitor, Monitor
from numpy_impl.debugging import summaries as ours
from parity_tests.debugging.test_monitor import given, setup
from parity_tests.harness import RuleCase
from parity_tests.harness.bridge import to_torch
from parity_tests.harness.mistake import Mistake
from torch_impl.debugging import ActivationMonitor as TorchActivationMonitor
from torch_impl.debugging import Monitor as TorchMonitor
from torch_impl.debugging import summaries as theirs


class Recorder:
    """Writes down what a SummaryWriter would be told."""

    def __init__(self):
        self.scalars, self.histograms = [], []

    def add_scalar(self, tag, scalar_value, global_step):
        self.scalars.append((tag, global_step, float(f"{scalar_value:.9g}")))

    def add_histogram_raw(self, tag, **numbers):
        limits = [round(float(x), 9) for x in numbers["bucket_limits"]]
        whole = [numbers[k] for k in ("num", "global_step", "bucket_counts")]
        moments = [float(f"{numbers[k]:.9g}") for k in ("min", "max", "sum", "sum_squares")]
        self.histograms.append((tag, whole, limits, moments))
        self.last = numbers


def watched(impl, arrays):
    """A short run under both monitors."""
    made = model, _, criterion, optimizer = setup(impl, arrays, "Adam", lr=1e-2)
    sides = {numpy_impl: (Monitor, ActivationMonitor)}
    Watch, Look = sides.get(impl, (TorchMonitor, TorchActivationMonitor))
    rows = made[1].dataset.tensors
    with Watch(model, optimizer, criterion, every=2) as m, Look(model, every=3, bins=5) as a:
        history = impl.training.fit(
            *made,
            epochs=2,
            validation=[(rows[0], rows[1])],
            metric=impl.training.accuracy,
        )
    return {"history": history, "monitor": m, "activations": a}


class Between:
    """Hands on to a writer what it is told, changed."""

    def __init__(self, writer, change):
        self.writer, self.change = writer, change

    def add_scalar(self, tag, scalar_value, global_step):
        self.writer.add_scalar(*self.change(tag, scalar_value, global_step))

    def add_histogram_raw(self, tag, **numbers):
        self.writer.add_histogram_raw(tag, **numbers)


def from_zero(writer, **told):
    """Steps and epochs counted from 0."""
    ours.write_summaries(Between(writer, lambda tag, value, step: (tag, value, step - 1)), **told)


def without_histograms(writer, *, history=None, monitor=None, activations=None):
    """Scalars alone."""
    ours.write_summaries(writer, history=history, monitor=monitor)


def one_curve(writer, **told):
    """Every layer under one tag."""
    short = Between(writer, lambda tag, value, step: (tag.split("/")[0], value, step))
    ours.write_summaries(short, **told)


class TestWriteSummaries(RuleCase):
    numpy, torch = ours.write_summaries, theirs.write_summaries
    mistakes = {
        "counted from 0": Mistake(
            from_zero,
            "A bare enumerate.",
            "Curves of one run are a step apart from those of the history.",
        ),
        "no histograms": Mistake(
            without_histograms,
            "Whoever writes means and deviations alone.",
            "A layer with two heaps looks like one with none.",
        ),
        "all layers under one tag": Mistake(
            one_curve,
            "Whoever leaves the layer's name out.",
            "One curve jumps between the layers.",
        ),
    }

    def check_both_sides_tell_a_writer_the_same(self, log, rng):
        arrays, told = given(rng), list[Recorder]()
        for impl, write in ((numpy_impl, type(self).numpy), (torch_impl, theirs.write_summaries)):
            told.append(Recorder())
            write(told[-1], **watched(impl, arrays))
        a, b = told
        log.require(len(a.scalars) > 100 and len(a.histograms) == 10, f"{len(a.scalars)}")
        gone = [x for x in (*b.scalars, *b.histograms) if x not in (*a.scalars, *a.histograms)]
        log.require(not gone, f"{len(gone)} differ: {gone[:3]}")
        tags = {tag for tag, *_ in a.scalars}
        for tag in ("step/loss", "epoch/validation metric", "gradient/net.0.weight", "mean/net.4"):
            log.require(tag in tags, f"{tag} is missing among {tags}")
        log.require(("step/lr", 1, 0.01) in a.scalars, "no rate at step 1")
        log.require(a.last["num"] == sum(a.last["bucket_counts"]), f"{a.last}")

    def check_what_was_not_watched_is_left_out(self, log, rng):
        arrays = given(rng)
        for impl, write in ((numpy_impl, type(self).numpy), (torch_impl, theirs.write_summaries)):
            told, nothing = watched(impl, arrays), Recorder()
            write(nothing)
            log.require(not nothing.scalars and not nothing.histograms, "told of nothing")
            some = Recorder()
            write(some, monitor=told["monitor"])
            kinds = {tag.split("/")[0] for tag, *_ in some.scalars}
            log.require(kinds == {"gradient", "weight", "update"}, f"{kinds}")

    def check_a_histogram_of_nothing_finite_is_left_out(self, log, rng):
        for impl, write in ((numpy_impl, type(self).numpy), (torch_impl, theirs.write_summaries)):
            model, told = impl.layers.Sequential(impl.layers.Identity()), Recorder()
            Look: Any = ActivationMonitor if impl is numpy_impl else TorchActivationMonitor
            with Look(model, bins=2) as seen:
                for number in (np.nan, 1.0, np.inf):
                    x = np.array([[number, number], [2.0, number]])
                    x = np.full((2, 2), number) if number != 1 else x
                    model(x if impl is numpy_impl else to_torch(x))
            write(told, activations=seen)
            found = [(tag, numbers[:2]) for tag, numbers, *_ in told.histograms]
            log.require(found == [("activation/0", [4, 2])], f"{impl.__name__}: {found}")
            log.require(told.last["bucket_counts"] == [3, 1], f"{told.last}")
            for key, value in {"min": 1, "max": 2, "sum": 5, "sum_squares": 7}.items():
                near = np.isclose(told.last[key], value, rtol=1e-12)
                log.require(bool(near), f"{impl.__name__}: {key} is {told.last[key]}")


def test_a_folder_wants_the_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match=r"written-twice\[tensorboard\]"):
        theirs.write_summaries(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None, reason="tensorboard is not installed"
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the packages under tensorboard
def test_tensorboard_reads_back_what_was_written(tmp_path):
    told = watched(torch_impl, given(np.random.default_rng(0)))
    theirs.write_summaries(str(tmp_path), **told)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path)).Reload()
    losses = [(event.step, event.value) for event in events.Scalars("step/loss")]
    assert [step for step, _ in losses] == list(range(1, 7))
    wanted = told["history"].step_loss
    np.testing.assert_allclose([value for _, value in losses], wanted, rtol=1e-6)
    (first, *_) = events.Histograms("activation/net.2")
    counts = told["activations"].histogram["net.2"][0][0].tolist()
    assert first.histogram_value.num == sum(counts)
    assert sum(first.histogram_value.bucket) == sum(counts)
