"""Stop when validation gets no better, and go back to where it was best.

torch ships no early stopping. `model.state_dict()` holds the live tensors, not copies: kept as it
is, "the best weights" go on training, and what is restored at the end is the last epoch. Hence the
deepcopy. `load_state_dict` copies into the parameters in place, so the optimizer goes on working;
its own moments stay those of the last epoch.
"""

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["EarlyStopping"]


class EarlyStopping:
    """Watch one number an epoch, keep the model's state at its best, and say when to stop.

    Prechelt 1998, "Early stopping - but when?". A tie is not better, and neither is NaN; `patience`
    epochs in a row that are not better by more than min_delta end the run.

    Args:
        patience: epochs without improvement to sit through; 0 is like 1.
        min_delta: by how much an epoch must be better to count.
        mode: "min" for a loss, "max" for an accuracy.
        restore_best: False keeps no copy, and restores nothing.

    Raises:
        ValueError: patience or min_delta is negative, or mode is neither.
    """

    def __init__(
        self,
        patience: int = 10,
        min_delta: float = 0.0,
        mode: str = "min",
        restore_best: bool = True,
    ) -> None:
        if patience < 0 or int(patience) != patience:
            raise ValueError(f"patience must be a whole number of at least 0, got {patience}")
        if not 0 <= min_delta < math.inf:
            raise ValueError(f"min_delta must be a finite number of at least 0, got {min_delta}")
        if mode not in ("min", "max"):
            raise ValueError(f"mode must be 'min' or 'max', got {mode!r}")
        self.patience, self.min_delta = patience, min_delta
        self.mode, self.restore_best = mode, restore_best
        self.best = math.inf if mode == "min" else -math.inf
        self.best_epoch = self.num_bad_epochs = self.last_epoch = 0
        self.best_state: dict[str, Tensor] | None = None

    def step(self, metric: float, model: nn.Module) -> bool:
        """Take in one epoch; True means stop, and the model is back at its best by then."""
        metric = float(metric)
        self.last_epoch += 1
        if self._is_better(metric):
            self.best, self.best_epoch, self.num_bad_epochs = metric, self.last_epoch, 0
            if self.restore_best:
                self.best_state = copy.deepcopy(model.state_dict())
            return False
        self.num_bad_epochs += 1
        if self.num_bad_epochs < self.patience:
            return False
        self.restore(model)
        return True

    def restore(self, model: nn.Module) -> None:
        """Copy the best state into the model; does nothing where none was kept."""
        if self.best_state is not None:
            model.load_state_dict(self.best_state)

    def state_dict(self) -> dict[str, Any]:
        """All it knows, as a copy; a run resumed from it stops at the same epoch."""
        return copy.deepcopy(vars(self))

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from where a `state_dict` was taken, settings included.

        Raises:
            ValueError: keys are missing or unknown. Nothing has changed then.
        """
        if state_dict.keys() != vars(self).keys():
            raise ValueError(f"state_dict must have {sorted(vars(self))}, got {sorted(state_dict)}")
        kept = state_dict["best_state"]
        copied = kept and {key: torch.as_tensor(value).clone() for key, value in kept.items()}
        vars(self).update(state_dict, best_state=copied)

    def _is_better(self, metric: float) -> bool:
        if self.mode == "min":
            return metric < self.best - self.min_delta
        return metric > self.best + self.min_delta
