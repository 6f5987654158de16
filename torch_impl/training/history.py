"""What a run wrote down.

Plain floats, not tensors: a list of losses that still require a gradient keeps every step's graph
alive, and a list of tensors on a GPU is waited for one by one when it is read.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

__all__ = ["History"]


@dataclass
class History:
    """Numbers of a run: lists one entry a step, and lists one entry an epoch.

    A step: `step_loss` is the loss that was descended, penalty included; `step_grad_norm` the
    norm of all gradients before clipping; `step_lr` the rate of the first parameter group.
    An epoch: `train_loss` is the mean over the samples of the step losses, each measured before
    its own update; `val_loss` and `val_metric` are measured after the epoch, on the criterion
    alone; `seconds` is what the epoch took, validation included. Lists that were not asked for
    stay empty. `stopped_early` says that early stopping ended the run.
    """

    step_loss: list[float] = field(default_factory=list)
    step_grad_norm: list[float] = field(default_factory=list)
    step_lr: list[float] = field(default_factory=list)
    train_loss: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    val_metric: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    stopped_early: bool = False

    @property
    def epochs(self) -> int:
        """How many epochs came to their end."""
        return len(self.train_loss)

    @property
    def steps(self) -> int:
        """How many steps were taken."""
        return len(self.step_loss)

    def __str__(self) -> str:
        """The run in one line; `repr` has every number."""
        lists = {"train_loss": self.train_loss, "val_loss": self.val_loss}
        lists["val_metric"] = self.val_metric
        words = [f"epochs={self.epochs}", f"steps={self.steps}"]
        words += [f"{name} {x[0]:.4g} -> {x[-1]:.4g}" for name, x in lists.items() if x]
        return f"History({', '.join(words + ['stopped early'] * self.stopped_early)})"

    def to_dict(self) -> dict[str, Any]:
        """Plain lists of floats by name."""
        return asdict(self)

    @classmethod
    def from_dict(cls, numbers: Mapping[str, Any]) -> Self:
        """The history that `to_dict` gave these numbers.

        Raises:
            ValueError: a name is unknown.
        """
        unknown = numbers.keys() - {entry.name for entry in fields(cls)}
        if unknown:
            raise ValueError(f"a History has no {', '.join(sorted(unknown))}")
        copied: dict[str, Any] = {name: copy.copy(entry) for name, entry in numbers.items()}
        return cls(**copied)

    def to_json(self) -> str:
        """One JSON object; a metric that is NaN or infinite becomes null, as JSON has neither."""
        entries = self.to_dict()
        entries["val_metric"] = [m if math.isfinite(m) else None for m in self.val_metric]
        return json.dumps(entries, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The history that `to_json` wrote; null becomes NaN."""
        history = cls.from_dict(json.loads(text))
        history.val_metric = [math.nan if m is None else m for m in history.val_metric]
        return history
