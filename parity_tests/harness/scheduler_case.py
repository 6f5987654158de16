"""Learning-rate schedules under parity: the rate of every group after every epoch.

class TestStepLR(SchedulerParity):
    numpy, torch = ours.StepLR, theirs.StepLR
    configs = [{"step_size": 3}, {"step_size": 4, "gamma": 0.5}]
"""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch

from numpy_impl.module import Parameter
from numpy_impl.optimization import SGD
from numpy_impl.optimization import lr_scheduler as ours
from parity_tests.harness.budget import Arrays
from parity_tests.harness.case import Case, Check, Log, Settings
from parity_tests.harness.inputs import Config, brief
from parity_tests.harness.limits import called_alike
from parity_tests.harness.refusal import Refusal, raises, refused, says
from parity_tests.harness.stand_ins import Compared, Place
from torch_impl.optimization import lr_scheduler as theirs

EPOCHS = 30
BY_HAND = 3, 12
RESUMED = 7


class SchedulerParity(Case):
    """A NumPy schedule beside a torch schedule, each driving an optimizer of its side.

    Class attributes:
        configs: arguments after the optimizer, one dict a configuration.
        groups: how many parameter groups the optimizers have, one number a run.
        refusals: arguments that the constructor must refuse.
        jumps: whether `step(epoch)` works, as for all but chains.
        restarts: the last_epoch that a new schedule is started from; None where there is none.
    """

    configs: ClassVar[Sequence[Config]] = ({},)
    groups: ClassVar[Sequence[int]] = (1, 2)
    refusals: ClassVar[Sequence[Refusal]] = ()
    jumps: ClassVar[bool] = True
    restarts: ClassVar[int | None] = 4

    def build(self, side: str, optimizer: Any, config: Config) -> Any:
        """The schedule of that side."""
        return (type(self).numpy if side == "NumPy" else type(self).torch)(optimizer, **config)

    def schedules(self, side: str) -> Any:
        """The module that has all schedules of that side, for chains."""
        return ours if side == "NumPy" else theirs

    # ---- the checks -------------------------------------------------------------------------

    def checks(self, settings: Settings) -> Iterator[Check]:
        """Rates, by hand, resumed, restarted; state; manners; mistakes."""
        for config in self.configs:
            for what in self._courses():
                name = f"agrees[{_text(config)}|{what}]"
                yield Check(name, self._agrees(settings, name, config, what))
            if self.jumps:
                jumps: Any = partial(self._jumps, config=config)
                yield Check(f"jumps[{_text(config)}]", jumps)
        derived: list[tuple[str, Callable[[Log, Config], None]]] = [
            ("state_dict", self._state),
            ("manners of a step", self._manners),
            ("refusals", self._refusals),
            ("called alike", partial(called_alike, self)),
        ]
        for name, method in derived:
            config = list(self.configs)[-1]
            yield Check(name, lambda log, m=method, c=config: m(log, c))  # type: ignore[misc]
        yield from self.trials(settings)

    def _courses(self) -> list[str]:
        courses = [f"{n} group{'s' * (n > 1)}" for n in self.groups]
        courses += ["changed by hand", "NumPy to torch", "torch to NumPy", "NumPy to NumPy"]
        return courses + ["restarted"] * (self.restarts is not None)

    def _agrees(
        self, settings: Settings, name: str, config: Config, what: str
    ) -> Callable[[Log], None]:
        def run(log: Log) -> None:
            place = self._place(self.rng(settings, name), config, what)
            log.compare(place.compare(self, "float64"), what)

        return run

    def places(self, settings: Settings) -> Iterator[Place]:
        """Every configuration in every course."""
        for config in self.configs:
            for what in self._courses():
                yield self._place(self.rng(settings, f"{config}{what}"), config, what)

    def _place(self, rng: np.random.Generator, config: Config, what: str) -> Compared:
        given = {"base": rng.uniform(0.01, 1, 2), "by hand": rng.uniform(0.01, 1, 2)}
        return Compared(
            f"{_text(config)}|{what}",
            lambda case, g: case.run(g, config, what, "NumPy"),
            lambda g: self.run(g, config, what, "torch"),
            given,
            by_step=True,
            jitters=4,
        )

    def beside_torch(self, settings: Settings, stand_in: Any) -> Iterator[Config]:
        """The class with every configuration, the last ones first."""
        for config in reversed(self.configs):
            yield {"mine": stand_in, "theirs": type(self).torch, "kwargs": config}

    # ---- one run ----------------------------------------------------------------------------

    def run(self, given: Arrays, config: Config, what: str, side: str) -> Arrays:
        """The rate of every group at the start and after every epoch.

        The reference always runs through on torch: whatever is carried over must not show.
        """
        ways = what.split(" to ") if " to " in what and side == "NumPy" else [side, side]
        groups = int(what.split()[0]) if what[0].isdigit() else max(self.groups)
        rates = given["base"].tolist()[:groups]
        optimizer = _optimizer(ways[0], rates)
        if what == "restarted":
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["initial_lr"] = 2 * rate
            config = config | {"last_epoch": self.restarts}
        schedule = self.build(ways[0], optimizer, config)
        found = [_rates(optimizer)]
        assert [float(lr) for lr in schedule.get_last_lr()] == found[0], "get_last_lr at the start"
        for epoch in range(EPOCHS):
            if epoch == RESUMED and " to " in what and side == "NumPy":
                saved = copy.deepcopy((optimizer.state_dict(), schedule.state_dict()))
                optimizer = _optimizer(ways[1], [9.0] * groups)
                schedule = self.build(ways[1], optimizer, config)
                schedule.load_state_dict(saved[1])
                optimizer.load_state_dict(saved[0])
            if what == "changed by hand" and epoch in BY_HAND:
                for group, factor in zip(optimizer.param_groups, given["by hand"], strict=False):
                    group["lr"] = float(factor)
            optimizer.step()
            schedule.step()
            last = [float(lr) for lr in schedule.get_last_lr()]
            assert last == _rates(optimizer), "get_last_lr is not what the groups hold"
            found.append(last)
        columns = np.array(found)
        return {f"step lr {i}": columns[:, i] for i in range(groups)}

    # ---- what holds for any schedule ------------------------------------------------------------

    def _state(self, log: Log, config: Config) -> None:
        """state_dict has torch's keys and values; copies and pickles go on alike."""
        pair = {}
        for side in ("NumPy", "torch"):
            optimizer = _optimizer(side, [0.1, 0.3][: max(self.groups)])
            schedule = self.build(side, optimizer, config)
            for _ in range(5):
                optimizer.step()
                schedule.step()
            pair[side] = optimizer, schedule
        (optimizer, schedule), (_, reference) = pair["NumPy"], pair["torch"]
        a, b = schedule.state_dict(), reference.state_dict()
        log.require(_near(a, b), f"{a}\n  torch {b}")
        kept = copy.deepcopy(a)
        copies = [copy.deepcopy((optimizer, schedule))]
        if not any(callable(v) or isinstance(v, list) for v in config.values()):
            copies.append(pickle.loads(pickle.dumps((optimizer, schedule))))
        for other_optimizer, other in copies:
            log.require(
                other.optimizer is other_optimizer, "a copy drives the original's optimizer"
            )
            other.step()
            log.require(_near(schedule.state_dict(), kept), "a copy moved the original")
            log.require(other.last_epoch == 6, "a copy lost its place")

    def _asked_at_once(self, side: str, config: Config, last_epoch: int) -> list[float]:
        """What get_lr says of a schedule that was just made, and has not been stepped."""
        optimizer = _optimizer(side, [0.1] * max(self.groups))
        for group in optimizer.param_groups:
            group["initial_lr"] = 0.2
        schedule = self.build(side, optimizer, config | {"last_epoch": last_epoch})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return [float(lr) for lr in schedule.get_lr()]

    def _manners(self, log: Log, config: Config) -> None:
        """Warnings where torch warns, TypeError and KeyError where torch raises them."""
        for side in ("NumPy", "torch"):
            optimizer = _optimizer(side, [0.1] * max(self.groups))
            schedule = self.build(side, optimizer, config)
            held = [group["initial_lr"] for group in optimizer.param_groups]
            log.require(held == [0.1] * max(self.groups), f"{side}: initial_lr {held}")
            said = _warned(schedule.step)
            log.require("optimizer.step()" in said, f"{side}: step before step said {said!r}")
            log.require(not _warned(schedule.step), f"{side}: warned twice")
            if self.jumps:
                said = _warned(schedule.get_lr)
                warned = "get_last_lr" in said or side == "torch"  # our own subclasses do not there
                log.require(warned, f"get_lr outside step said {said!r}")
                said = _warned(partial(schedule.step, 11))
                log.require("deprecated" in said, f"{side}: step(11) said {said!r}")
                log.require(schedule.last_epoch == 11, f"{side}: step(11) went elsewhere")
            else:
                log.require(raises(schedule.step, 11, error=TypeError), f"{side}: step(11) jumped")
        if not self.jumps:
            return
        for side in ("NumPy", "torch"):
            log.require(raises(self.build, side, 3, config, error=_NO_OPTIMIZER), f"{side}: took 3")
            optimizer = _optimizer(side, [0.1] * max(self.groups))
            again = config | {"last_epoch": 3}
            log.require(
                raises(self.build, side, optimizer, again, error=KeyError),
                f"{side}: resumed without initial_lr",
            )
        for last_epoch in (-1, 0, 3):
            a, b = (self._asked_at_once(side, config, last_epoch) for side in ("NumPy", "torch"))
            log.require(np.allclose(a, b, rtol=1e-13, atol=0), f"get_lr at once: {a}, torch {b}")
        optimizer = _optimizer("NumPy", [0.1] * max(self.groups))
        for wrong, pattern in (
            ({"optimizer": 3, "config": config}, "int is not an Optimizer"),
            ({"optimizer": optimizer, "config": again}, r"groups\[0\].* at last_epoch=3"),
        ):
            said = _said(partial(self.build, "NumPy", **wrong))
            log.require(says(said, pattern), f"said {said!r}")

    def _jumps(self, log: Log, config: Config) -> None:
        """step(epoch) goes to the epoch as torch's does, by the closed form where there is one."""
        found = []
        for side in ("NumPy", "torch"):
            optimizer = _optimizer(side, [0.1, 0.3][: max(self.groups)])
            schedule = self.build(side, optimizer, config)
            optimizer.step()
            rates = []
            for epoch in (5, 1, 12, 0, 2, 40, 3):
                _warned(partial(schedule.step, epoch))
                rates.append(_rates(optimizer))
                _warned(schedule.step)
                rates.append(_rates(optimizer))
            found.append(np.array(rates))
        alike = np.allclose(found[0], found[1], rtol=1e-13, atol=1e-16)
        log.require(alike, f"jumped to {found[0]}, torch {found[1]}")

    def _refusals(self, log: Log, config: Config) -> None:
        """Bad arguments raise and say why."""
        log.require(True, "")
        for refusal in self.refusals:
            arguments = refusal.config or {}
            optimizer = _optimizer("NumPy", [0.1, 0.2])
            said = refused(lambda o=optimizer, a=arguments: self.build("NumPy", o, a))  # type: ignore[misc]
            log.require(
                said is not None and says(said, refusal.says), f"{arguments}: said {said!r}"
            )
            if refusal.torch:
                optimizer = _optimizer("torch", [0.1, 0.2])
                log.require(
                    raises(self.build, "torch", optimizer, arguments), f"{arguments}: torch takes"
                )


_NO_OPTIMIZER = TypeError, AttributeError


def _optimizer(side: str, rates: Sequence[float]) -> Any:
    make: Any = Parameter if side == "NumPy" else torch.nn.Parameter
    kind: Any = SGD if side == "NumPy" else torch.optim.SGD
    zeros = np.zeros if side == "NumPy" else torch.zeros
    return kind([{"params": [make(zeros(2))], "lr": rate} for rate in rates])


def _rates(optimizer: Any) -> list[float]:
    return [float(group["lr"]) for group in optimizer.param_groups]


def _warned(fn: Callable[[], Any]) -> str:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fn()
    elsewhere = {w.filename for w in caught} - {__file__}
    chained = ("optimization/scheduler.py", "torch/optim/lr_scheduler.py")  # it calls its schedules
    assert all(place.endswith(chained) for place in elsewhere), f"it points at {elsewhere}"
    return "; ".join(str(w.message) for w in caught)


def _said(fn: Callable[[], Any]) -> str:
    try:
        fn()
    except Exception as error:
        return str(error)
    return ""


def _text(config: Config) -> str:
    return ",".join(f"{k}={brief(v)}" for k, v in config.items())


def _near(a: Any, b: Any) -> bool:
    """Equal up to rounding, through dicts and lists; functions by what they keep."""
    if isinstance(a, Mapping):
        return isinstance(b, Mapping) and a.keys() == b.keys() and all(_near(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return isinstance(b, list | tuple) and len(a) == len(b) and all(map(_near, a, b))
    if isinstance(a, float | np.ndarray):
        return bool(np.allclose(a, float(b), rtol=1e-13, atol=1e-300))
    return bool(a == b)
