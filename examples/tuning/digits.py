"""A network for handwritten digits as an objective: four settings in, one validation loss out."""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import Any

from examples.datasets import NUM_CLASSES, Splits, load_splits


def space(side: str) -> dict[str, Any]:
    """How fast, how wide, how much dropped out, how much decayed."""
    tuning = import_module(f"{side}.tuning")
    return {
        "lr": tuning.LogUniform(1e-4, 1e-1),
        "width": tuning.Integer(16, 128, log=True),
        "dropout": tuning.Uniform(0.0, 0.5),
        "weight_decay": tuning.LogUniform(1e-4, 1.0),
    }


def objective(config: dict[str, Any], side: str, epochs: int, samples: int) -> float:
    """The loss on the validation digits after so many epochs.

    The searches seed the side's generator before each call, so that weights, shuffles and dropout
    are the trial's own, and the same on both sides.
    """
    architectures = import_module(f"{side}.architectures")
    optimization = import_module(f"{side}.optimization")
    data = _splits()
    layers = [64, config["width"], NUM_CLASSES]
    model = architectures.DeepMLP(layers, config["lr"], dropout=config["dropout"]).double()
    history = model.fit(
        data.x_train[:samples].reshape(-1, 64),
        data.y_train[:samples],
        epochs=epochs,
        batch_size=32,
        validation=(data.x_val.reshape(-1, 64), data.y_val),
        optimizer=lambda _, lr: optimization.AdamW(
            optimization.decay_groups(model, config["weight_decay"]), lr=lr
        ),
    )
    return float(history.val_loss[-1])


@lru_cache
def _splits() -> Splits:
    return load_splits()
