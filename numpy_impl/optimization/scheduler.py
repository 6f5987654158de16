"""How a learning rate follows a schedule: the base of all of them, a rule of one's own, a chain."""

from __future__ import annotations

import types
import warnings
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from numpy_impl.optimization.optimizer import Optimizer

__all__ = ["LRScheduler", "LambdaLR", "SequentialLR"]


class LRScheduler:
    """Write a learning rate into every group of an optimizer, once an epoch (or a step).

    Schedules are recursive: `get_lr` makes the next rate from the group's present one, so a rate
    changed by hand, or by another schedule, is carried on from. The rate at the start is kept
    in the group as `initial_lr`.

    A subclass writes `get_lr`, and `_get_closed_form_lr` if it can say the rate at any epoch.

    Args:
        optimizer: whose groups' "lr" is set, at once and at every `step`.
        last_epoch: the epoch to go on after; -1 starts. Going on needs `initial_lr` in the groups,
            which a loaded optimizer state has.

    Raises:
        TypeError: optimizer is not an Optimizer.
        KeyError: last_epoch is not -1 and a group has no initial_lr.
    """

    _get_lr_called_within_step: bool
    _is_initial: bool
    base_lrs: list[float]

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        _require_optimizer(optimizer)
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(
                    f"param 'initial_lr' is not specified in param_groups[{i}]: load the "
                    f"optimizer's state before resuming at last_epoch={last_epoch}"
                )
        self.optimizer = optimizer
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._initial_step()

    def get_lr(self) -> list[float]:
        """The rate of each group at `last_epoch`; for `step` to call (see `get_last_lr`)."""
        raise NotImplementedError(f"{type(self).__name__} has no get_lr")

    def get_last_lr(self) -> list[float]:
        """The rates that were set last, one a group."""
        return self._last_lr

    def step(self, epoch: int | None = None) -> None:
        """Move on by an epoch; call it after `optimizer.step()`, or the first rate is never used.

        With `epoch` (deprecated in torch) jump there, by the closed form where there is one.
        """
        overridden = type(self.optimizer).step is not Optimizer.step  # then nobody counts
        if self._step_count == 1 and not (self.optimizer._opt_called or overridden):
            warnings.warn(
                "`lr_scheduler.step()` before `optimizer.step()`: the first rate of the schedule "
                "was never used",
                stacklevel=2,
            )
        if epoch is not None:
            warnings.warn("the epoch of `scheduler.step()` is deprecated", stacklevel=2)
        self._step_count += 1
        self._update_lr(epoch)

    def _initial_step(self) -> None:
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False

    def _update_lr(self, epoch: int | None = None) -> None:
        self._get_lr_called_within_step = True
        try:
            if epoch is None:
                self.last_epoch += 1
                rates = self.get_lr()
            else:
                self.last_epoch = epoch
                rates = getattr(self, "_get_closed_form_lr", self.get_lr)()
        finally:
            self._get_lr_called_within_step = False
        for group, lr in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = lr
        self._last_lr = self._rates()

    def _rates(self) -> list[float]:
        return [group["lr"] for group in self.optimizer.param_groups]

    def _scaled(self, factor: float) -> list[float]:
        """What most schedules answer: the present rates times a factor."""
        if not self._get_lr_called_within_step:
            warnings.warn("use `get_last_lr()` for the rates set last", stacklevel=3)
        return [lr * factor for lr in self._rates()]

    def state_dict(self) -> dict[str, Any]:
        """All but the optimizer, under torch's keys."""
        return {key: value for key, value in vars(self).items() if key != "optimizer"}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a saved state. The optimizer's own state holds the present rates."""
        vars(self).update(state_dict)


class LambdaLR(LRScheduler):
    """Set each rate to initial_lr times a function of the epoch, one function or one a group.

        lr = initial_lr * lr_lambda(epoch)

    Not recursive: a rate changed by hand is overwritten. The state holds what callable objects
    keep in their attributes; plain functions are not saved.

    Raises:
        ValueError: not as many functions as groups.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        _require_optimizer(optimizer)
        groups = len(optimizer.param_groups)
        lambdas = list(lr_lambda) if isinstance(lr_lambda, list | tuple) else [lr_lambda] * groups
        if len(lambdas) != groups:
            raise ValueError(f"Expected {groups} lr_lambdas, but got {len(lambdas)}")
        self.lr_lambdas: list[Any] = lambdas
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """initial_lr * lr_lambda(epoch)."""
        self._scaled(1)
        return [base * fn(self.last_epoch) for fn, base in zip(self.lr_lambdas, self.base_lrs)]

    def state_dict(self) -> dict[str, Any]:
        """All but the optimizer; of each function the attributes, None for plain ones."""
        kept = [
            None if isinstance(fn, types.FunctionType) else dict(vars(fn)) for fn in self.lr_lambdas
        ]
        return super().state_dict() | {"lr_lambdas": kept}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a saved state, the functions' attributes included."""
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "lr_lambdas"})
        for fn, kept in zip(self.lr_lambdas, state_dict["lr_lambdas"], strict=True):
            if kept is not None:
                vars(fn).update(kept)


class SequentialLR(LRScheduler):
    """Follow one schedule after the other, each from epoch 0 at its milestone.

    At a milestone the next schedule starts from initial_lr by its closed form.

    Raises:
        ValueError: no schedules, not one milestone less than schedules, or a schedule of another
            optimizer.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: list[LRScheduler],
        milestones: list[int],
        last_epoch: int = -1,
    ) -> None:
        if not schedulers:
            raise ValueError("SequentialLR expects at least one scheduler, but got no scheduler.")
        for i, scheduler in enumerate(schedulers):
            if not hasattr(scheduler, "optimizer"):
                raise TypeError(f"schedulers[{i}] is no scheduler: {type(scheduler).__name__}")
            if scheduler.optimizer is not optimizer:
                raise ValueError(
                    "SequentialLR expects all schedulers to belong to the same optimizer, "
                    f"schedulers[{i}] has another"
                )
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(
                "expected number of schedulers to be one more than the number of milestones, "
                f"got {len(schedulers)} and {len(milestones)}"
            )
        self._schedulers, self._milestones = schedulers, milestones
        self.last_epoch = last_epoch + 1
        self.optimizer = optimizer
        for group in optimizer.param_groups:  # undo the first steps that all of them made
            group["lr"] = group["initial_lr"]
        self.recursive_undo()
        first = schedulers[bisect_right(milestones, 0)]
        first._initial_step()
        self._last_lr = first.get_last_lr()

    def recursive_undo(self, sched: LRScheduler | None = None) -> None:
        """Take back one epoch in every schedule, also in those inside of schedules."""
        sched = sched or self
        if isinstance(sched, SequentialLR):
            for scheduler in sched._schedulers:
                self.recursive_undo(scheduler)
        else:
            sched.last_epoch -= 1

    def step(self, epoch: int | None = None) -> None:
        """Move on by an epoch. It cannot jump."""
        if epoch is not None:
            raise TypeError(f"SequentialLR steps one epoch at a time, got epoch={epoch}")
        self.last_epoch += 1
        i = bisect_right(self._milestones, self.last_epoch)
        scheduler = self._schedulers[i]
        if i > 0 and self._milestones[i - 1] == self.last_epoch:
            scheduler._update_lr(0)
        else:
            scheduler.step()
        self._last_lr = scheduler.get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        """All but the optimizer, the schedules by their own states."""
        states = [scheduler.state_dict() for scheduler in self._schedulers]
        return super().state_dict() | {"_schedulers": states}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "_schedulers"})
        for scheduler, state in zip(self._schedulers, state_dict["_schedulers"], strict=True):
            scheduler.load_state_dict(state)


def _require_optimizer(optimizer: Any) -> None:
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
