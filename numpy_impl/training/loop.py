"""The mini-batch loop, and the two ways of using a model without training it."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
from tqdm import tqdm

from numpy_impl.losses.regression import Loss
from numpy_impl.module import Array, Module, no_grad
from numpy_impl.optimization.optimizer import Optimizer
from numpy_impl.optimization.scheduler import LRScheduler
from numpy_impl.regularization import EarlyStopping, ElasticNet
from numpy_impl.training.history import History
from numpy_impl.training.interrupt import interrupt_between_steps
from numpy_impl.training.non_finite import NonFiniteError, find_non_finite
from numpy_impl.training.step import train_step

__all__ = ["evaluate", "fit", "predict"]

Batches = Iterable[Sequence[Array]]
Metric = Callable[[Array, Array], Any]


def fit(
    model: Module,
    batches: Batches,
    criterion: Loss,
    optimizer: Optimizer,
    *,
    epochs: int = 1,
    validation: Batches | None = None,
    metric: Metric | None = None,
    scheduler: LRScheduler | None = None,
    scheduler_steps: Literal["epoch", "step"] = "epoch",
    clip_norm: float | None = None,
    clip_value: float | None = None,
    penalty: ElasticNet | None = None,
    early_stopping: EarlyStopping | None = None,
    monitor: Literal["val_loss", "val_metric"] = "val_loss",
    history: History | None = None,
    progress: bool | None = None,
) -> History:
    """Take a step for each batch, epoch after epoch, and write down how it went.

    After an epoch: validate (in evaluation mode, saving nothing for backward), move the schedule
    on, stop early or not. A model in evaluation mode as a whole is put in training mode; layers
    held in `eval()` inside a training model stay so. Ctrl-C waits for the end of the step, so the
    model is one that a step made; what was written down until then is in the `history` handed in.

    Args:
        batches: (input, ..., target), gone through anew each epoch: a DataLoader, or a list.
        validation: likewise; `[(x, y)]` is a whole set in one batch.
        metric: what to measure on the validation set beside the criterion: accuracy, r2_score.
        scheduler_steps: whether the scheduler moves on once an epoch or once a step.
        clip_norm, clip_value, penalty: see `train_step`.
        early_stopping: asked once an epoch about what `monitor` names. When the run ends, by it or
            by its last epoch, the best weights are put back; after an interrupt call `restore`.
        history: one to go on writing into.
        progress: whether to show a bar; None shows it where stderr is a terminal.

    Raises:
        NonFiniteError: a loss or a gradient is NaN or infinite, with the epoch, the step and the
            layer. No parameter has moved on it.
        ValueError: settings that contradict each other, or batches that have run out.
    """
    if not isinstance(epochs, int) or epochs < 0:
        raise ValueError(f"epochs must be a whole number, at least 0, got {epochs!r}")
    if scheduler_steps not in ("epoch", "step"):
        raise ValueError(f'scheduler_steps must be "epoch" or "step", got {scheduler_steps!r}')
    if monitor not in ("val_loss", "val_metric"):
        raise ValueError(f'monitor must be "val_loss" or "val_metric", got {monitor!r}')
    if validation is None and (early_stopping is not None or metric is not None):
        raise ValueError("metric and early_stopping look at validation batches, got none")
    if early_stopping is not None and monitor == "val_metric" and metric is None:
        raise ValueError('monitor="val_metric" wants a metric, got none')
    history = History() if history is None else history
    if not model.training:
        model.train()
    with (
        _no_input_gradient(model),
        _bar(epochs, batches, progress) as bar,
        interrupt_between_steps() as stop_if_asked,
    ):
        for epoch in range(history.epochs + 1, history.epochs + epochs + 1):
            start, total, samples = time.perf_counter(), 0.0, 0
            for step, batch in enumerate(batches, 1):
                lr = float(optimizer.param_groups[0]["lr"])
                with _located(epoch, step):
                    loss, norm = train_step(
                        model,
                        batch,
                        criterion,
                        optimizer,
                        clip_norm=clip_norm,
                        clip_value=clip_value,
                        penalty=penalty,
                    )
                history.step_loss.append(float(loss))
                history.step_grad_norm.append(float(norm))
                history.step_lr.append(lr)
                total += float(loss) * len(batch[-1])
                samples += len(batch[-1])
                if scheduler is not None and scheduler_steps == "step":
                    scheduler.step()
                bar.update()
                stop_if_asked()
            if not samples:
                raise ValueError(
                    f"epoch {epoch} got no batches: pass what can be gone through anew each epoch, "
                    "a DataLoader or a list"
                )
            shown = {"loss": total / samples}
            if validation is not None:
                with _located(epoch):
                    val_loss, val_metric = evaluate(model, validation, criterion, metric)
                history.val_loss.append(val_loss)
                shown["val_loss"] = val_loss
                if val_metric is not None:
                    history.val_metric.append(val_metric)
                    shown["val_metric"] = val_metric
            if scheduler is not None and scheduler_steps == "epoch":
                scheduler.step()
            history.train_loss.append(shown["loss"])
            history.seconds.append(time.perf_counter() - start)
            bar.set_postfix(shown)
            if early_stopping is not None and early_stopping.step(shown[monitor], model):
                history.stopped_early = True
                break
            stop_if_asked()
    if early_stopping is not None and epochs:
        early_stopping.restore(model)
    return history


def evaluate(
    model: Module, batches: Batches, criterion: Loss, metric: Metric | None = None
) -> tuple[float, float | None]:
    """Measure the criterion, and the metric if there is one, over all batches taken together.

    Not a mean over batches: outputs and targets are joined first, so the sizes of the batches do
    not show, and a metric like R^2 that is no mean over samples comes out right.

    Raises:
        NonFiniteError: the criterion is NaN or infinite.
        ValueError: there are no batches.
    """
    outputs, targets, suspect = [], [], None
    with _evaluating(model), no_grad(), np.errstate(all="ignore"):
        for *inputs, target in batches:
            outputs.append(model(*inputs))
            targets.append(target)
            finite = np.isfinite(outputs[-1]).all() and np.isfinite(target).all()
            if suspect is None and not finite:
                suspect = inputs, target  # not the cause yet: a log-probability may be -inf
        if not outputs:
            raise ValueError("evaluate wants at least one batch, got none")
        output, target = np.concatenate(outputs), np.concatenate(targets)
        loss = float(criterion(output, target))
        if not math.isfinite(loss):
            if suspect is None:  # no batch: what the criterion makes of all of them
                layer, why = find_non_finite(criterion, [output, target], None, criterion)
            else:
                layer, why = find_non_finite(model, *suspect)
            raise NonFiniteError(f"the loss is {loss}", why, layer)
        return loss, None if metric is None else float(metric(output, target))


def predict(model: Module, x: Array, batch_size: int = 1024) -> Array:
    """The model's output for every row of x, in evaluation mode, a batch at a time.

    Shapes: x (N, *); the result (N, *).

    Raises:
        ValueError: batch_size is not positive.
    """
    if batch_size <= 0:
        raise ValueError(f"batch_size must be positive, got {batch_size}")
    with _evaluating(model), no_grad():
        parts = [model(x[i : i + batch_size]) for i in range(0, max(len(x), 1), batch_size)]
    return np.concatenate(parts)


@contextlib.contextmanager
def _evaluating(model: Module) -> Iterator[None]:
    """Evaluation mode, and afterwards each module's own mode again."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextlib.contextmanager
def _no_input_gradient(model: Module) -> Iterator[None]:
    """Spare the first layer the gradient of the data, which nobody reads."""
    needed = model.needs_input_grad
    model.needs_input_grad = False
    try:
        yield
    finally:
        model.needs_input_grad = needed


@contextlib.contextmanager
def _located(epoch: int, step: int = 0) -> Iterator[None]:
    """Write into a NonFiniteError where it happened."""
    try:
        yield
    except NonFiniteError as error:
        error.epoch, error.step = epoch, step
        raise


def _bar(epochs: int, batches: Any, progress: bool | None) -> tqdm[Any]:
    steps = epochs * len(batches) if hasattr(batches, "__len__") else None
    return tqdm(total=steps, unit="step", disable=None if progress is None else not progress)
