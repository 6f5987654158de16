"""What the networks of this chapter share: arrays in, `fit`, `predict`, `score`.

X and y may be tensors, arrays or lists; they are moved to the model's dtype and device, and what
comes back is tensors. `CrossEntropyLoss` is log-softmax and NLLLoss in one pass: it wants logits,
and labels as int64. `MSELoss` averages over all elements, not over rows.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Generator, Tensor, nn
from torch.nn import BatchNorm1d, CrossEntropyLoss, MSELoss
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from torch_impl.losses import r2_score
from torch_impl.training import History, accuracy, batches, fit, predict

__all__ = ["Estimator"]


class Estimator(nn.Module):
    """A network `net` that is fitted to whole arrays: x -> net(x).

    Classification ends in one logit a class, trained by CrossEntropyLoss; regression in plain
    numbers, trained by MSELoss. Neither has an activation on the output: ReLU there could never
    reach a target below 0, and cross-entropy takes the softmax itself.

    Args:
        layers: the widths from input to output.
        learning_rate: for the optimizer that `fit` makes.
        task: "classification" or "regression".

    Raises:
        ValueError: fewer than two widths, one below 1, or a classification into one class.
    """

    net: nn.Sequential

    def __init__(
        self,
        layers: Sequence[int],
        learning_rate: float = 0.01,
        task: Literal["classification", "regression"] = "classification",
    ) -> None:
        super().__init__()
        layers = list(layers)
        if len(layers) < 2 or not all(isinstance(n, int) and n > 0 for n in layers):
            raise ValueError(f"layers must be two or more positive widths, got {layers}")
        if task not in ("classification", "regression"):
            raise ValueError(f'task must be "classification" or "regression", got {task!r}')
        if task == "classification" and layers[-1] < 2:
            raise ValueError(f"classification wants at least 2 classes, got layers {layers}")
        self.layers, self.learning_rate, self.task = layers, learning_rate, task

    def forward(self, x: Tensor) -> Tensor:
        """Logits, or the numbers predicted."""
        return self.net(x)

    def fit(
        self,
        X: Any,
        y: Any,
        epochs: int = 100,
        batch_size: int = 32,
        *,
        validation: tuple[Any, Any] | None = None,
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

    def predict(self, X: Any) -> Tensor:
        """The likeliest class of each sample (N,), or the numbers predicted (N, D)."""
        output = predict(self, self._samples(X))
        return output.argmax(dim=1) if self.task == "classification" else output

    def predict_proba(self, X: Any) -> Tensor:
        """The probability of each class, (N, C): the softmax of the logits.

        Raises:
            ValueError: the task is regression.
        """
        if self.task != "classification":
            raise ValueError("predict_proba is for classification, this model does regression")
        return predict(self, self._samples(X)).softmax(dim=1)

    def score(self, X: Any, y: Any) -> float:
        """Accuracy for classification, R^2 for regression."""
        measure = accuracy if self.task == "classification" else r2_score
        return float(measure(predict(self, self._samples(X)), self._targets(y, len(X))))

    def _samples(self, X: Any) -> Tensor:
        x = _tensor(X)
        if x.ndim == 0 or not len(x) or x.numel() != len(x) * self.layers[0]:
            raise ValueError(f"X must be (N, {self.layers[0]}) with N > 0, got {tuple(x.shape)}")
        return _finite("X", x.to(next(self.parameters()))).reshape(len(x), self.layers[0])

    def _targets(self, y: Any, n: int) -> Tensor:
        y, outputs, like = _tensor(y), self.layers[-1], next(self.parameters())
        if self.task == "classification":
            if y.is_floating_point() or y.dtype == torch.bool:
                raise TypeError(f"labels must be whole numbers, got dtype {y.dtype}")
            if y.shape != (n,):
                raise ValueError(f"labels must be ({n},), one a sample, got {tuple(y.shape)}")
            wrong = ((y < 0) | (y >= outputs)).nonzero()
            if len(wrong):
                at = int(wrong[0])
                raise ValueError(f"labels must be 0 to {outputs - 1}, got {int(y[at])} at [{at}]")
            return y.to(like.device, torch.int64)
        if y.shape != (n, outputs) and (y.shape != (n,) or outputs != 1):
            raise ValueError(f"y must be ({n}, {outputs}), got {tuple(y.shape)}")
        return _finite("y", y.to(like)).reshape(n, outputs)


def _tensor(values: Any) -> Tensor:
    """A tensor without a graph; what is not one yet is copied."""
    x = values.detach() if isinstance(values, Tensor) else torch.tensor(values)
    if x.is_complex():
        raise TypeError(f"wanted real numbers, got {x.dtype}")
    return x


def _finite(name: str, values: Tensor) -> Tensor:
    """The values; ValueError if one is NaN or infinite, or was too large for its dtype."""
    bad = (~values.isfinite()).nonzero()
    if len(bad):
        at = tuple(bad[0].tolist())
        raise ValueError(
            f"{name} must be finite in {values.dtype}, got {values[at].item()} at {list(at)}"
        )
    return values
