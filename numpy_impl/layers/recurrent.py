"""A layer that reads a sequence step by step and remembers, and the classifier made of it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from numpy_impl.initialization.constant import zeros_
from numpy_impl.initialization.orthogonal import orthogonal_
from numpy_impl.layers.activation import relu, relu_backward, tanh, tanh_backward
from numpy_impl.layers.linear import Linear
from numpy_impl.module import Array, Module, Parameter, as_float, float_dtype
from numpy_impl.random import Generator, default_generator

__all__ = ["RNN", "RNNClassifier"]

ACTIVATIONS: dict[str, tuple[Callable[[Array], Array], Callable[[Array, Array], Array]]] = {
    "tanh": (tanh, tanh_backward),
    "relu": (relu, relu_backward),
}


class RNN(Module):
    """Read a sequence one step at a time, each step seeing the input and the last step's output.

    Elman 1990 (Finding structure in time). With h_0 = hx, or 0, and act tanh or relu:

        h_t  = act(x_t @ weight_ih.T + bias_ih + h_{t-1} @ weight_hh.T + bias_hh)

    Backward through time (Werbos 1990), from the last step to the first, with dh what comes from
    later steps and dh_t what has come back to step t in all:

        dh_t = doutput_t + dh,   da_t = act's backward of dh_t,   dh = da_t @ weight_hh
        dx_t = da_t @ weight_ih,  dweight_ih = sum of da_t.T @ x_t,  dhx = dh after step 1
        dweight_hh = sum of da_t.T @ h_{t-1},  dbias_ih = dbias_hh = sum of da_t

    Through t steps a gradient passes t times through weight_hh and act: where weight_hh enlarges,
    it explodes, where it shrinks, it vanishes (Bengio et al. 1994; Pascanu et al. 2013,
    arXiv:1211.5063). Clip it, start weight_hh orthogonal, and cut long sequences: the state that
    comes out is an array like any other, and handed in as hx it begins the next piece.

    A second layer reads the first one's outputs, in training with `dropout` between them. With
    bidirectional, each layer also reads the sequence from its end, by weights of their own
    (`..._reverse`), and both outputs stand side by side. The two biases do one's work; torch has
    both for cuDNN's sake. All weights start uniform in +-1/sqrt(hidden_size).

    All that does not depend on the step before is one product for all steps: the inputs' share
    before the loop, every weight's gradient after it.

    Shapes, with D = 2 if bidirectional, else 1: x, dx (L, N, input_size), with batch_first
    (N, L, input_size), or (L, input_size) for one sequence alone; output (L, N, D * hidden_size)
    likewise; hx, state and their gradients (D * num_layers, N, hidden_size), whatever batch_first
    says, or (D * num_layers, hidden_size). L is at least 1.

    Raises:
        ValueError: a size below 1, an unknown nonlinearity, dropout outside [0, 1].
        ValueError, RuntimeError: x or hx has another shape than these.
        TypeError: x or hx is not a float array of the parameters' dtype.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: DTypeLike = np.float32,
        generator: Generator | None = None,
    ) -> None:
        sizes = {"input_size": input_size, "hidden_size": hidden_size, "num_layers": num_layers}
        for name, size in sizes.items():
            if not isinstance(size, int) or isinstance(size, bool):
                raise TypeError(f"{name} should be of type int, got: {type(size).__name__}")
            if size <= 0:
                raise ValueError(f"{name} must be greater than zero, got {size}")
        for name, flag in {"bias": bias, "batch_first": batch_first}.items():
            if not isinstance(flag, bool):
                raise TypeError(f"{name} should be of type bool, got: {type(flag).__name__}")
        if nonlinearity not in ACTIVATIONS:
            raise ValueError(
                f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'."
            )
        if isinstance(dropout, bool) or not 0 <= dropout <= 1:
            raise ValueError(f"dropout should be a number in range [0, 1], got {dropout}")
        if dropout > 0 and num_layers == 1:
            warnings.warn(
                "dropout comes between layers, so it wants num_layers greater than 1, got "
                f"dropout={dropout} and num_layers=1",
                stacklevel=2,
            )
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.nonlinearity, self.bias, self.batch_first = nonlinearity, bias, batch_first
        self.dropout, self.bidirectional = float(dropout), bool(bidirectional)
        self.generator = generator
        dtype, draw = float_dtype(dtype), (generator or default_generator).uniform
        bound, width = 1 / math.sqrt(hidden_size), hidden_size * self._directions()
        for layer in range(num_layers):
            shapes: list[tuple[int, ...]] = [(hidden_size, width if layer else input_size)]
            shapes += [(hidden_size, hidden_size)]
            shapes += [(hidden_size,)] * 2 if bias else []
            for suffix in self._suffixes(layer):
                for name, shape in zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), shapes):
                    parameter = Parameter(draw(-bound, bound, shape, dtype))
                    self.register_parameter(f"{name}_{suffix}", parameter)

    @np.errstate(all="ignore")  # what overflows becomes inf in silence, as in torch
    def forward(self, x: Array, hx: Array | None = None) -> tuple[Array, Array]:
        """(output, state): the last layer's h_t of every step, and every layer's last h_t."""
        y, start = self._checked(x, hx)  # (L, N, input_size), (D * num_layers, N, hidden_size)
        runs: list[_Run] = []
        masks: list[Array | None] = []
        for layer in range(self.num_layers):
            starts = start[len(runs) :]
            read = [self._read(y, h0, suffix) for h0, suffix in zip(starts, self._suffixes(layer))]
            runs += read
            y = np.concatenate([run.outputs() for run in read], axis=-1)
            masks.append(self._mask(y) if layer < self.num_layers - 1 else None)
            y = self._masked(y, masks[-1])
        state = np.stack([run.states[-1] for run in runs])
        output, state = self._turned(y, x.ndim), state if x.ndim == 3 else state[:, 0]
        self.save_for_backward(output, state.shape, hx is not None, runs, masks)
        return output, state

    @np.errstate(all="ignore")
    def backward(
        self, doutput: Array, dstate: Array | None = None
    ) -> tuple[Array | None, Array | None]:
        """(dx, dhx), dhx None where no hx came in; adds into every parameter's grad.

        dstate is the gradient of the state that came out, None where nobody read it.
        """
        if self._saved and dstate is not None and np.shape(dstate) != self._saved[-1].values[0]:
            raise RuntimeError(
                "RNN.backward wants a second gradient shaped like its state, "
                f"{self._saved[-1].values[0]}, got {np.shape(dstate)}"
            )
        doutput, shape, has_hx, runs, masks = self.saved_for_backward(doutput)
        ndim, directions, width = doutput.ndim, self._directions(), self.hidden_size
        dy = self._batched(doutput)  # (L, N, D * hidden_size)
        dstart = np.zeros((len(runs), dy.shape[1], width), dy.dtype)
        if dstate is not None:
            dstart[...] = np.reshape(dstate, dstart.shape)
        for layer in reversed(range(self.num_layers)):
            dy = self._masked(dy, masks[layer])
            dx = []
            for i in range(directions):
                at, columns = layer * directions + i, slice(i * width, (i + 1) * width)
                found, dstart[at] = self._read_back(runs[at], dy[..., columns], dstart[at])
                dx.append(found)
            dy = sum(dx[1:], dx[0])
        dhx = dstart.reshape(shape) if has_hx else None
        return (self._turned(dy, ndim) if self.needs_input_grad else None), dhx

    # ---- one direction of one layer ---------------------------------------------------------

    def _read(self, x: Array, start: Array, suffix: str) -> _Run:
        """Every h_t: the inputs' share of all steps at once, then a product for each step."""
        w_ih, w_hh, *biases = (p.data for p in self._parameters(suffix))
        x = x[::-1] if suffix.endswith("_reverse") else x
        steps, rows = x.shape[:2]
        a = np.dot(_rows(x), w_ih.T).reshape(steps, rows, self.hidden_size)
        if biases:
            a += biases[0] + biases[1]
        act, _ = ACTIVATIONS[self.nonlinearity]
        states = np.empty((steps + 1, rows, self.hidden_size), x.dtype)
        states[0] = start
        for t in range(steps):
            states[t + 1] = act(a[t] + np.dot(states[t], w_hh.T))
        return _Run(suffix, x, states)

    def _read_back(self, run: _Run, dy: Array, dh: Array) -> tuple[Array, Array]:
        """(dx, dh_0), from the gradients of every h_t and of the last one once more."""
        weight_ih, weight_hh, *biases = self._parameters(run.suffix)
        dy = dy[::-1] if run.reverse else dy
        _, act_backward = ACTIVATIONS[self.nonlinearity]
        da = np.empty(dy.shape, dy.dtype)
        for t in reversed(range(len(dy))):
            da[t] = act_backward(dy[t] + dh, run.states[t + 1])
            dh = np.dot(da[t], weight_hh.data)
        rows = _rows(da)
        weight_ih.add_grad(np.dot(rows.T, _rows(run.x)))
        weight_hh.add_grad(np.dot(rows.T, _rows(run.states[:-1])))
        for bias in biases:
            bias.add_grad(rows.sum(axis=0))
        dx = np.dot(rows, weight_ih.data).reshape(run.x.shape)
        return (dx[::-1] if run.reverse else dx), dh

    def _parameters(self, suffix: str) -> list[Parameter]:
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")[: 4 if self.bias else 2]
        return [getattr(self, f"{name}_{suffix}") for name in names]

    def _suffixes(self, layer: int) -> list[str]:
        return [f"l{layer}", f"l{layer}_reverse"][: self._directions()]

    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    # ---- between the layers, and at the ends ------------------------------------------------

    def _mask(self, y: Array) -> Array | None:
        """What dropout keeps, drawn as torch draws it; None where nothing is dropped."""
        if not self.training or self.dropout == 0:
            return None
        if self.dropout == 1:
            return np.zeros(y.shape, bool)
        return (self.generator or default_generator).bernoulli(1 - self.dropout, y.shape)

    def _masked(self, y: Array, mask: Array | None) -> Array:
        if mask is None:
            return y
        y = np.asarray(y * mask)
        if self.dropout < 1:
            y *= y.dtype.type(1) / y.dtype.type(1 - self.dropout)  # rounded as torch rounds it
        return y

    def _batched(self, x: Array) -> Array:
        """(L, N, *), from that, from (N, L, *) with batch_first, or from (L, *)."""
        if x.ndim == 2:
            return x[:, None]
        return x.swapaxes(0, 1) if self.batch_first else x

    def _turned(self, y: Array, ndim: int) -> Array:
        """Back from (L, N, *) to what came in."""
        if ndim == 2:
            return y[:, 0]
        return y.swapaxes(0, 1) if self.batch_first else y

    def _checked(self, x: Array, hx: Array | None) -> tuple[Array, Array]:
        """x as (L, N, input_size) and hx as (D * num_layers, N, hidden_size)."""
        x = as_float(x, dtype=self._parameters("l0")[0].dtype)
        if x.ndim not in (2, 3):
            raise ValueError(f"RNN wants input of 2 or 3 axes, got shape {x.shape}")
        if x.shape[-1] != self.input_size:
            raise ValueError(f"RNN wants input (*, {self.input_size}), got {x.shape}")
        ndim, x = x.ndim, self._batched(x)
        if not len(x):
            raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
        shape = self.num_layers * self._directions(), x.shape[1], self.hidden_size
        if hx is None:
            return x, np.zeros(shape, x.dtype)
        hx = as_float(hx, "hx", x.dtype)
        wanted = shape if ndim == 3 else (shape[0], shape[2])
        if hx.shape != wanted:
            raise RuntimeError(f"Expected hidden size {wanted}, got {hx.shape}")
        return x, hx.reshape(shape)

    def extra_repr(self) -> str:
        """The arguments that are not the default."""
        chosen = {
            "num_layers": (self.num_layers, 1),
            "bias": (self.bias, True),
            "batch_first": (self.batch_first, False),
            "dropout": (self.dropout, 0.0),
            "bidirectional": (self.bidirectional, False),
        }
        words = [f"{name}={is_}" for name, (is_, default) in chosen.items() if is_ != default]
        return ", ".join([f"{self.input_size}", f"{self.hidden_size}", *words])


class _Run(NamedTuple):
    """One direction of one layer: what it read, and h_0 to h_L, both in its own order."""

    suffix: str
    x: Array
    states: Array

    @property
    def reverse(self) -> bool:
        return self.suffix.endswith("_reverse")

    def outputs(self) -> Array:
        """h_1 to h_L in the order of the sequence."""
        return self.states[:0:-1] if self.reverse else self.states[1:]


def _rows(x: Array) -> Array:
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


class RNNClassifier(Module):
    """Read a whole sequence, and tell its class by what is remembered at the end.

    RNN over (N, L, input_size), one Linear on the last layer's last output, logits out. weight_hh
    starts orthogonal, `init_gain` times (Saxe et al. 2013, arXiv:1312.6120), so that with a gain of
    1 a gradient keeps its length through as many steps as no activation shortens it; biases at 0.

    Shapes: x, dx (N, L, input_size); logits, dy (N, num_classes).

    Raises:
        ValueError: as `RNN`.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_classes: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        *,
        dropout: float = 0.0,
        init_gain: float = 1.0,
        dtype: DTypeLike = np.float32,
        generator: Generator | None = None,
    ) -> None:
        made: dict[str, Any] = {"dtype": dtype, "generator": generator}
        self.rnn = RNN(
            input_size,
            hidden_size,
            num_layers,
            nonlinearity,
            batch_first=True,
            dropout=dropout,
            **made,
        )
        self.head = Linear(hidden_size, num_classes, **made)
        for name, parameter in self.rnn.named_parameters():
            if name.startswith("weight_hh"):
                orthogonal_(parameter, gain=init_gain, generator=generator)
            elif name.startswith("bias"):
                zeros_(parameter)

    def forward(self, x: Array) -> Array:
        """The logits."""
        output, _ = self.rnn(x)
        logits = self.head(output[:, -1])
        self.save_for_backward(logits, output.shape)
        return logits

    def backward(self, dy: Array) -> Array | None:
        """The gradient of x: only the last step's output was read."""
        dy, shape = self.saved_for_backward(dy)
        doutput = np.zeros(shape, dy.dtype)
        doutput[:, -1] = self.head.backward(dy)
        return self.rnn.backward(doutput)[0]

    def discard_saved(self) -> None:
        """Drop what the last forward saved."""
        super().discard_saved()
        self.head.discard_saved()
        self.rnn.discard_saved()

    @property
    def needs_input_grad(self) -> bool:
        """Whether backward works out the gradient of x."""
        return self.rnn.needs_input_grad

    @needs_input_grad.setter
    def needs_input_grad(self, needed: bool) -> None:
        self.rnn.needs_input_grad = needed
