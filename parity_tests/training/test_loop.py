"""Whole trainings on digits, equal at every step: what the rest of the suite is for."""

import contextlib
import io
import re
import time
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from tqdm import tqdm

import numpy_impl.training
import torch_impl.losses
import torch_impl.optimization
import torch_impl.regularization
import torch_impl.training
from numpy_impl.losses import MSELoss
from numpy_impl.normalization import BatchNorm1d
from numpy_impl.optimization import SGD, Adam
from numpy_impl.regularization import EarlyStopping, ElasticNet
from parity_tests.harness import Mistake, RuleCase, TrainingParity
from parity_tests.harness.bridge import to_numpy, to_torch
from parity_tests.harness.refusal import refused


class TestPlainMLP(TrainingParity):
    """All training digits, SGD with momentum, a rate that decays every epoch."""

    numpy, torch = numpy_impl.training.fit, torch_impl.training.fit
    samples = None
    epochs = 4
    mistakes = {
        "momentum damped": Mistake(
            {"optimizer": lambda self, impl: partial(SGD, momentum=0.9, dampening=0.9)},
            "Momentum written as a running mean of gradients.",
            "The step is ten times too small, and training ten times too slow.",
        ),
        "schedule moved on every step": Mistake(
            {"scheduler_steps": "step"},
            "A classic slip: scheduler.step() inside the loop over batches.",
            "A decay meant for epochs is over within the first.",
        ),
        "shuffled once, for all epochs": Mistake(
            {"batches": lambda self, impl, data: list(TestPlainMLP().batches(impl, data))},
            "A classic slip: batches are made before the loop over epochs.",
            "Every epoch goes through the same batches in the same order.",
        ),
    }
    scheduler_steps = "epoch"

    def make(self, impl):
        return impl.architectures.DeepMLP([64, 32, 10])

    def optimizer(self, impl):
        return partial(impl.optimization.SGD, momentum=0.9)

    def batches(self, impl, data):
        return impl.training.batches(
            data.x, data.y, batch_size=64, shuffle=True, generator=data.generator
        )

    def train(self, impl, model, data, epochs):
        optimizer = self.optimizer(impl)(model.parameters(), lr=0.1)
        return impl.training.fit(
            model,
            self.batches(impl, data),
            impl.losses.CrossEntropyLoss(),
            optimizer,
            epochs=epochs,
            validation=[(data.x_val, data.y_val)],
            metric=impl.training.accuracy,
            scheduler=impl.optimization.ExponentialLR(optimizer, gamma=0.8),
            scheduler_steps=self.scheduler_steps,
        )


def keeping_a_tenth(case):
    """The network with norms that keep 0.1 of their old statistics and take 0.9 of the new."""
    model = TestNormAndDropout.make(case, numpy_impl)
    for module in model.modules():
        if isinstance(module, BatchNorm1d):
            module.momentum = 0.9
    return model


class TestNormAndDropout(TrainingParity):
    """Batch norm, dropout, AdamW that leaves norms undecayed, warm-up and cosine, clipping."""

    numpy, torch = numpy_impl.training.train_step, torch_impl.training.train_step
    epochs = 6
    mistakes = {
        "clipped by value": Mistake(
            {"clip": {"clip_value": 0.5}},
            "clip_grad_value_ taken for clip_grad_norm_.",
            "The direction of the step changes; the norm stays large.",
        ),
        "decay on every parameter": Mistake(
            {"groups": lambda self, impl, model: [{"params": list(model.parameters())}]},
            "torch itself, if model.parameters() is handed over as it is.",
            "Biases and the scales of norms are pulled to 0.",
        ),
        "momentum of the norms the other way round": Mistake(
            {"make": lambda self, impl: keeping_a_tenth(self)},
            "Keras's and the guide's momentum, taken over as it stands.",
            "Training is right; validation sees the statistics of the last batch.",
        ),
        "no warm-up": Mistake(
            {
                "schedule": lambda self, impl, optimizer: impl.optimization.CosineAnnealingLR(
                    optimizer, T_max=30
                )
            },
            "Recipes that start at the full rate.",
            "The first steps are too large for weights that were just drawn.",
        ),
    }
    clip = {"clip_norm": 0.5}

    def make(self, impl):
        return impl.architectures.DeepMLP([64, 32, 32, 10], batch_norm=True, dropout=[0.2, 0.0])

    def groups(self, impl, model):
        return impl.optimization.decay_groups(model, 0.05)

    def schedule(self, impl, optimizer):
        cosine = impl.optimization.CosineAnnealingLR(optimizer, T_max=25)
        return impl.optimization.warmup_then(cosine, warmup_epochs=5)

    def train(self, impl, model, data, epochs):
        optimizer = impl.optimization.AdamW(self.groups(impl, model), lr=2e-2)
        return impl.training.fit(
            model,
            impl.training.batches(
                data.x, data.y, batch_size=64, shuffle=True, generator=data.generator
            ),
            impl.losses.CrossEntropyLoss(label_smoothing=0.1),
            optimizer,
            epochs=epochs,
            validation=impl.training.batches(data.x_val, data.y_val, batch_size=100),
            metric=impl.training.accuracy,
            scheduler=self.schedule(impl, optimizer),
            scheduler_steps="step",
            **self.clip,
        )


class NotRestored(EarlyStopping):
    """Stops in time and keeps the last weights."""

    def restore(self, model):
        pass


class TestResidualWithEarlyStopping(TrainingParity):
    """Residual blocks under Adam with amsgrad, ended by early stopping at its best weights."""

    numpy, torch = EarlyStopping, torch_impl.regularization.EarlyStopping
    epochs = 14
    samples = 160
    batch_size = 16
    mistakes = {
        "best weights not restored": Mistake(
            {"stopper": lambda self, impl: NotRestored(2, 0.002)},
            "Keras's EarlyStopping, unless told restore_best_weights=True.",
            "The run ends in time, with the weights of its last and worse epoch.",
        ),
        "one epoch more of patience": Mistake(
            {"stopper": lambda self, impl: EarlyStopping(3, 0.002)},
            "Written with > for >=, as torch's ReduceLROnPlateau counts.",
            "The run ends an epoch later.",
        ),
        "amsgrad forgotten": Mistake(
            {"optimizer": lambda self, impl: partial(Adam, amsgrad=False)},
            "A classic slip: the option is taken and never used.",
            "Steps grow again after rare large gradients.",
        ),
    }

    def make(self, impl):
        return impl.architectures.ResidualMLP(
            [64, 24, 24, 16, 10], learning_rate=0.02, pre_activation=True
        )

    def stopper(self, impl):
        return impl.regularization.EarlyStopping(2, 0.002)

    def optimizer(self, impl):
        return partial(impl.optimization.Adam, amsgrad=True)

    def train(self, impl, model, data, epochs):
        return model.fit(
            data.x,
            data.y,
            epochs,
            self.batch_size,
            validation=(data.x_val, data.y_val),
            optimizer=self.optimizer(impl),
            generator=data.generator,
            early_stopping=self.stopper(impl),
        )


class GuidesGradient(MSELoss):
    """The guide's: error over the batch size, which is D/2 times the gradient of this loss."""

    def backward(self, dloss=1.0):
        dx = super().backward(dloss)
        return dx * (dx.shape[1] / 2)


class TestRegression(TrainingParity):
    """The lower half of a digit from its upper half: RMSprop, MSELoss, an L1 and L2 penalty."""

    numpy, torch = ElasticNet, torch_impl.regularization.ElasticNet
    epochs = 5
    copies_weights = True
    mistakes = {
        "the guide's gradient, D/2 times the loss's": Mistake(
            {"criterion": lambda self, impl: GuidesGradient()},
            "The guide's DeepMLP descends (a - y) / N and prints the mean over all elements.",
            "Steps are D/2 times too large, 16 times here.",
        ),
        "penalty on half the squares, gradient of the whole": Mistake(
            {"penalty": lambda self, impl: ElasticNet(1e-4, 2e-3)},
            "The guide's L2: a penalty without the half.",
            "Weights are pulled to 0 twice as hard.",
        ),
        "biases pay too": Mistake(
            {"penalty": lambda self, impl: ElasticNet(1e-4, 1e-3, lambda name, p: True)},
            "A loop over all parameters.",
            "Outputs are pulled to 0, for no gain.",
        ),
    }

    def arrays(self):
        given = super().arrays()
        for part in ("", "_val"):
            digits = given[f"x{part}"]
            given[f"x{part}"], given[f"y{part}"] = digits[:, :32].copy(), digits[:, 32:].copy()
        return given

    def make(self, impl):
        return impl.architectures.DeepMLP(
            [32, 24, 32], activation="tanh", task="regression", batch_norm=True
        )

    def criterion(self, impl):
        return impl.losses.MSELoss()

    def penalty(self, impl):
        return impl.regularization.ElasticNet(1e-4, 1e-3)

    def train(self, impl, model, data, epochs):
        return impl.training.fit(
            model,
            impl.training.batches(
                data.x, data.y, batch_size=64, shuffle=True, generator=data.generator
            ),
            self.criterion(impl),
            impl.optimization.RMSprop(model.parameters(), lr=2e-3, momentum=0.5),
            epochs=epochs,
            validation=[(data.x_val, data.y_val)],
            metric=impl.losses.r2_score,
            penalty=self.penalty(impl),
        )


def small(impl, given, layers=(4, 6, 3), **options):
    """A small network with its loss, optimizer and batches, on one side."""
    model = impl.architectures.DeepMLP(list(layers), **options).double()
    arrays = given["x"], given["y"]
    arrays = arrays if impl is numpy_impl else to_torch(arrays)
    optimizer = impl.optimization.SGD(model.parameters(), lr=0.1)
    return model, impl.losses.CrossEntropyLoss(), optimizer, arrays


class BothLoops(RuleCase):
    """What a loop promises beside the numbers, asked of both sides."""

    def given(self, rng):
        return {"x": rng.standard_normal((23, 4)), "y": rng.integers(0, 3, 23)}


def leaves_evaluation_mode_on(model, batches, criterion, optimizer, **options):
    history = numpy_impl.training.fit(model, batches, criterion, optimizer, **options)
    model.eval()
    return history


def thaws_what_was_frozen(model, batches, criterion, optimizer, **options):
    model.train()
    return numpy_impl.training.fit(model, batches, criterion, optimizer, **options)


class TestFit(BothLoops):
    numpy, torch = numpy_impl.training.fit, torch_impl.training.fit
    mistakes = {
        "left in evaluation mode": Mistake(
            leaves_evaluation_mode_on,
            "A classic slip: eval() before validation, and no train() after it.",
            "From the second epoch on nothing is dropped and no statistics move.",
        ),
        "frozen layers put in training mode": Mistake(
            thaws_what_was_frozen,
            "Written as model.train() at the start of every epoch.",
            "The statistics of a frozen norm drift to the new data.",
        ),
    }

    def fits(self):
        yield numpy_impl, type(self).numpy
        yield torch_impl, torch_impl.training.fit

    def check_modes_are_kept_through_validation(self, log, rng):
        given = self.given(rng)
        for impl, fit in self.fits():
            model, loss, optimizer, data = small(impl, given, batch_norm=True, dropout=0.5)
            frozen = model.net[1].eval()
            before = np.array(to_numpy(frozen.running_mean))
            fit(model, [data], loss, optimizer, validation=[data])
            kept = np.array_equal(to_numpy(frozen.running_mean), before)
            log.require(kept and not frozen.training, f"{impl.__name__}: a frozen norm was thawed")
            log.require(
                model.training and model.net[3].training, f"{impl.__name__}: not in training"
            )
            fit(model.eval(), [data], loss, optimizer)
            log.require(frozen.training, f"{impl.__name__}: trained in evaluation mode")

    def check_a_second_call_goes_on_in_the_same_history(self, log, rng):
        given = self.given(rng)
        for impl, fit in self.fits():
            model, loss, optimizer, data = small(impl, given)
            history = impl.training.History()
            for epochs in (2, 0, 1):
                back = fit(model, [data], loss, optimizer, epochs=epochs, history=history)
                log.require(back is history, f"{impl.__name__}: another history came back")
            log.require((history.epochs, history.steps) == (3, 3), f"{history.to_dict()}")

    def check_a_nan_is_located_by_epoch_step_and_layer(self, log, rng):
        given, said = self.given(rng), list[Any]()
        for impl, fit in self.fits():
            model, loss, optimizer, (x, y) = small(impl, given)
            model.load_state_dict({k: v * 0 + 0.1 for k, v in model.state_dict().items()})
            bad = x * 1.0
            bad[1, 2] = np.inf
            history = impl.training.History()
            fit(model, [(x, y)], loss, optimizer, history=history)
            both = [(x, y), (bad, y)]
            error = located(partial(fit, model, both, loss, optimizer, history=history))
            said.append((str(error), error.epoch, error.step, error.layer, history.steps))
            error = located(partial(fit, model, both[:1], loss, optimizer, validation=both[1:]))
            said.append((str(error), error.epoch, error.step, error.layer))
        log.require(said[:2] == said[2:], f"{said}")
        log.require(said[0][1:] == (2, 2, None, 2), f"{said[0]}")
        log.require(said[0][0].startswith("epoch 2, step 2: the loss is nan; input 0"), said[0][0])
        log.require(said[1][0].startswith("epoch 1, validation: the loss is nan"), said[1][0])

    def check_a_run_that_is_stopped_says_so(self, log, rng):
        given = self.given(rng)
        for impl, fit in self.fits():
            model, loss, optimizer, data = small(impl, given)
            for patience, wanted in ((1, (2, True)), (9, (3, False))):
                stopper = impl.regularization.EarlyStopping(patience, min_delta=1e9)
                history = fit(
                    model,
                    [data],
                    loss,
                    optimizer,
                    epochs=3,
                    validation=[data],
                    early_stopping=stopper,
                )
                found = history.epochs, history.stopped_early
                log.require(found == wanted, f"{impl.__name__}: {found}, wanted {wanted}")

    def check_what_cannot_be_done_is_refused_before_anything_moves(self, log, rng):
        given = self.given(rng)
        for impl, fit in self.fits():
            model, loss, optimizer, data = small(impl, given)
            before = [np.array(to_numpy(p.data)) for p in model.parameters()]
            stopper = impl.regularization.EarlyStopping()
            for options, words in (
                ({"epochs": -1}, "epochs must be a whole number, at least 0, got -1"),
                ({"epochs": 1.5}, "got 1.5"),
                ({"metric": impl.training.accuracy}, "look at validation batches, got none"),
                ({"early_stopping": stopper}, "look at validation batches, got none"),
                (
                    {"early_stopping": stopper, "validation": [data], "monitor": "val_metric"},
                    'monitor="val_metric" wants a metric',
                ),
                ({"monitor": "loss"}, 'monitor must be "val_loss" or "val_metric", got \'loss\''),
                ({"scheduler_steps": "batch"}, 'must be "epoch" or "step", got \'batch\''),
                ({"clip_norm": 1.0, "clip_value": 1.0}, "clip_value"),
            ):
                said = refused(partial(fit, model, [data], loss, optimizer, **options))
                log.require(
                    said is not None and words in said, f"{impl.__name__} {options}: {said}"
                )
            said = refused(partial(fit, model, [], loss, optimizer))
            log.require(said is not None and "no batches" in said, f"{impl.__name__}: {said}")
            after = [np.array(to_numpy(p.data)) for p in model.parameters()]
            log.require(all(map(np.array_equal, before, after)), f"{impl.__name__}: weights moved")
            said = refused(partial(fit, model, iter([data]), loss, optimizer, epochs=2))
            log.require(said is not None and "epoch 2 got no batches" in said, f"{said}")


def located(run):
    """The NonFiniteError of either side that a run ends with."""
    try:
        run()
    except (numpy_impl.training.NonFiniteError, torch_impl.training.NonFiniteError) as error:
        return error
    raise AssertionError("no NonFiniteError")


def mean_of_means(model, batches, criterion, metric=None):
    """Every batch counted alike, however many rows it has."""
    measured: list[Any] = [
        numpy_impl.training.evaluate(model, [batch], criterion, metric) for batch in batches
    ]
    return tuple(np.mean(measured, axis=0))


class TestEvaluate(BothLoops):
    numpy, torch = numpy_impl.training.evaluate, torch_impl.training.evaluate
    mistakes = {
        "the mean of the batches' means": Mistake(
            mean_of_means,
            "A classic slip: losses of batches are averaged, whatever their size.",
            "A short last batch weighs as much as a whole one.",
        ),
    }

    def check_batch_sizes_do_not_show(self, log, rng):
        given, whole = self.given(rng), dict[str, Any]()
        state = small(numpy_impl, given, dropout=0.5)[0].state_dict()
        weight = rng.uniform(0.2, 2, 3)
        for impl, evaluate in (
            (numpy_impl, type(self).numpy),
            (torch_impl, torch_impl.training.evaluate),
        ):
            model, _, _, data = small(impl, given, dropout=0.5)
            model.load_state_dict(state if impl is numpy_impl else to_torch(state))
            classes = weight if impl is numpy_impl else to_torch(weight)
            criterion = impl.losses.CrossEntropyLoss(weight=classes)
            for size in (23, 10, 1):
                loader = impl.training.batches(*data, batch_size=size)
                loss, share = evaluate(model, loader, criterion, impl.training.accuracy)
                wanted = whole.setdefault("loss", (loss, share))
                near = abs(loss - wanted[0]) <= 16 * np.finfo(float).eps * abs(wanted[0])
                log.require(
                    near and share == wanted[1], f"{impl.__name__}, batches of {size}: {loss}"
                )
            log.require(model.training, f"{impl.__name__}: left in evaluation mode")
            said = refused(partial(evaluate, model, [], criterion)) or ""
            log.require("wants at least one batch, got none" in said, f"said {said!r}")

    def check_the_first_batch_that_is_not_finite_is_named(self, log, rng):
        x, y = rng.standard_normal((5, 4)), rng.integers(0, 3, 5)
        bad, worse, bias = x.copy(), x.copy(), np.array([0.0, 1.7e308, -1.7e308])
        bad[1, 2], worse[3, 0] = np.inf, np.nan
        hole, last = np.where(np.arange(15).reshape(5, 3) == 4, np.nan, 1.0), np.full(5, 2)
        told: list[list[tuple[str, str | None]]] = []
        for impl, evaluate in (
            (numpy_impl, type(self).numpy),
            (torch_impl, torch_impl.training.evaluate),
        ):
            model = impl.architectures.DeepMLP([4, 6, 3]).double()
            entropy, squares = impl.losses.CrossEntropyLoss(), impl.losses.MSELoss()
            wrapped = (lambda v: v) if impl is numpy_impl else to_torch
            state, found = {k: np.zeros(v.shape) for k, v in model.state_dict().items()}, []
            for values, criterion, batches in (
                (0.0, entropy, [(x, y), (bad, y), (worse, y), (x, y)]),
                (0.0, squares, [(x, x[:, :3]), (x, hole), (x, x[:, :3])]),
                (bias, entropy, [(x, last), (x, y * 0)]),
                (bias * [0, np.inf, 0], entropy, [(x, y), (x, y)]),
            ):
                model.load_state_dict(wrapped(state | {"net.2.bias": values + np.zeros(3)}))
                error = located(partial(evaluate, model, wrapped(batches), criterion))
                found.append((str(error), error.layer))
            told.append(found)
        log.require(told[0] == told[1], f"{told[0]}, torch {told[1]}")
        for (text, layer), words, wanted in zip(
            told[0],
            (
                "the loss is nan; input 0 already has inf at [1, 2]",
                "the loss is nan; the target already has nan at [1, 1]",
                "the loss is inf; the criterion (CrossEntropyLoss) is the first",
                "the loss is nan; net.2 (Linear) is the first",
            ),
            (None, None, None, "net.2"),
        ):
            log.require(text.startswith(words) and layer == wanted, f"{text}, {layer}")


class TestPredict(BothLoops):
    numpy, torch = numpy_impl.training.predict, torch_impl.training.predict
    mistakes = {
        "with dropout on": Mistake(
            lambda model, x, batch_size=1024: model(x),
            "A classic slip: eval() is forgotten.",
            "Predictions are random, and worse than what was learnt.",
        ),
    }

    def check_rows_come_out_alike_in_any_batches(self, log, rng):
        given = self.given(rng)
        state = small(numpy_impl, given, dropout=0.5)[0].state_dict()
        outputs = []
        for impl, predict in (
            (numpy_impl, type(self).numpy),
            (torch_impl, torch_impl.training.predict),
        ):
            model, _, _, (x, _) = small(impl, given, dropout=0.5)
            model.load_state_dict(state if impl is numpy_impl else to_torch(state))
            for size in (1, 7, 23, 1024):
                outputs.append(to_numpy(predict(model, x, size)))
            log.require(model.training, f"{impl.__name__}: left in evaluation mode")
            empty = predict(model, x[:0])
            log.require(
                tuple(empty.shape) == (0, 3), f"{impl.__name__}: no rows give {empty.shape}"
            )
            calls: list[Any] = []
            with model.register_forward_hook(lambda *call, calls=calls: calls.append(call[-1])):
                predict(model, x[:1], 1)
            log.require(len(calls) == 1, f"{impl.__name__}: {len(calls)} calls for one row")
            said = refused(partial(predict, model, x, 0)) or ""
            log.require("batch_size must be positive, got 0" in said, f"said {said!r}")
        for output in outputs:
            allowed = 16 * np.finfo(float).eps * np.abs(outputs[0]).max()
            log.require(float(np.abs(output - outputs[0]).max()) <= allowed, "rows differ")


class Terminal(io.StringIO):
    """Where a bar may be drawn."""

    def isatty(self):
        return True


@pytest.mark.parametrize("impl", [numpy_impl, torch_impl])
def test_the_bar_shows_where_it_is_asked_for_or_stderr_is_a_terminal(impl, capsys):
    model, loss, optimizer, data = small(impl, TestFit().given(np.random.default_rng(0)))
    options: Any = {"validation": [data], "metric": impl.training.accuracy}
    impl.training.fit(model, [data], loss, optimizer, **options)
    assert capsys.readouterr() == ("", "")
    impl.training.fit(model, [data], loss, optimizer, progress=True, **options)
    out, err = capsys.readouterr()
    with contextlib.redirect_stderr(Terminal()) as drawn:
        history = impl.training.fit(model, [data], loss, optimizer, **options)
        shown = ", ".join(
            f"{name}={tqdm.format_num(getattr(history, kept)[0])}"
            for name, kept in (("loss", "train_loss"), ("val_loss",) * 2, ("val_metric",) * 2)
        )
        impl.training.fit(model, [data], loss, optimizer, progress=False, **options)
    assert out == "" and "1/1" in err and "val_loss" in err
    assert drawn.getvalue().count("1/1") and shown in drawn.getvalue()
    assert re.search(r"[\d?]step/s|s/step\b", err), err


def test_seconds_are_those_that_each_epoch_took():
    model, loss, optimizer, data = small(numpy_impl, TestFit().given(np.random.default_rng(0)))
    start = time.perf_counter()
    history = numpy_impl.training.fit(model, [data], loss, optimizer, epochs=2)
    assert len(history.seconds) == 2 and 0 < sum(history.seconds) <= time.perf_counter() - start


def test_what_overflows_in_a_layer_of_ones_own_is_reported_and_not_warned_about():
    class Squared(numpy_impl.nn.Module):
        def forward(self, x):
            return x * x

    batch = np.full((2, 1), 1e200), np.zeros((2, 1))
    with pytest.raises(
        numpy_impl.training.NonFiniteError, match="the loss is inf; the model .Squared. is"
    ):
        numpy_impl.training.evaluate(Squared(), [batch], MSELoss())


def test_the_first_layer_is_spared_its_input_gradient_only_while_it_trains():
    model, loss, optimizer, data = small(numpy_impl, TestFit().given(np.random.default_rng(0)))
    seen = []
    model.net[0].register_forward_hook(lambda layer, *_: seen.append(layer.needs_input_grad))
    numpy_impl.training.fit(model, [data], loss, optimizer)
    assert seen == [False] and model.needs_input_grad


def test_where_losses_are_read_at_the_end_of_the_epoch_a_nan_is_still_named_by_its_step():
    history = torch_impl.training.History()
    with pytest.raises(
        torch_impl.training.NonFiniteError, match="epoch 4, step 2: the loss is nan"
    ):
        with torch_impl.training.loop._read_at_the_end(history, 4) as taken:
            taken += [
                (torch.tensor([loss, 1.0]), 0.1) for loss in (0.5, float("nan"), float("nan"))
            ]
    assert history.step_loss == [0.5] and history.step_lr == [0.1]


def test_the_runs_learn_something():
    """Agreement on a network that learns nothing would prove little."""
    for case, better in ((TestPlainMLP(), 0.9), (TestNormAndDropout(), 0.7)):
        found = case._run(numpy_impl, case._given(), case.epochs)
        assert found["step val_metric"][-1] > better
        assert np.all(np.isfinite(found["step loss"]))
