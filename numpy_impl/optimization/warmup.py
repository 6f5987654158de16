"""Start low, then follow the schedule proper."""

from __future__ import annotations

from numpy_impl.optimization.decay import LinearLR
from numpy_impl.optimization.scheduler import LRScheduler, SequentialLR

__all__ = ["warmup_then"]


def warmup_then(
    schedule: LRScheduler, warmup_epochs: int, start_factor: float = 0.1
) -> SequentialLR:
    """Raise the rate from start_factor times itself in warmup_epochs, then begin the schedule.

    Goyal et al. 2017, arXiv:1706.02677: the first steps, where curvature and Adam's averages are
    unknown, are small. `schedule` is a fresh one, and counts its epochs from the end of the
    warm-up: warmup_then(CosineAnnealingLR(optimizer, T_max=15), warmup_epochs=5).
    """
    warmup = LinearLR(schedule.optimizer, start_factor, total_iters=warmup_epochs)
    return SequentialLR(schedule.optimizer, [warmup, schedule], milestones=[warmup_epochs])
