"""Suspicions of how samples are put together: some left out, indices not added up, scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from parity_tests.harness.compare.locate import renamed
from parity_tests.harness.compare.reference import Change, Reference
from parity_tests.harness.compare.suspects import Suspect, changed
from parity_tests.harness.compare.trials import Trial

Array = np.ndarray[Any, np.dtype[Any]]
Rows = Callable[[torch.Tensor], torch.Tensor]


def _only(start: int | None, stop: int | None, step: int | None = None) -> Rows:
    def keep(dy: torch.Tensor) -> torch.Tensor:
        mask = torch.zeros(len(dy), *[1] * (dy.ndim - 1), dtype=dy.dtype)
        mask[start:stop:step] = 1
        return dy * mask

    return keep


KEPT: dict[str, Rows] = {
    "only the first sample counts": _only(None, 1),
    "only the last sample counts": _only(-1, None),
    "the first sample is left out": _only(1, None),
    "the last sample is left out": _only(None, -1),
    "every second sample is left out": _only(None, None, 2),
}


def samples(reference: Reference, trial: Trial) -> Iterator[Suspect]:
    """Gradients from some of the samples only; indices that occur more than once."""
    dy = trial.given.get("cotangent")
    if dy is not None and dy.ndim >= 1 and len(dy) > 2:
        for text, rows in KEPT.items():
            yield changed(reference, text, text, Change(cotangent=rows), 1.3)
    index = next((k for k, x in trial.given.items() if k == "input 0" and x.dtype.kind == "i"), "")
    if index and reference.module is not None:
        yield _last_write(reference, index)
        for step, text in ((1, "one higher"), (-1, "one lower")):
            yield changed(
                reference,
                f"index {text}",
                f"yours looks up the index {text} than the one it is given",
                Change(inputs=_moved(step, len(next(iter(reference.state.values()))))),
                1.2,
            )


def _moved(step: int, size: int) -> Callable[[list[torch.Tensor]], list[torch.Tensor]]:
    return lambda xs: [(xs[0] + step) % size, *xs[1:]]


def _last_write(reference: Reference, index: str) -> Suspect:
    """W[index] += dy in NumPy: of an index that occurs twice only the last is written."""

    def run(trial: Trial, backward: bool = True) -> Mapping[str, Array]:
        flat = trial.given[index].ravel()
        last = {int(v): i for i, v in enumerate(flat)}
        kept = np.isin(np.arange(flat.size), list(last.values())).reshape(trial.given[index].shape)

        def once(dy: torch.Tensor) -> torch.Tensor:
            more = dy.ndim - kept.ndim
            return dy * torch.from_numpy(kept.reshape(*kept.shape, *[1] * more)).to(dy.dtype)

        found = reference.run(
            trial.given, trial.mode, trial.seed, change=Change(cotangent=once), backward=backward
        )
        return renamed(trial, found)

    text = (
        "the gradients of an index that occurs more than once are not added up, only the last "
        "stays: dW[index] += dy writes once an index, np.add.at(dW, index, dy) adds"
    )
    return Suspect("last write wins", text, run, 1.1)


def scores(reference: Reference) -> Iterator[Suspect]:
    """The scores of an attention inside, scaled otherwise."""
    modules = dict(reference.module.named_modules()) if reference.module is not None else {}
    for path, module in modules.items():
        if not isinstance(module, torch.nn.MultiheadAttention) or module.in_proj_weight is None:
            continue
        width, inner = module.embed_dim, module.embed_dim // module.num_heads
        keys = [f"{path}.{k}".lstrip(".") for k in ("in_proj_weight", "in_proj_bias")]
        for factor, text in (
            (inner**0.5, "yours does not divide the scores by sqrt(head_dim)"),
            (inner**-0.5, "yours divides the scores by head_dim, not by its root"),
            (
                (inner / width) ** 0.5,
                f"yours divides the scores by sqrt(embed_dim) = sqrt({width}); the reference "
                f"divides by sqrt(head_dim) = sqrt({inner})",
            ),
        ):
            state = {k: _queries(width, factor) for k in keys if k in reference.parameters}
            yield changed(reference, text, text, Change(state=state), 1.1)


def _queries(width: int, factor: float) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda p: torch.cat([p[:width] * factor, p[width:]])
