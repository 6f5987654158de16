"""What ``digits.py`` prints: the setting, both histories, and whether the sides agree."""

from __future__ import annotations

from typing import Any

import numpy as np

from examples.datasets import Splits

Array = np.ndarray[Any, np.dtype[Any]]

FLOAT32_STEPS = 10
"""For how many steps float32 runs are held to agree: they part where a ReLU flips by rounding."""


def describe(setting: Any, data: Splits) -> str:
    """The setting in words."""
    height, width = data.image_shape
    kind = "residual MLP" if setting.residual else "MLP"
    parts = [f"{setting.depth} x {setting.width} {setting.activation}"]
    parts += ["batch norm"] if setting.norm else []
    parts += [f"dropout {setting.dropout:g}"] if setting.dropout else []
    steps = [f"{setting.optimizer} at {setting.lr:g}", f"schedule {setting.schedule}"]
    steps += [f"weight decay {setting.weight_decay:g}"] if setting.weight_decay else []
    steps += [f"gradients clipped to norm {setting.clip:g}"] if setting.clip else []
    steps += [f"early stopping after {setting.patience} epochs"] if setting.patience else []
    return (
        f"data: {len(data.x_train):,} digits of {height}x{width} to train on, "
        f"{len(data.x_val):,} to validate, {len(data.x_test):,} to test\n"
        f"{kind}: {', '.join(parts)}; {setting.dtype}\n"
        f"training: {', '.join(steps)}; {setting.epochs} epochs, batches of {setting.batch_size}, "
        f"seed {setting.seed}"
    )


def histories(ours: Any, theirs: Any) -> str:
    """Both histories side by side, one line an epoch."""
    lines = [
        "epoch     train loss           validation loss      validation accuracy     largest",
        "        NumPy    PyTorch       NumPy    PyTorch        NumPy   PyTorch    difference",
    ]
    for i in range(min(ours.epochs, theirs.epochs)):
        rows = [(h.train_loss[i], h.val_loss[i], h.val_metric[i]) for h in (ours, theirs)]
        (train, val, right), (train2, val2, right2) = rows
        apart = max(abs(a - b) for a, b in zip(*rows))
        lines.append(
            f"{i + 1:5} {train:10.6f} {train2:10.6f}  {val:10.6f} {val2:10.6f}   "
            f"{right:9.2%} {right2:9.2%}   {apart:9.1e}"
        )
    return "\n".join(lines)


def compare(ours: Any, theirs: Any, dtype: str, data: Splits) -> tuple[bool, str]:
    """Whether the runs agree as far as their precision lets them, and the numbers."""
    gaps, n = loss_gaps(ours.history, theirs.history), len(data.y_test)
    same = int((ours.predicted == theirs.predicted).sum())
    lines = [
        f"test accuracy: NumPy {ours.accuracy:.2%}, PyTorch {theirs.accuracy:.2%}",
        f"predictions equal: {same}/{n}",
        f"training took: NumPy {sum(ours.history.seconds):.1f} s, "
        f"PyTorch {sum(theirs.history.seconds):.1f} s",
        f"largest difference of a step's loss: {gaps.max():.1e}, over {len(gaps)} steps",
    ]
    if dtype == "float64":
        agree = ours.history.epochs == theirs.history.epochs and same == n and gaps.max() < 1e-9
        lines.append("the runs agree" if agree else "the runs DISAGREE: wanted all equal, to 1e-9")
        if first := list(np.flatnonzero(gaps >= 1e-9)[:1] + 1):
            lines.append(f"the first step to differ by more is number {first[0]}")
        return bool(agree), "\n".join(lines)
    early = gaps[:FLOAT32_STEPS].max()
    agree = early < 1e-5 and abs(ours.accuracy - theirs.accuracy) <= max(0.02, 2 / n)
    lines.append(f"the same over the first {FLOAT32_STEPS} steps: {early:.1e}")
    apart = np.flatnonzero(gaps > 1e-5)
    if agree and len(apart):
        lines.append(
            f"the runs agree until step {apart[0] + 1} and part there, as two right float32 runs "
            "do: one ReLU input\nto which rounding gives another sign is enough. --dtype float64 "
            "shows whether anything else is different"
        )
    else:
        lines.append(f"the runs {'agree' if agree else 'DISAGREE: wanted 1e-5 and 2 % accuracy'}")
    return bool(agree), "\n".join(lines)


def loss_gaps(ours: Any, theirs: Any) -> Array:
    """How far apart the losses of each step are."""
    pairs = zip(ours.step_loss, theirs.step_loss)
    return np.array([abs(a - b) for a, b in pairs])
