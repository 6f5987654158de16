"""The mini-batch loop, and the two ways of using a model without training it.

What keeps an accelerator busy: batches travel with `non_blocking=True`, and losses stay tensors
until the epoch's end, when they are read all at once. A NaN there is therefore named by its step
but found after the fact; on the CPU, where looking costs nothing, it stops the run at that step.

`eval()` changes what layers do (dropout, batch norm), `no_grad()` whether a graph is recorded:
validation wants both, and forgetting the second keeps every batch's graph in memory.
`inference_mode()` would be a little cheaper than `no_grad()`, but its tensors may never be used in
a backward, and these are handed to the caller.
"""

import contextlib
import math
import operator
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from tqdm import tqdm

from torch_impl.regularization import EarlyStopping, ElasticNet
from torch_impl.training.history import History
from torch_impl.training.interrupt import interrupt_between_steps
from torch_impl.training.non_finite import NonFiniteError, find_non_finite
from torch_impl.training.step import train_step

__all__ = ["evaluate", "fit", "predict"]

Batches = Iterable[Sequence[Tensor]]
Metric = Callable[[Tensor, Tensor], Any]


def fit(
    model: nn.Module,
    batches: Batches,
    criterion: nn.Module,
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
            layer. No parameter has moved on it (on an accelerator: seen at the epoch's end).
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
    device = _device(model)
    if not model.training:
        model.train()
    with (
        _bar(epochs, batches, progress) as bar,
        interrupt_between_steps() as stop_if_asked,
    ):
        for epoch in range(history.epochs + 1, history.epochs + epochs + 1):
            start, sizes = time.perf_counter(), []
            with _read_at_the_end(history, epoch) as taken:
                for step, batch in enumerate(batches, 1):
                    batch = [tensor.to(device, non_blocking=True) for tensor in batch]
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
                    taken.append((torch.stack([loss, norm]), lr))
                    sizes.append(len(batch[-1]))
                    if scheduler is not None and scheduler_steps == "step":
                        scheduler.step()
                    bar.update()
                    stop_if_asked()
            if not sum(sizes):
                raise ValueError(
                    f"epoch {epoch} got no batches: pass what can be gone through anew each epoch, "
                    "a DataLoader or a list"
                )
            losses = history.step_loss[-len(sizes) :]
            shown = {"loss": sum(map(operator.mul, losses, sizes)) / sum(sizes)}
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
    model: nn.Module, batches: Batches, criterion: nn.Module, metric: Metric | None = None
) -> tuple[float, float | None]:
    """Measure the criterion, and the metric if there is one, over all batches taken together.

    Not a mean over batches: outputs and targets are joined first, so the sizes of the batches do
    not show, and a metric like R^2 that is no mean over samples comes out right.

    Raises:
        NonFiniteError: the criterion is NaN or infinite.
        ValueError: there are no batches.
    """
    outputs, targets, suspect, device = [], [], None, _device(model)
    with _evaluating(model), torch.no_grad():
        for batch in batches:
            *inputs, target = (tensor.to(device, non_blocking=True) for tensor in batch)
            outputs.append(model(*inputs))
            targets.append(target)
            if device.type != "cpu":
                suspect = inputs, target  # the last one: to look at each would wait for each
            elif suspect is None and not (outputs[-1].isfinite().all() and target.isfinite().all()):
                suspect = inputs, target  # not the cause yet: a log-probability may be -inf
        if not outputs:
            raise ValueError("evaluate wants at least one batch, got none")
        output, target = torch.cat(outputs), torch.cat(targets)
        loss = float(criterion(output, target))
        if not math.isfinite(loss):
            if suspect is None:  # no batch: what the criterion makes of all of them
                layer, why = find_non_finite(criterion, [output, target], None, criterion)
            else:
                layer, why = find_non_finite(model, *suspect, criterion)
            raise NonFiniteError(f"the loss is {loss}", why, layer)
        return loss, None if metric is None else float(metric(output, target))


def predict(model: nn.Module, x: Tensor, batch_size: int = 1024) -> Tensor:
    """The model's output for every row of x, in evaluation mode, a batch at a time.

    Shapes: x (N, *); the result (N, *).

    Raises:
        ValueError: batch_size is not positive.
    """
    if batch_size <= 0:
        raise ValueError(f"batch_size must be positive, got {batch_size}")
    device = _device(model)
    with _evaluating(model), torch.no_grad():
        return torch.cat([model(part.to(device)) for part in x.split(batch_size)])


@contextlib.contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, and afterwards each module's own mode again."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextlib.contextmanager
def _read_at_the_end(history: History, epoch: int) -> Iterator[list[tuple[Tensor, float]]]:
    """Collect (loss and norm, lr) a step; write them down at the end, however it comes about."""
    taken: list[tuple[Tensor, float]] = []
    try:
        yield taken
    finally:
        numbers = torch.stack([pair for pair, _ in taken]).tolist() if taken else []
        for step, ((loss, norm), (_, lr)) in enumerate(zip(numbers, taken), 1):
            if not (math.isfinite(loss) and math.isfinite(norm)):
                with _located(epoch, step):
                    raise NonFiniteError(
                        f"the loss is {loss}, the gradients' norm {norm}",
                        "only seen at the epoch's end; run on the CPU to be told the layer",
                    )
            history.step_loss.append(loss)
            history.step_grad_norm.append(norm)
            history.step_lr.append(lr)


@contextlib.contextmanager
def _located(epoch: int, step: int = 0) -> Iterator[None]:
    """Write into a NonFiniteError where it happened."""
    try:
        yield
    except NonFiniteError as error:
        error.epoch, error.step = epoch, step
        raise


def _device(model: nn.Module) -> torch.device:
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def _bar(epochs: int, batches: Any, progress: bool | None) -> "tqdm[Any]":
    steps = epochs * len(batches) if hasattr(batches, "__len__") else None
    return tqdm(total=steps, unit="step", disable=None if progress is None else not progress)
