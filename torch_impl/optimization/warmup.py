"""Start low, then follow the schedule proper.

All of a SequentialLR's schedulers are built before it, each writing its first rate; it puts the
rates back to `initial_lr` and starts anew, so the order of building does not matter. At the
milestone it calls the next scheduler's closed form at epoch 0, which PyTorch marks as deprecated
for users but uses itself.
"""

from torch.optim.lr_scheduler import LinearLR, LRScheduler, SequentialLR

__all__ = ["warmup_then"]


def warmup_then(
    schedule: LRScheduler, warmup_epochs: int, start_factor: float = 0.1
) -> SequentialLR:
    """Raise the rate from start_factor times itself in warmup_epochs, then begin the schedule.

    Goyal et al. 2017, arXiv:1706.02677. `schedule` is a fresh one, and counts its epochs from the
    end of the warm-up.
    """
    warmup = LinearLR(schedule.optimizer, start_factor, total_iters=warmup_epochs)
    return SequentialLR(schedule.optimizer, [warmup, schedule], milestones=[warmup_epochs])
