"""Suspicions of what goes on inside: a cell's gates, an attention's mask, a pool's border."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

from parity_tests.harness.compare.reference import Change, Reference
from parity_tests.harness.compare.suspects import Suspect, changed

Tensor = torch.Tensor
nn, F = torch.nn, torch.nn.functional


def inside(reference: Reference) -> Iterator[Suspect]:
    """What people write otherwise in the middle of a technique."""
    for text, forward in _variants(reference):
        yield changed(reference, text, f"yours {text}", Change(forward=forward), 1.1)


def _variants(reference: Reference) -> Iterator[tuple[str, Callable[[Any, list[Tensor]], Any]]]:
    module = reference.module
    plain = not getattr(module, "bidirectional", False) and getattr(module, "num_layers", 1) == 1
    if isinstance(module, nn.RNN | nn.RNNCell) and plain and module.bias:
        act = {"tanh": torch.relu, "relu": torch.tanh}[module.nonlinearity]
        yield (
            f"takes {act.__name__} of each step; the reference takes {module.nonlinearity}",
            partial(_unrolled, partial(_elman, act=act)),
        )
    if isinstance(module, nn.GRU | nn.GRUCell) and plain and module.bias:
        yield (
            "weighs the old state with 1 - z and the new one with z; torch has z * h + (1 - z) * n",
            partial(_unrolled, partial(_gru, swapped=True)),
        )
        yield (
            "multiplies the state by the reset gate before the product with weight_hh, as the "
            "paper and Keras's reset_after=False do; torch multiplies the product, bias included",
            partial(_unrolled, partial(_gru, early=True)),
        )
    if isinstance(module, nn.LSTM | nn.LSTMCell) and plain and module.bias:
        for text, options in (
            ("gives o * c; torch gives o * tanh(c)", {"squash": _same}),
            ("takes the sigmoid of the candidate g; torch takes tanh", {"new": torch.sigmoid}),
            ("adds i * g to c without the forget gate", {"forget": torch.ones_like}),
        ):
            yield text, partial(_unrolled, partial(_lstm, **options))
    if reference.theirs is F.scaled_dot_product_attention:
        causal = bool(reference.kwargs.get("is_causal"))
        yield (
            "takes the softmax over the queries (axis -2); torch takes it over the keys",
            partial(_attention, causal, axis=-2),
        )
        if causal:
            yield (
                "masks the weights after the softmax, so that they no longer sum to 1",
                partial(_attention, causal, late=True),
            )
            yield "lets a query see the next position, too", partial(_attention, 1)
            yield "hides a query's own position from it", partial(_attention, -1)
    if isinstance(module, nn.MaxPool1d | nn.MaxPool2d | nn.MaxPool3d) and module.padding:
        yield (
            "pads with 0, which wins over negative numbers; torch pads with -infinity",
            _zero_padded_pool,
        )


def _same(x: Tensor) -> Tensor:
    return x


def _unrolled(cell: Callable[..., tuple[Tensor, ...]], module: Any, inputs: list[Tensor]) -> Any:
    """A cell of one's own over the steps, with a module's weights."""
    single = isinstance(module, nn.RNNCellBase)
    end = "" if single else "_l0"
    w_ih, w_hh, b_ih, b_hh = (
        getattr(module, f"{kind}_{way}{end}") for kind in ("weight", "bias") for way in ("ih", "hh")
    )
    x, *start = inputs
    x = x[None] if single else x.transpose(0, 1) if module.batch_first else x
    zero = x.new_zeros(x.shape[1], module.hidden_size)
    state: tuple[Tensor, ...] = (start[0].reshape(zero.shape) if start else zero, zero)
    outputs = []
    for row in x @ w_ih.T + b_ih:
        state = cell(row, state, w_hh, b_hh)
        outputs.append(state[0])
    if single:
        return state if isinstance(module, nn.LSTMCell) else state[0]
    y = torch.stack(outputs)
    last = tuple(s[None] for s in state)
    return y.transpose(0, 1) if module.batch_first else y, last


def _elman(
    a: Tensor,
    state: tuple[Tensor, ...],
    w: Tensor,
    b: Tensor,
    act: Callable[[Tensor], Tensor] = torch.tanh,
) -> tuple[Tensor]:
    return (act(a + state[0] @ w.T + b),)


def _gru(
    a: Tensor,
    state: tuple[Tensor, ...],
    w: Tensor,
    b: Tensor,
    swapped: bool = False,
    early: bool = False,
) -> tuple[Tensor]:
    h, n = state[0], 2 * state[0].shape[-1]
    r, z = torch.sigmoid(a[:, :n] + h @ w[:n].T + b[:n]).chunk(2, 1)
    back = (r * h) @ w[n:].T + b[n:] if early else r * (h @ w[n:].T + b[n:])
    new = torch.tanh(a[:, n:] + back)
    return ((z * new + (1 - z) * h) if swapped else ((1 - z) * new + z * h),)


def _lstm(
    a: Tensor,
    state: tuple[Tensor, ...],
    w: Tensor,
    b: Tensor,
    squash: Callable[[Tensor], Tensor] = torch.tanh,
    new: Callable[[Tensor], Tensor] = torch.tanh,
    forget: Callable[[Tensor], Tensor] = torch.sigmoid,
) -> tuple[Tensor, Tensor]:
    h, c = state
    i, f, g, o = (a + h @ w.T + b).chunk(4, 1)
    c = forget(f) * c + torch.sigmoid(i) * new(g)
    return torch.sigmoid(o) * squash(c), c


def _attention(
    seen: int | bool, _: Any, inputs: list[Tensor], axis: int = -1, late: bool = False
) -> Tensor:
    """Attention whose queries see so many positions ahead of their own; all of them for False."""
    q, k, v = inputs[:3]
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    if seen is False:
        return torch.softmax(scores, axis) @ v
    ahead = 0 if seen is True else seen
    hidden = ~torch.ones_like(scores, dtype=torch.bool).tril(ahead)
    if late:
        return torch.softmax(scores, axis).masked_fill(hidden, 0) @ v
    return torch.softmax(scores.masked_fill(hidden, -1e9), axis) @ v


def _zero_padded_pool(module: Any, inputs: list[Tensor]) -> Tensor:
    ndim = {nn.MaxPool1d: 1, nn.MaxPool2d: 2, nn.MaxPool3d: 3}[type(module)]
    padding = module.padding if isinstance(module.padding, tuple) else (module.padding,) * ndim
    around = [p for side in reversed(padding) for p in (side, side)]
    pool = getattr(F, f"max_pool{ndim}d")
    return pool(F.pad(inputs[0], around), module.kernel_size, module.stride, 0, module.dilation)
