"""What was watched, handed on to a dashboard: scalars and histograms by tag and step."""

from __future__ import annotations

from typing import Any, Protocol

from numpy_impl.debugging.activations import ActivationMonitor
from numpy_impl.debugging.monitor import Monitor
from numpy_impl.training.history import History

__all__ = ["write_summaries"]


class Writer(Protocol):
    """What is called of a `torch.utils.tensorboard.SummaryWriter`."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> Any:
        """One number of a curve."""

    def add_histogram_raw(self, tag: str, **numbers: Any) -> Any:
        """Counts in buckets."""


def write_summaries(
    writer: Writer,
    *,
    history: History | None = None,
    monitor: Monitor | None = None,
    activations: ActivationMonitor | None = None,
) -> None:
    """Write what a run left behind into a dashboard, TensorBoard's to begin with.

    Scalars: step/loss, step/gradient norm and step/lr by step, epoch/train loss, epoch/validation
    loss and epoch/validation metric by epoch, of the history; gradient/<name>, weight/<name> and
    update/<name> by step, of the monitor; mean/<layer>, std/<layer>, saturation/<layer> and
    dead/<layer> by forward, of the activations, and a histogram activation/<layer>. Steps, epochs
    and forwards count from 1. Histograms without a finite number are left out.

    Args:
        writer: has `add_scalar` and `add_histogram_raw` as `SummaryWriter` has them.
    """
    if history is not None:
        for tag, numbers in {
            "step/loss": history.step_loss,
            "step/gradient norm": history.step_grad_norm,
            "step/lr": history.step_lr,
            "epoch/train loss": history.train_loss,
            "epoch/validation loss": history.val_loss,
            "epoch/validation metric": history.val_metric,
        }.items():
            for step, number in enumerate(numbers, 1):
                writer.add_scalar(tag, number, step)
    if monitor is not None:
        for kind, by_name in {
            "gradient": monitor.grad_norm,
            "weight": monitor.weight_norm,
            "update": monitor.update_ratio,
        }.items():
            for name, numbers in by_name.items():
                for step, number in zip(monitor.steps, numbers):
                    writer.add_scalar(f"{kind}/{name}", number, step)
    if activations is not None:
        for kind in ("mean", "std", "saturation", "dead"):
            for name, numbers in getattr(activations, kind).items():
                for step, number in zip(activations.calls, numbers):
                    writer.add_scalar(f"{kind}/{name}", number, step)
        for name, entries in activations.histogram.items():
            moments = zip(activations.mean[name], activations.std[name])
            for step, entry, (mean, std) in zip(activations.calls, entries, moments):
                _histogram(writer, f"activation/{name}", step, entry, mean, std)


def _histogram(
    writer: Writer, tag: str, step: int, entry: tuple[Any, float, float], mean: float, std: float
) -> None:
    counts, low, high = entry[0].tolist(), *entry[1:]
    n, width = sum(counts), (high - low) / len(counts)
    if n:
        writer.add_histogram_raw(
            tag,
            min=low,
            max=high,
            num=n,
            sum=mean * n,
            sum_squares=(std**2 + mean**2) * n,
            bucket_limits=[low + width * (i + 1) for i in range(len(counts))],
            bucket_counts=counts,
            global_step=step,
        )
