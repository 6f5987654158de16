"""Learning rates that fall: by a factor, in steps, along a line, a power, a cosine, as 1/t.

Each multiplies the present rate, so several can be stepped together and their factors multiply,
and a rate changed by hand is carried on from. The closed forms are used only by SequentialLR and
the deprecated `step(epoch)`; after a change by hand the two differ.

CosineAnnealingLR rises again when stepped past T_max; it does not restart.
"""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    ExponentialLR,
    LinearLR,
    LRScheduler,
    PolynomialLR,
    StepLR,
)

__all__ = [
    "CosineAnnealingLR",
    "ExponentialLR",
    "InverseTimeLR",
    "LinearLR",
    "PolynomialLR",
    "StepLR",
]


class InverseTimeLR(LRScheduler):
    """Divide the rate by a number that grows with time: lr = initial_lr / (1 + decay_rate * epoch).

    `LambdaLR(optimizer, lambda epoch: 1 / (1 + decay_rate * epoch))` gives the same rates, but
    overwrites a rate changed by hand and does not save decay_rate.
    """

    def __init__(self, optimizer: Optimizer, decay_rate: float, last_epoch: int = -1) -> None:
        if not decay_rate >= 0:
            raise ValueError(f"decay_rate must be at least 0, got {decay_rate}")
        self.decay_rate = decay_rate
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:  # type: ignore[override]
        """The present rates times the ratio of two neighbouring epochs."""
        if self._is_initial:
            return [group["lr"] for group in self.optimizer.param_groups]
        before = 1 + self.decay_rate * (self.last_epoch - 1)
        factor = before / (1 + self.decay_rate * self.last_epoch)
        return [group["lr"] * factor for group in self.optimizer.param_groups]

    def _get_closed_form_lr(self) -> list[float]:
        return [float(base) / (1 + self.decay_rate * self.last_epoch) for base in self.base_lrs]
