"""What networks with fit, predict and score promise: on plain arrays, before anything moves."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

import numpy_impl.architectures
import numpy_impl.optimization
import torch_impl.architectures
import torch_impl.optimization
from parity_tests.harness import Mistake, RuleCase
from parity_tests.harness.bridge import to_numpy, to_torch
from parity_tests.harness.inputs import same
from parity_tests.harness.refusal import refused

IMPLS = numpy_impl, torch_impl


def state_of(model):
    """Copies of everything that training could change."""
    return {k: np.array(to_numpy(v)) for k, v in model.state_dict().items()}


def load(model, state):
    """The same weights, whichever side the model is on."""
    model.load_state_dict(state if isinstance(model, numpy_impl.nn.Module) else to_torch(state))
    return model


def close(pair):
    """Whether two sides agree, elsewhere held to derived budgets, but for a few hundred ulp."""
    ours, theirs = pair
    return np.allclose(ours, theirs, rtol=1e-13, atol=1e-13)


class ReluOnTheOutput(numpy_impl.architectures.DeepMLP):
    """The guide's regression: outputs that cannot be negative."""

    def forward(self, x):
        return np.maximum(super().forward(x), 0)


class LogitsAsProbabilities(numpy_impl.architectures.DeepMLP):
    """predict_proba without the softmax."""

    def predict_proba(self, X):
        return numpy_impl.training.predict(self, self._samples(X))


class LastRowLeftOut(numpy_impl.architectures.DeepMLP):
    """Every pass ends at the last whole batch."""

    def fit(self, X, y, epochs=100, batch_size=32, **options):
        n = len(X) // batch_size * batch_size
        return super().fit(X[:n], y[:n], epochs, batch_size, **options)


class TestEstimator(RuleCase):
    numpy, torch = numpy_impl.architectures.DeepMLP, torch_impl.architectures.DeepMLP
    covers = (numpy_impl.architectures.Estimator,)
    mistakes = {
        "activation on the output": Mistake(
            ReluOnTheOutput,
            "The guide's DeepMLP puts its activation on the last layer, too.",
            "A regression never predicts less than 0.",
        ),
        "logits handed out as probabilities": Mistake(
            LogitsAsProbabilities,
            "A classic slip: the softmax lives in the loss and is forgotten without it.",
            "Rows do not sum to 1; the most likely class is the same.",
        ),
        "short batches left out": Mistake(
            LastRowLeftOut,
            "Written as `range(n // batch_size)`.",
            "Up to batch_size - 1 samples are never seen, the same ones without a shuffle.",
        ),
    }

    def pair(self, *args, **options):
        """Both networks, with the same weights."""
        ours = type(self).numpy(*args, **options).double()
        theirs = load(torch_impl.architectures.DeepMLP(*args, **options).double(), state_of(ours))
        return ours, theirs

    def check_predictions_probabilities_and_scores_agree(self, log, rng):
        x = rng.standard_normal((20, 2, 3))  # samples of any shape with six numbers
        for task, y in (
            ("classification", rng.integers(0, 4, 20)),
            ("regression", rng.standard_normal((20, 4)) - 3),
        ):
            pair = self.pair([6, 5, 4], task=task)
            found = [to_numpy(model.predict(x)) for model in pair]
            wanted = (20,) if task == "classification" else (20, 4)
            log.require(found[0].shape == wanted, f"{task}: predictions {found[0].shape}")
            log.require(close(found), f"{task}: predictions differ")
            scores = [model.score(x, y) for model in pair]
            near = abs(scores[0] - scores[1]) <= 1e-13 * abs(scores[1])
            log.require(near and isinstance(scores[0], float), f"{task}: {scores}")
            if task == "classification":
                rows = [to_numpy(model.predict_proba(x)) for model in pair]
                log.require(close(rows), "probabilities differ")
                log.require(np.allclose(rows[0].sum(axis=1), 1), "rows do not sum to 1")
            else:
                said = [refused(partial(model.predict_proba, x)) for model in pair]
                log.require(said[0] == said[1] and "regression" in str(said[0]), f"{said}")

    def check_two_fits_agree_and_go_on(self, log, rng):
        for task, y in (
            ("classification", rng.integers(0, 3, 23)),
            ("regression", rng.standard_normal((23, 3))),
        ):
            x, pair = rng.standard_normal((23, 6)), self.pair([6, 5, 3], 0.1, task=task)
            losses = []
            for impl, model in zip(IMPLS, pair):
                source = numpy_impl if impl is numpy_impl else torch
                generator = source.Generator().manual_seed(3)
                step = partial(impl.optimization.StepLR, step_size=1, gamma=0.5)
                told: dict[str, Any] = {"generator": generator, "scheduler": step}
                first = model.fit(x, y, 2, 5, validation=(x, y), **told)
                second = model.fit(x, y, epochs=1, batch_size=5, generator=generator)
                log.require(first.step_lr == [0.1] * 5 + [0.05] * 5, f"{first.step_lr}")
                losses.append([*first.step_loss, *second.step_loss, *first.val_metric])
            log.require(len(losses[0]) == 17, f"{len(losses[0])} numbers, wanted 17")
            log.require(close(losses), f"{task}: {losses}")

    def check_targets_below_zero_can_be_learned(self, log, rng):
        x = rng.standard_normal((40, 2))
        y = -3 + 0.1 * x[:, 0]
        for model in self.pair([2, 8, 1], 0.1, task="regression"):
            model.fit(x, y, 60, 10)
            worst = float(np.abs(to_numpy(model.predict(x))[:, 0] - y).max())
            log.require(worst < 0.5, f"{type(model).__module__}: off by {worst}")

    def check_batch_norm_never_sees_one_row(self, log, rng):
        x, y = rng.standard_normal((21, 4)), rng.integers(0, 3, 21)
        for model in self.pair([4, 5, 3], batch_norm=True):
            steps = model.fit(x, y, 1, 10).steps
            log.require(steps == 2, f"{steps} steps for 21 rows in tens, the last left out")
            log.require(model.fit(x, y, 1, 7).steps == 3, "rows left out without need")
            for rows, size in ((21, 1), (1, 8)):
                said = refused(partial(model.fit, x[:rows], y[:rows], 1, size))
                log.require(
                    said is not None and "2 or more rows" in said, f"{rows}, {size}: {said}"
                )
        for model in self.pair([4, 5, 3]):
            log.require(model.fit(x, y, 1, 10).steps == 3, "a row left out without batch norm")

    def check_what_is_no_network_is_refused(self, log, rng):
        none: list[Any] = [[], [4], [4, 0, 2], [4, 2.5, 2], [4, -1, 2], [4, "5", 2]]
        makes: Any = type(self).numpy, torch_impl.architectures.DeepMLP
        for make in makes:
            for layers in ([2, 1, 2], [1, 2]):
                log.require(make(layers).layers == layers, f"{layers}")
            for wrong in none:
                said = str(refused(partial(make, wrong)))
                log.require(f"two or more positive widths, got {wrong}" in said, said)
            said = str(refused(partial(make, [4, 1])))
            log.require("at least 2 classes, got layers [4, 1]" in said, said)
            said = str(refused(partial(make, [4, 2], task="ranking")))
            log.require('must be "classification" or "regression", got \'ranking\'' in said, said)

    def check_bad_data_is_refused_and_moves_nothing(self, log, rng):
        x, y = rng.standard_normal((8, 4)), rng.integers(0, 3, 8)
        hole, huge, nan = x.copy(), x.copy(), rng.standard_normal((8, 3))
        hole[2, 1], huge[5, 0], nan[3, 2] = np.nan, 1e300, np.nan
        far = np.where(np.arange(24).reshape(8, 3) == 7, 1e300, 1.0)
        bad: list[tuple[str, Any, Any, str]] = [
            ("classification", x[:, :3], y, "X must be (N, 4) with N > 0, got (8, 3)"),
            ("classification", x[:0], y[:0], "got (0, 4)"),
            ("classification", np.float64(3), y, "got ()"),
            ("classification", x, y[:5], "labels must be (8,), one a sample, got (5,)"),
            ("classification", x, np.eye(3, dtype=int)[y], "got (8, 3)"),
            ("classification", x, y.astype(float), "whole numbers, got dtype"),
            (
                "classification",
                x,
                np.where(np.arange(8) == 6, 3, y),
                "labels must be 0 to 2, got 3 at [6]",
            ),
            ("classification", x, np.where(np.arange(8) == 1, -1, y), "got -1 at [1]"),
            ("classification", hole, y, "X must be finite in float32, got nan at [2, 1]"),
            ("classification", huge, y, "got inf at [5, 0]"),
            ("regression", x, nan, "y must be finite in float32, got nan at [3, 2]"),
            ("regression", x, far, "y must be finite in float32, got inf at [2, 1]"),
            ("regression", x, nan[:, :2], "y must be (8, 3), got (8, 2)"),
            ("regression", x, nan[:, 0], "got (8,)"),
        ]
        for task, samples, target, words in bad:
            for model in self.pair([4, 5, 3], task=task):
                model.float()
                before = state_of(model)
                calls = [partial(model.fit, samples, target, 1)]
                calls += [partial(model.fit, x, y, 1, validation=(samples, target))] * (
                    task[0] == "c"
                )
                calls += [partial(model.score, samples, target)]
                for call in calls:
                    said = refused(call)
                    told = str(said).replace("torch.float32", "float32")
                    log.require(f" {words}" in f" {told}", f"{words}: {said}")
                same = all(np.array_equal(v, before[k]) for k, v in state_of(model).items())
                log.require(same, f"{words}: the model changed")

    def check_text_is_refused_by_name(self, log, rng):
        x, text = rng.standard_normal((8, 4)), np.full((8, 4), "1")
        model = type(self).numpy([4, 4], task="regression")  # torch makes no tensor of text
        for samples, targets, name in ((text, x, "X"), (x, text, "y")):
            said = refused(partial(model.fit, samples, targets))
            log.require(said == f"{name} must be numbers, got dtype <U1", f"{name}: {said}")

    def check_nothing_handed_in_is_changed(self, log, rng):
        x, y = rng.standard_normal((12, 4)), rng.standard_normal(12)
        kept = x.copy(), y.copy()
        x.flags.writeable = y.flags.writeable = False
        scores: list[float] = []
        for model in self.pair([4, 5, 1], task="regression"):
            model.fit(x, y, 2, 5, validation=(x, y))
            model.predict(x.tolist())
            scores.append(model.score(x, np.ones(12)))
            log.require(np.array_equal(x, kept[0]) and np.array_equal(y, kept[1]), "data changed")
        log.require(scores == [-np.inf] * 2, f"without variance there is no score: {scores}")

    def check_one_number_a_sample_needs_no_axis_of_its_own(self, log, rng):
        x = rng.standard_normal(9)
        for model in self.pair([1, 4, 2]):
            log.require(same(model.predict(x), model.predict(x[:, None])), "another prediction")

    def check_backward_goes_to_the_input_where_it_is_asked_to(self, log, rng):
        model = type(self).numpy([3, 4, 2])
        for needed in (False, True):
            model.needs_input_grad = needed
            first = model.net[0].needs_input_grad
            log.require(model.needs_input_grad is first is needed, f"{needed}, {first}")


def test_the_torch_side_takes_tensors_and_gives_tensors():
    model = torch_impl.architectures.DeepMLP([4, 5, 3])
    x, y = torch.randn(9, 4), torch.randint(0, 3, (9,))
    model.fit(x, y, 1)
    assert isinstance(model.predict(x), torch.Tensor) and model.predict(x).shape == (9,)


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("network", ["DeepMLP", "ResidualMLP"])
def test_ready_made_settings_learn_the_digits(impl, network):
    from examples.datasets import load_splits

    splits = load_splits()
    (numpy_impl if impl is numpy_impl else torch).manual_seed(0)
    make = getattr(impl.architectures, network)
    widths = [64, 32, 10] if network == "DeepMLP" else [64, 32, 32, 10]
    model = make(widths, learning_rate=0.01, batch_norm=True)
    history = model.fit(splits.x_train, splits.y_train, 5, 32, optimizer=impl.optimization.Adam)
    assert history.steps == 5 * 40
    assert model.score(splits.x_test, splits.y_test) > 0.94
