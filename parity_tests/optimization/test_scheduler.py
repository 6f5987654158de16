"""A rule of one's own, and schedules one after the other."""

import warnings
from bisect import bisect_right

import numpy as np
import pytest

from numpy_impl.module import Parameter
from numpy_impl.optimization import SGD, ExponentialLR
from numpy_impl.optimization import scheduler as ours
from parity_tests.harness import Mistake, Refusal, SchedulerParity
from torch_impl.optimization import scheduler as theirs


class Halved:
    """A callable object: what it keeps is saved."""

    def __init__(self, every):
        self.every = every

    def __call__(self, epoch):
        return 0.5 ** (epoch // self.every)


def inverse(epoch):
    return 1 / (1 + 0.1 * epoch)


class TestLambdaLR(SchedulerParity):
    numpy, torch = ours.LambdaLR, theirs.LambdaLR
    configs = [{"lr_lambda": inverse}, {"lr_lambda": Halved(4)}]
    refusals = [
        Refusal({"lr_lambda": [inverse]}, says="Expected 2 lr_lambdas, but got 1"),
        Refusal({"lr_lambda": [inverse] * 3}, says="Expected 2 lr_lambdas, but got 3"),
    ]

    class OnThePresentRate(ours.LambdaLR):
        def get_lr(self):
            super().get_lr()
            pairs = zip(self.lr_lambdas, self.optimizer.param_groups, strict=True)
            return [group["lr"] * fn(self.last_epoch) for fn, group in pairs]

    class CountsFromOne(ours.LambdaLR):
        def get_lr(self):
            super().get_lr()
            pairs = zip(self.lr_lambdas, self.base_lrs, strict=True)
            return [base * fn(self.last_epoch + 1) for fn, base in pairs]

    mistakes = {
        "times the present rate": Mistake(
            OnThePresentRate,
            "A classic slip: the factor of MultiplicativeLR taken for LambdaLR's.",
            "Factors multiply up: the rate is gone within a few epochs.",
        ),
        "counts from 1": Mistake(
            CountsFromOne,
            "Code whose first epoch is number 1.",
            "The whole schedule is one epoch ahead.",
        ),
    }


class TestLambdaLRByGroup(SchedulerParity):
    numpy, torch = ours.LambdaLR, theirs.LambdaLR
    configs = [{"lr_lambda": [inverse, Halved(3)]}]
    groups = (2,)

    class FirstBase(ours.LambdaLR):
        def get_lr(self):
            super().get_lr()
            return [self.base_lrs[0] * fn(self.last_epoch) for fn in self.lr_lambdas]

    class FirstForAll(ours.LambdaLR):
        def get_lr(self):
            super().get_lr()
            return [base * self.lr_lambdas[0](self.last_epoch) for base in self.base_lrs]

    mistakes = {
        "the first for every group": Mistake(
            FirstForAll,
            "A classic slip: the list is taken and its first entry used.",
            "All groups follow one schedule.",
        ),
        "of the first rate of all": Mistake(
            FirstBase,
            "A classic slip: one base rate for every group.",
            "Groups lose the rates that they were given.",
        ),
    }

    def beside_torch(self, settings, stand_in):
        return iter(())  # what is compared there has one group


def chain(*schedules, milestones):
    return {"schedulers": list(schedules), "milestones": milestones}


class TestSequentialLR(SchedulerParity):
    numpy, torch = ours.SequentialLR, theirs.SequentialLR
    configs = [
        chain(
            (
                "SequentialLR",
                chain(
                    ("LinearLR", {"start_factor": 0.5}),
                    ("ExponentialLR", {"gamma": 0.8}),
                    milestones=[6],
                ),
            ),
            ("StepLR", {"step_size": 4}),
            milestones=[15],
        ),
        chain(
            ("LinearLR", {"start_factor": 0.2, "total_iters": 4}),
            ("CosineAnnealingLR", {"T_max": 20}),
            milestones=[5],
        ),
        chain(("ExponentialLR", {"gamma": 0.9}), milestones=[]),
        chain(("LinearLR", {}), ("ExponentialLR", {"gamma": 0.9}), milestones=[1]),
        chain(
            ("StepLR", {"step_size": 2}),
            ("PolynomialLR", {"total_iters": 6}),
            ("LambdaLR", {"lr_lambda": inverse}),
            milestones=[3, 10],
        ),
    ]
    jumps, restarts = False, None
    refusals = [
        Refusal(chain(milestones=[]), says="at least one"),
        Refusal(chain(("LinearLR", {}), milestones=[3]), says="got 1 and 1"),
        Refusal({"schedulers": [3], "milestones": []}, says="schedulers.0. is no scheduler: int"),
    ]

    def build(self, side, optimizer, config):
        made = [self.one(side, optimizer, entry) for entry in config["schedulers"]]
        kind = type(self).numpy if side == "NumPy" else type(self).torch
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch, and so we, warn when a chain opens a chain
            return kind(optimizer, made, config["milestones"])

    def one(self, side, optimizer, entry):
        if not isinstance(entry, tuple):
            return entry
        name, arguments = entry
        if name == "SequentialLR":
            return self.build(side, optimizer, arguments)
        return getattr(self.schedules(side), name)(optimizer, **arguments)

    class LateSwitch(ours.SequentialLR):
        def step(self, epoch=None):
            self.last_epoch += 1
            i = bisect_right(self._milestones, self.last_epoch - 1)
            if i > 0 and self._milestones[i - 1] == self.last_epoch - 1:
                self._schedulers[i]._update_lr(0)
            else:
                self._schedulers[i].step()
            self._last_lr = self._schedulers[i].get_last_lr()

    class NoUndo(ours.SequentialLR):
        def recursive_undo(self, sched=None):
            pass

    class CarriedOn(ours.SequentialLR):
        def step(self, epoch=None):
            self.last_epoch += 1
            scheduler = self._schedulers[bisect_right(self._milestones, self.last_epoch)]
            scheduler._step_count += 1
            scheduler._update_lr()
            self._last_lr = scheduler.get_last_lr()

    mistakes = {
        "switches one epoch late": Mistake(
            LateSwitch,
            "Written with > for >= at the milestone.",
            "Every schedule runs one epoch longer than asked.",
        ),
        "first steps not taken back": Mistake(
            NoUndo,
            "A classic slip: all schedules are built one after the other on one optimizer, and "
            "each takes its first step.",
            "The first rate is the product of all first factors.",
        ),
        "the next begins from the present rate": Mistake(
            CarriedOn,
            "Code that hands the last rate on; torch starts the next schedule from the base rate.",
            "After a decay the next schedule starts too low.",
        ),
    }

    def beside_torch(self, settings, stand_in):
        return iter(())  # a chain is compared schedule by schedule


def test_a_chain_refuses_the_schedule_of_another_optimizer():
    a, b = (SGD([Parameter(np.zeros(2))]) for _ in range(2))
    first, second = ExponentialLR(a, 0.9), ExponentialLR(b, 0.9)
    with pytest.raises(ValueError, match=r"same optimizer, schedulers\[1\] has another"):
        ours.SequentialLR(a, [first, second], [3])
    with pytest.raises(TypeError, match="one epoch at a time, got epoch=3"):
        ours.SequentialLR(a, [first], []).step(3)


def test_a_state_of_fewer_schedules_or_functions_is_refused():
    optimizer = SGD([{"params": [Parameter(np.zeros(2))]} for _ in range(2)])
    lambdas = ours.LambdaLR(optimizer, inverse)
    with pytest.raises(ValueError, match="shorter"):
        lambdas.load_state_dict(lambdas.state_dict() | {"lr_lambdas": [None]})
    chained = ours.SequentialLR(optimizer, [lambdas, ExponentialLR(optimizer, 0.9)], [3])
    states = chained.state_dict()["_schedulers"]
    with pytest.raises(ValueError, match="shorter"):
        chained.load_state_dict(chained.state_dict() | {"_schedulers": states[:1]})


def test_the_base_of_all_schedules_has_no_rate_of_its_own():
    with pytest.raises(NotImplementedError, match="LRScheduler has no get_lr"):
        ours.LRScheduler(SGD([Parameter(np.zeros(2))]))


class OneRate(ours.LRScheduler):
    """A rate for one group, however many there are; asked outside a step it warns its caller."""

    def get_lr(self):
        return self._scaled(1.0)[:1]


def test_a_rate_for_every_group_is_wanted_and_a_question_out_of_turn_is_answered_to_the_asker():
    groups = [{"params": [Parameter(np.zeros(2))]} for _ in range(2)]
    with pytest.raises(ValueError, match="shorter"):
        OneRate(SGD(groups))

    class Uncounted(SGD):
        def step(self, closure=None):
            pass

    ExponentialLR(Uncounted(groups[:1]), 0.9).step()  # nobody knows whether it has stepped
    schedule = ExponentialLR(SGD(groups[:1]), 0.9)
    with pytest.warns(UserWarning, match="before `optimizer.step") as first:
        schedule.step()
    with pytest.warns(UserWarning, match="get_last_lr") as caught:
        schedule.get_lr()
    schedule.optimizer.step()
    with pytest.warns(UserWarning, match="deprecated") as caught_too:
        schedule.step(3)
    assert {w.filename for w in [*first, *caught, *caught_too]} == {__file__}
