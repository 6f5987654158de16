"""What the networks of this chapter share: arrays in, `fit`, `predict`, `score`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from numpy_impl.layers.container import Sequential
from numpy_impl.layers.softmax import softmax
from numpy_impl.losses import CrossEntropyLoss, MSELoss, r2_score
from numpy_impl.module import Array, Module
from numpy_impl.normalization import BatchNorm1d
from numpy_impl.optimization import SGD, LRScheduler, Optimizer
from numpy_impl.random import Generator
from numpy_impl.training import History, accuracy, batches, fit, predict

__all__ = ["Estimator"]


class Estimator(Module):
    """A network `net` that is fitted to whole arrays: x -> net(x), dx = net's backward of dy.

    Classification ends in one logit a class, trained by CrossEntropyLoss; regression in plain
    numbers, trained by MSELoss. Neither has an activation on the output: ReLU there could never
    reach a target below 0, and cross-entropy takes the softmax itself.

    Args:
        layers: the widths from input to output.
        learning_rate: for the optimizer that `fit` makes.
        task: "classification" or "regression".

    Shapes: x, dx (N, layers[0]); net(x) (N, layers[-1]). `fit`, `predict` and `score` also take
    samples of more axes, images say, with layers[0] numbers each.

    Raises:
        ValueError: fewer than two widths, one below 1, or a classification into one class.
    """

    net: Sequential

    def __init__(
        self,
        layers: Sequence[int],
        learning_rate: float = 0.01,
        task: Literal["classification", "regression"] = "classification",
    ) -> None:
        layers = list(layers)
        if len(layers) < 2 or not all(isinstance(n, int | np.integer) and n > 0 for n in layers):
            raise ValueError(f"layers must be two or more positive widths, got {layers}")
        if task not in ("classification", "regression"):
            raise ValueError(f'task must be "classification" or "regression", got {task!r}')
        if task == "classification" and layers[-1] < 2:
            raise ValueError(f"classification wants at least 2 classes, got layers {layers}")
        self.layers, self.learning_rate, self.task = layers, learning_rate, task

    def forward(self, x: Array) -> Array:
        """Logits, or the numbers predicted."""
        return self.net(x)

    def backward(self, dy: Array) -> Array | None:
        """The gradient of x."""
        return self.net.backward(dy)

    def discard_saved(self) -> None:
        """Drop what the last forward saved."""
        self.net.discard_saved()

    @property
    def needs_input_grad(self) -> bool:
        """Whether backward goes all the way to the input."""
        return self.net.needs_input_grad

    @needs_input_grad.setter
    def needs_input_grad(self, needed: bool) -> None:
        self.net.needs_input_grad = needed

    def fit(
        self,
        X: Array,
        y: Array,
        epochs: int = 100,
        batch_size: int = 32,
        *,
        validation: tuple[Array, Array] | None = None,
        optimizer: Callable[..., Optimizer] = SGD,
        scheduler: Callable[[Optimizer], LRScheduler] | None = None,
        generator: Generator | None = None,
        **options: Any,
    ) -> History:
        """Train on shuffled mini-batches; returns what was written down on the way.

        The weights go on from where they are, with a new optimizer at `learning_rate`. With batch
        norm, a last batch of one row has no variance: then the pass ends before it, and as each
        pass is shuffled anew, no row is left out for good.

        Args:
            X, y: samples, and labels 0 to C-1 (N,) or targets (N, D), (N,) if D is 1.
            validation: samples and targets to measure on after each epoch.
            optimizer: what makes one from parameters and lr: Adam, or
                functools.partial(SGD, momentum=0.9).
            scheduler: what makes one from the optimizer: functools.partial(StepLR, step_size=10).
            generator: of the shuffles; the global one if None.
            options: passed on to `training.fit`: clip_norm, early_stopping, penalty, progress, ...

        Raises:
            ValueError: shapes that do not fit, labels out of range, NaN or infinity; the weights
                have not been touched then.
            TypeError: X or y are not numbers, or labels not whole ones.
        """
        x, target = self._samples(X), self._targets(y, len(X))
        held_out = None
        if validation is not None:
            x_val, y_val = validation
            held_out = [(self._samples(x_val), self._targets(y_val, len(x_val)))]
            options.setdefault("metric", accuracy if self.task == "classification" else r2_score)
        norm = any(isinstance(module, BatchNorm1d) for module in self.modules())
        if norm and min(batch_size, len(x)) == 1:
            raise ValueError(
                f"batch norm wants 2 or more rows a batch, got {batch_size=} and {len(x)} rows"
            )
        loader = batches(
            x,
            target,
            batch_size=batch_size,
            shuffle=True,
            drop_last=norm and len(x) % batch_size == 1,
            generator=generator,
        )
        criterion = CrossEntropyLoss() if self.task == "classification" else MSELoss()
        chosen = optimizer(self.parameters(), lr=self.learning_rate)
        schedule = None if scheduler is None else scheduler(chosen)
        return fit(
            self,
            loader,
            criterion,
            chosen,
            epochs=epochs,
            validation=held_out,
            scheduler=schedule,
            **options,
        )

    def predict(self, X: Array) -> Array:
        """The likeliest class of each sample (N,), or the numbers predicted (N, D)."""
        output = predict(self, self._samples(X))
        return output.argmax(axis=1) if self.task == "classification" else output

    def predict_proba(self, X: Array) -> Array:
        """The probability of each class, (N, C): the softmax of the logits.

        Raises:
            ValueError: the task is regression.
        """
        if self.task != "classification":
            raise ValueError("predict_proba is for classification, this model does regression")
        logits = predict(self, self._samples(X))
        return softmax(logits, dim=1)

    def score(self, X: Array, y: Array) -> float:
        """Accuracy for classification, R^2 for regression."""
        measure = accuracy if self.task == "classification" else r2_score
        return float(measure(predict(self, self._samples(X)), self._targets(y, len(X))))

    def _samples(self, X: Any) -> Array:
        x = np.asarray(X)
        if x.dtype.kind not in "fiub":
            raise TypeError(f"X must be numbers, got dtype {x.dtype}")
        if x.ndim == 0 or not len(x) or x.size != len(x) * self.layers[0]:
            raise ValueError(f"X must be (N, {self.layers[0]}) with N > 0, got {x.shape}")
        return _finite("X", x, self._dtype()).reshape(len(x), self.layers[0])

    def _targets(self, y: Any, n: int) -> Array:
        y, outputs = np.asarray(y), self.layers[-1]
        if self.task == "classification":
            if y.dtype.kind not in "iu":
                raise TypeError(f"labels must be whole numbers, got dtype {y.dtype}")
            if y.shape != (n,):
                raise ValueError(f"labels must be ({n},), one a sample, got {y.shape}")
            wrong = np.flatnonzero((y < 0) | (y >= outputs))
            if len(wrong):
                at = int(wrong[0])
                raise ValueError(f"labels must be 0 to {outputs - 1}, got {y[at]} at [{at}]")
            return y.astype(np.int64)
        if y.dtype.kind not in "fiub":
            raise TypeError(f"y must be numbers, got dtype {y.dtype}")
        if y.shape != (n, outputs) and (y.shape != (n,) or outputs != 1):
            raise ValueError(f"y must be ({n}, {outputs}), got {y.shape}")
        return _finite("y", y, self._dtype()).reshape(n, outputs)

    def _dtype(self) -> np.dtype[Any]:
        return next(self.parameters()).dtype


def _finite(name: str, values: Array, dtype: np.dtype[Any]) -> Array:
    """The values in dtype; ValueError if one is NaN, infinite, or too large for it."""
    with np.errstate(over="ignore"):
        values = values.astype(dtype)
    if not np.isfinite(values).all():
        at = tuple(np.argwhere(~np.isfinite(values))[0].tolist())
        raise ValueError(f"{name} must be finite in {dtype}, got {values[at]} at {list(at)}")
    return values
