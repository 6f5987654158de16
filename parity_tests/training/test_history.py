"""What a run wrote down goes to plain numbers and back."""

import json
import math
from functools import partial
from typing import Any

from numpy_impl.training import history as ours
from parity_tests.harness import Mistake, RuleCase
from parity_tests.harness.refusal import refused
from torch_impl.training import history as theirs


class SharedLists(ours.History):
    """Every history writing into the same lists."""

    def __init__(self, step_loss=[], train_loss=[], **others):  # noqa: B006 - the mistake
        super().__init__(step_loss=step_loss, train_loss=train_loss, **others)


class TestHistory(RuleCase):
    numpy, torch = ours.History, theirs.History
    mistakes = {
        "lists shared between runs": Mistake(
            SharedLists,
            "Python's classic: a mutable default argument.",
            "A second run's curve begins with the first run's.",
        ),
    }

    def check_each_history_has_lists_of_its_own(self, log, rng):
        one, other = type(self).numpy(), type(self).numpy()
        one.step_loss.append(1.0)
        one.train_loss.append(1.0)
        log.require((one.steps, one.epochs) == (1, 1), f"{one.steps} steps, {one.epochs} epochs")
        log.require((other.steps, other.epochs) == (0, 0), "two histories share a list")

    def check_both_sides_read_what_the_other_wrote(self, log, rng):
        numbers: dict[str, Any] = {
            "step_loss": [0.5, 0.1 + 0.2],
            "val_metric": [1.0],
            "stopped_early": True,
        }
        a, b = type(self).numpy(**numbers), theirs.History(**numbers)
        log.require(a.to_dict() == b.to_dict(), f"{a.to_dict()}, torch side {b.to_dict()}")
        log.require(list(a.to_dict()) == list(b.to_dict()), "other names, or another order")
        log.require(a.to_json() == b.to_json(), f"{a.to_json()}, torch side {b.to_json()}")
        log.require(type(self).numpy.from_json(b.to_json()) == a, "not read back")
        log.require(theirs.History.from_json(a.to_json()) == b, "not read back on the torch side")
        copied = type(self).numpy.from_dict(a.to_dict())
        copied.step_loss.append(9.0)
        log.require(len(a.step_loss) == 2, "from_dict took over the caller's list")

    def check_a_metric_that_is_nan_becomes_null(self, log, rng):
        for history in (
            type(self).numpy(val_metric=[math.nan, 1.0]),
            theirs.History(val_metric=[math.nan]),
        ):
            text = history.to_json()
            log.require("NaN" not in text and json.loads(text)["val_metric"][0] is None, text)
            back = type(history).from_json(text)
            log.require(math.isnan(back.val_metric[0]), f"read back as {back.val_metric}")
            said = refused(type(history)(train_loss=[math.nan]).to_json)
            log.require(said is not None, "a loss that is NaN was written")

    def check_it_prints_as_one_line(self, log, rng):
        numbers: dict[str, Any] = {"step_loss": [3.0, 2.0], "train_loss": [2.5], "val_loss": [2.25]}
        numbers["val_metric"] = [0.5, 0.75]
        text = "History(epochs=1, steps=2, train_loss 2.5 -> 2.5, val_loss 2.25 -> 2.25"
        text += ", val_metric 0.5 -> 0.75"
        for history in (type(self).numpy, theirs.History):
            log.require(str(history(**numbers)) == text + ")", str(history(**numbers)))
            stopped = str(history(**numbers, stopped_early=True))
            log.require(stopped == text + ", stopped early)", stopped)
        log.require(str(theirs.History()) == "History(epochs=0, steps=0)", str(theirs.History()))

    def check_unknown_names_are_refused(self, log, rng):
        for history in (type(self).numpy, theirs.History):
            said = refused(partial(history.from_dict, {"loss": [1.0], "acc": [1.0]})) or ""
            log.require("no acc, loss" in said, f"{history}: said {said!r}")
