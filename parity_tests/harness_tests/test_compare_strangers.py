# ruff: noqa: D101, D103 - the code of somebody else
"""Programs by people who have not seen the harness: right ones pass, wrong ones are told why.

The mistakes are of many kinds, and most are not declared anywhere: what is asked of the text is the
right place, and the right cause or none.
"""

from typing import Any

import numpy as np
import pytest
import torch

from parity_tests import Uncomparable, compare
from parity_tests.harness.compare import adam_family
from parity_tests.harness.compare.fit_whole import zero
from parity_tests.harness.compare.sample import Sample
from parity_tests.harness.compare.scenario import run_torch, scenarios

nn, F, optim = torch.nn, torch.nn.functional, torch.optim


def told(mine, theirs, **call) -> Any:
    """The result, and its text in one line."""
    np.random.seed(0)  # noqa: NPY002 - other people's code draws from it
    result: Any = compare(mine, theirs, **call)
    return result, " ".join(result.text().split())


# ---- layers --------------------------------------------------------------------------------------


class Dense:
    def __init__(self, n_in, n_out):
        self.w, self.b = np.zeros((n_in, n_out)), np.zeros(n_out)

    def forward(self, x):
        self.x = x
        return x @ self.w + self.b

    def backward(self, d):
        self.dw, self.db = self.x.T @ d, d.sum(0)
        return d @ self.w.T


class Relu:
    def forward(self, x):
        self.mask = x > 0
        return x * self.mask

    def backward(self, d):
        return d * self.mask


class Sigmoid:
    def forward(self, x):
        self.y = 1 / (1 + np.exp(-x))
        return self.y

    def backward(self, d):
        return d * self.y * (1 - self.y)


class FeaturesFirst:
    def __init__(self, n_in, n_out):
        self.W, self.b = np.zeros((n_out, n_in)), np.zeros((n_out, 1))

    def forward(self, x):
        return self.W @ x + self.b


class Stale:
    y: Any = None

    def forward(self, x):
        y = np.tanh(x)
        if Stale.y is None or Stale.y.shape != y.shape:
            Stale.y = y
        return y

    def backward(self, d):
        return d * (1 - self.y**2)


CALLS = [0]


def counts_its_calls(x):
    CALLS[0] += 1
    return np.tanh(x) + (CALLS[0] > 3) * 0.1


def with_noise(x):
    return np.tanh(x) + 1e-3 * np.random.randn(*x.shape)  # noqa: NPY002


def layer_norm(x, gamma, beta, axis=-1, spread=None):
    d = x - x.mean(axis, keepdims=True)
    below = np.sqrt((d**2).mean(axis, keepdims=True) + 1e-5) if spread is None else spread(d)
    return gamma * d / below + beta


class GroupNorm:
    def __init__(self, groups, channels):
        self.groups = groups
        self.gamma, self.beta = np.ones((1, channels, 1, 1)), np.zeros((1, channels, 1, 1))

    def split(self, x):
        n, c, h, w = x.shape
        return x.reshape(n, c // self.groups, self.groups, h, w), (1, 3, 4)

    def forward(self, x):
        g, axes = self.split(x)
        y = (g - g.mean(axes, keepdims=True)) / np.sqrt(g.var(axes, keepdims=True) + 1e-5)
        return y.reshape(x.shape) * self.gamma + self.beta


class Instance(GroupNorm):
    def split(self, x):
        return x, (2, 3)


def affine(x, w, b):
    return x @ w + b, (x, w)


def first_row(dout, cache):
    x, w = cache
    return dout @ w.T, x.T @ dout, dout[0]


def last_sample_lost(dout, cache):
    x, w = cache
    return dout @ w.T, x[:-1].T @ dout[:-1], dout.sum(0)


class Embedding:
    def __init__(self, size, width):
        self.W = np.zeros((size, width))

    def forward(self, index):
        self.index = index
        return self.W[index]

    def backward(self, d):
        self.dW = np.zeros_like(self.W)
        self.dW[self.index] += d


class Shifted(Embedding):
    def forward(self, index):
        self.index = index
        return self.W[index - 1]

    backward = None  # type: ignore[assignment]


class Heads:
    def __init__(self, width, heads):
        self.in_w, self.in_b = np.zeros((3 * width, width)), np.zeros(3 * width)
        self.out_w, self.out_b, self.heads = np.zeros((width, width)), np.zeros(width), heads

    def scale(self, inner, width):
        return np.sqrt(width)

    def forward(self, x):
        b, t, e = x.shape
        q, k, v = (
            p.reshape(b, t, self.heads, -1).swapaxes(1, 2)
            for p in np.split(x @ self.in_w.T + self.in_b, 3, -1)
        )
        s = q @ k.swapaxes(-1, -2) / self.scale(e // self.heads, e)
        p = np.exp(s - s.max(-1, keepdims=True))
        y = (p / p.sum(-1, keepdims=True)) @ v
        return y.swapaxes(1, 2).reshape(b, t, e) @ self.out_w.T + self.out_b


class Unscaled(Heads):
    def scale(self, inner, width):
        return 1.0


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.m = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, x):
        return self.m(x, x, x, need_weights=False)[0]


IN_HEADS = {
    "in_w": "m.in_proj_weight",
    "in_b": "m.in_proj_bias",
    "out_w": "m.out_proj.weight",
    "out_b": "m.out_proj.bias",
}


class Cell:
    order = "ifog"

    def __init__(self, n_in, n):
        self.W_ih, self.W_hh = np.zeros((4 * n, n_in)), np.zeros((4 * n, n))
        self.b_ih, self.b_hh = np.zeros(4 * n), np.zeros(4 * n)

    def forward(self, x, h, c):
        z = np.split(x @ self.W_ih.T + h @ self.W_hh.T + self.b_ih + self.b_hh, 4, 1)
        g = dict(zip(self.order, z))
        s = {k: 1 / (1 + np.exp(-v)) for k, v in g.items()}
        c = s["f"] * c + s["i"] * np.tanh(g["g"])
        return s["o"] * np.tanh(c), c


class HiddenTwice(Cell):
    order = "ifgo"

    def forward(self, x, h, c):
        h, _ = super().forward(x, h, c)
        return h, h


class TorchCell(nn.Module):
    def __init__(self, n_in, n):
        super().__init__()
        self.cell = nn.LSTMCell(n_in, n)

    def forward(self, x, h, c):
        return self.cell(x, (h, c))


IN_CELL = {
    "W_ih": "cell.weight_ih",
    "W_hh": "cell.weight_hh",
    "b_ih": "cell.bias_ih",
    "b_hh": "cell.bias_hh",
}


class SinModule(nn.Module):
    def forward(self, x):
        return torch.sin(x)


class Squeezed(nn.Module):
    def forward(self, p, t):
        return F.mse_loss(p.squeeze(1), t)


def numbers_only(x):
    return np.tanh(x).tolist()


def summed_windows(x):
    n, c, h, w = x.shape
    return x.reshape(n, c, h // 2, 2, w // 2, 2).sum((3, 5))


def of_each_quarter(x):
    n, c, h, w = x.shape
    return x.reshape(n, c, 2, h // 2, 2, w // 2).max((2, 4))


def padded_with_zeros(x):
    wide = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    return np.lib.stride_tricks.sliding_window_view(wide, (3, 3), (2, 3)).max((4, 5))


def softmax_over(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


class GRU:
    def __init__(self, n_in, n):
        self.W_ih, self.W_hh = np.zeros((3 * n, n_in)), np.zeros((3 * n, n))
        self.b_ih, self.b_hh, self.n = np.zeros(3 * n), np.zeros(3 * n), n

    def gates(self, a, h):
        b, n = h @ self.W_hh.T + self.b_hh, self.n
        r, z = (1 / (1 + np.exp(-(a[:, i : i + n] + b[:, i : i + n]))) for i in (0, n))
        return z, np.tanh(a[:, 2 * n :] + r * b[:, 2 * n :])

    def forward(self, x):
        h, out = np.zeros((x.shape[1], self.n)), []
        for row in x:
            z, new = self.gates(row @ self.W_ih.T + self.b_ih, h)
            h = z * new + (1 - z) * h
            out.append(h)
        return np.stack(out)


class EarlyReset(GRU):
    def gates(self, a, h):
        n = self.n
        b = h @ self.W_hh[: 2 * n].T + self.b_hh[: 2 * n]
        r, z = (1 / (1 + np.exp(-(a[:, i : i + n] + b[:, i : i + n]))) for i in (0, n))
        new = np.tanh(a[:, 2 * n :] + (r * h) @ self.W_hh[2 * n :].T + self.b_hh[2 * n :])
        return 1 - z, new


class Table(Embedding):
    def backward(self, d):
        self.dW = np.zeros_like(self.W)
        np.add.at(self.dW, self.index, d)


class TimeLeftFirst(Dense):
    """Two inputs, so that what backward returns is told apart by shape, and one has none."""

    def forward(self, x, hint):  # type: ignore[override]
        self.x = x
        return x @ self.w + self.b + hint

    def backward(self, d):
        self.dw, self.db = np.einsum("nti,nto->io", self.x, d), d.sum((0, 1))
        return (d @ self.w.T).swapaxes(0, 1), d


class Hinted(nn.Linear):
    def forward(self, x, hint):  # type: ignore[override]
        return super().forward(x) + hint


def of_a_dict(params, x):
    return x @ params["W"].T - params["b"]


def of_a_dict_and_back(params, x):
    return x @ params["W"].T + params["b"], (x, params)


def to_a_dict(dy, cache):
    x, params = cache
    return dy @ params["W"], {"W": dy.T @ x, "b": dy.mean(0)}


def of_a_list(params, x):
    w, b = params
    return x @ w.T + b


def rectified(x, W_ih, W_hh, b_ih, b_hh):
    h, out = np.zeros((x.shape[1], 4)), []
    for row in x:
        h = np.maximum(row @ W_ih.T + b_ih + h @ W_hh.T + b_hh, 0)
        out.append(h)
    return np.stack(out)


WRONG: dict[str, tuple[Any, Any, dict[str, Any], str, str]] = {
    "parameters in a dict": (
        of_a_dict,
        nn.Linear(4, 3),
        {"inputs": ((5, 4),)},
        "forward output",
        "yours uses -bias",
    ),
    "parameters and their gradients in dicts": (
        of_a_dict_and_back,
        nn.Linear(4, 3),
        {"inputs": ((5, 4),), "backward": to_a_dict},
        "gradient bias",
        "bias gradient averaged",
    ),
    "relu in a tanh network": (
        rectified,
        nn.RNN(3, 4),
        {"inputs": ((5, 2, 3),)},
        "forward output",
        "takes relu of each step; the reference takes tanh",
    ),
    "windows summed": (
        summed_windows,
        nn.AvgPool2d(2),
        {"inputs": ((2, 3, 4, 6),)},
        "forward output",
        "yours = 4 * reference; 4 = 2*kernel_size",
    ),
    "right by stride 1 and dilation 2 in a small image alone": (
        of_each_quarter,
        nn.MaxPool2d(2),
        {"inputs": ((2, 3, 4, 4),)},
        "forward output",
        "unknown",
    ),
    "padded with zeros": (
        padded_with_zeros,
        nn.MaxPool2d(3, 1, 1),
        {"inputs": ((2, 2, 4, 5),)},
        "forward output",
        "pads with 0, which wins over negative numbers",
    ),
    "z and 1 - z": (
        GRU,
        nn.GRU,
        {"args": (3, 4), "inputs": ((5, 2, 3),)},
        "forward output",
        "weighs the old state with 1 - z",
    ),
    "reset before the product": (
        EarlyReset,
        nn.GRU,
        {"args": (3, 4), "inputs": ((5, 2, 3),)},
        "forward output",
        "by the reset gate before the product",
    ),
    "padding learns": (
        Table,
        nn.Embedding(7, 3, padding_idx=0),
        {"numpy_args": (7, 3), "inputs": ("4x5:int7",)},
        "gradient weight",
        "padding_idx=None",
    ),
    "a gradient of another shape beside one that fits": (
        TimeLeftFirst,
        Hinted,
        {"args": (4, 6), "inputs": ((3, 5, 4), (3, 5, 6))},
        "gradient input 0",
        "axes in the order (1, 0, 2)",
    ),
    "a norm over the batch": (
        lambda x, gamma, beta: layer_norm(x, gamma, beta, 0),
        nn.LayerNorm(6),
        {"inputs": ((6, 6),)},
        "forward output",
        "normalises over axis 0; the reference normalises over axis 1",
    ),
    "eps outside the root": (
        lambda x, gamma, beta: layer_norm(
            x, gamma, beta, spread=lambda d: np.sqrt((d**2).mean(-1, keepdims=True)) + 1e-5
        ),
        nn.LayerNorm(6),
        {"inputs": ((5, 6),)},
        "forward output",
        "eps to the standard deviation, outside the root",
    ),
    "absolute deviation": (
        lambda x, gamma, beta: layer_norm(
            x, gamma, beta, spread=lambda d: np.abs(d).mean(-1, keepdims=True) + 1e-5
        ),
        nn.LayerNorm(6),
        {"inputs": ((5, 6),)},
        "forward output",
        "mean absolute deviation",
    ),
    "the median for the mean": (
        lambda x, gamma, beta: (
            gamma * (x - np.median(x, -1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
            + beta
        ),
        nn.LayerNorm(6),
        {"inputs": ((5, 6),)},
        "forward output",
        "unknown",
    ),
    "channels interleaved": (
        GroupNorm,
        nn.GroupNorm,
        {"args": (2, 6), "inputs": ((3, 6, 2, 5),)},
        "forward output",
        "channels 0, 2, 4, ... into one group",
    ),
    "each channel by itself": (
        Instance,
        nn.GroupNorm,
        {"args": (2, 6), "inputs": ((3, 6, 2, 5),)},
        "forward output",
        "normalises over axes 2 and 3; the reference normalises over 2 groups",
    ),
    "bias gradient of the first row": (
        affine,
        nn.Linear(4, 3),
        {"inputs": ((5, 4),), "backward": first_row},
        "gradient bias",
        "only the first sample counts",
    ),
    "last sample lost": (
        affine,
        nn.Linear(4, 3),
        {"inputs": ((5, 4),), "backward": last_sample_lost},
        "gradient weight",
        "the last sample is left out",
    ),
    "indices not added up": (
        Embedding,
        nn.Embedding,
        {"args": (10, 4), "inputs": ("3x5:int10",)},
        "gradient weight",
        "np.add.at",
    ),
    "index off by one": (
        Shifted,
        nn.Embedding,
        {"args": (10, 4), "inputs": ("3x5:int10",)},
        "forward output",
        "the index one lower",
    ),
    "scores by the whole width": (
        Heads,
        Attention,
        {"args": (8, 2), "inputs": ((2, 5, 8),), "params": IN_HEADS},
        "forward output",
        "sqrt(embed_dim) = sqrt(8)",
    ),
    "scores unscaled": (
        Unscaled,
        Attention,
        {"args": (8, 2), "inputs": ((2, 5, 8),), "params": IN_HEADS},
        "forward output",
        "does not divide the scores",
    ),
    "weight and bias exchanged": (
        lambda x, weight, bias: layer_norm(x, bias, weight),
        nn.LayerNorm(6),
        {"inputs": ((5, 6),)},
        "forward output",
        "yours uses weight where bias belongs",
    ),
    "another loss": (
        lambda p, t: np.abs(p - t).mean(),
        nn.MSELoss(),
        {"inputs": ((5, 4), (5, 4))},
        "forward output",
        "torch.nn.L1Loss",
    ),
    "another activation": (
        lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
        nn.SiLU(),
        {"inputs": ((5, 4),)},
        "forward output",
        "torch.nn.Hardswish",
    ),
    "one output short": (
        lambda x, weight, bias: np.stack(
            [
                np.einsum("nck,ock->no", x[:, :, i : i + 3], weight) + bias
                for i in range(x.shape[2] - 3)
            ],
            -1,
        ),
        nn.Conv1d(2, 3, 3),
        {"inputs": ((2, 2, 8),)},
        "forward output",
        "without the last 1 of axis 2",
    ),
    "a relu before": (
        lambda x, weight, bias: np.maximum(x, 0) @ weight.T + bias,
        nn.Linear(4, 3),
        {"inputs": ((5, 4),)},
        "forward output",
        "takes relu of input 0 first",
    ),
    "halves swapped": (
        lambda x: x[:, 2:] / (1 + np.exp(-x[:, :2])),
        nn.GLU(),
        {"inputs": ((5, 4),)},
        "forward output",
        "the two halves of input 0 along axis 1 the other way round",
    ),
    "one output twice": (
        HiddenTwice,
        TorchCell,
        {"args": (3, 4), "inputs": ((5, 3), (5, 4), (5, 4)), "params": IN_CELL},
        "forward output 1",
        "the reference's forward output",
    ),
    "gates of a cell inside a module": (
        Cell,
        TorchCell,
        {"args": (3, 4), "inputs": ((5, 3), (5, 4), (5, 4)), "params": IN_CELL},
        "forward output",
        "gates in the order ifog",
    ),
    "features first": (
        FeaturesFirst,
        nn.Linear,
        {"args": (4, 3), "inputs": ((5, 4),)},
        "contract forward",
        "features first and samples last",
    ),
    "a pair broadcast to a square": (
        lambda p, t: ((p - t) ** 2).mean(),
        Squeezed(),
        {"inputs": ((5, 1), (5,))},
        "forward output",
        "broadcasts input 0 (5, 1) with input 1 (5,) to (5, 5)",
    ),
    "a cache in the class": (
        Stale,
        nn.Tanh,
        {"inputs": ((5, 4),)},
        "contract repeat",
        "kept between calls",
    ),
    "random numbers": (
        with_noise,
        nn.Tanh(),
        {"inputs": ((5, 4),)},
        "contract repeat",
        "draws random numbers",
    ),
    "rounded to decimals": (
        lambda x: np.tanh(x).round(6),
        nn.Tanh(),
        {"inputs": ((5, 4),)},
        "forward output",
        "rounded to 6 decimals",
    ),
    "0/0 at zero": (
        lambda x: np.sin(x) / x * x,
        SinModule(),
        {"inputs": ((5, 4),)},
        "forward output",
        "where input 0 is exactly 0",
    ),
    "exp(x) - 1": (
        lambda x: np.where(x > 0, x, np.exp(x) - 1.0),
        nn.ELU(),
        {"inputs": ((5, 4),)},
        "forward output",
        "in extended precision the same code agrees",
    ),
    "wrong for even batches only": (
        lambda x: np.tanh(x) * (1.01 if len(x) % 2 == 0 else 1),
        nn.Tanh(),
        {"inputs": ((4, 3),)},
        "forward output",
        "unknown",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_program_is_told_its_place_and_its_cause(name):
    mine, theirs, call, place, cause = WRONG[name]
    result, text = told(mine, theirs, **call)
    assert not result and result.first.label == place, text
    assert cause in result.cause, text


def test_what_does_for_one_size_alone_is_no_cause():
    def attention(q, k, v, root=lambda d: d**0.5):
        return softmax_over(q @ k.swapaxes(-1, -2) / root(q.shape[-1]), -2) @ v

    def hard_coded(q, k, v):
        return attention(q, k, v, lambda d: 2)

    call: dict[str, Any] = {"inputs": ((2, 5, 4),) * 3}
    result, text = told(attention, F.scaled_dot_product_attention, **call)
    assert "takes the softmax over the queries" in result.cause, text
    result, text = told(hard_coded, F.scaled_dot_product_attention, **call)
    assert result.cause == "unknown" and "yours has a size written into it" in text, text


def test_an_option_that_only_torch_takes_is_asked_for_as_such():
    call: dict[str, Any] = {"kwargs": {"is_causal": True}, "inputs": ((2, 5, 4),) * 3}
    with pytest.raises(Uncomparable, match=r"torch_kwargs=\{'is_causal': True\}"):
        told(lambda q, k, v: v, F.scaled_dot_product_attention, **call)


def test_parameters_in_a_list_are_to_be_given_names():
    with pytest.raises(Uncomparable, match="wrap of_a_list so that each has a name"):
        told(of_a_list, nn.Linear(4, 3), inputs=((5, 4),))


def test_a_single_zero_is_not_all_zeros():
    nothing, one, many = np.zeros((3, 4)), np.eye(3, 4, 3), np.ones((3, 4))
    assert one.sum() == 1
    assert zero([Sample(nothing, one, 1e-12), Sample(nothing, nothing, 1e-12)]) is None
    assert zero([Sample(nothing, many, 1e-12)]) is not None


def test_a_function_that_counts_its_calls_is_told_that_first():
    CALLS[0] = 0
    result, text = told(counts_its_calls, nn.Tanh(), inputs=((5, 4),))
    assert result.first.label == "contract repeat" and "kept between calls" in result.cause, text


def test_what_differs_for_even_batches_only_shows_the_batch_beside_the_factor():
    _, text = told(*WRONG["wrong for even batches only"][:2], inputs=((4, 3),))
    assert "1.01 (N = 4), 1.01 (N = 4), 1 (N = 7)" in text


def test_an_input_changed_in_place_does_not_spoil_what_follows():
    def normalised(x, gamma, beta):
        x -= x.mean(-1, keepdims=True)
        x /= np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5)
        return gamma * x + beta

    given = np.random.default_rng(0).standard_normal((5, 6))
    kept = given.copy()
    result, text = told(normalised, nn.LayerNorm(6), inputs=(given,))
    assert [g.label for g in result.gaps] == ["contract inputs"], text
    assert np.array_equal(given, kept)


class Value:
    """A number with its gradient; what it came from is a set, whose order is another each time."""

    def __init__(self, data, of=(), back=lambda: None):
        self.data, self.grad, self.of, self.back = data, 0.0, set(of), back

    def __add__(self, other):
        other = other if isinstance(other, Value) else Value(other)
        out = Value(self.data + other.data, (self, other))

        def back():
            self.grad += out.grad
            other.grad += out.grad

        out.back = back
        return out

    __radd__ = __add__

    def __mul__(self, other):
        out = Value(self.data * other.data, (self, other))

        def back():
            self.grad += other.data * out.grad
            other.grad += self.data * out.grad

        out.back = back
        return out

    def backward(self):
        order: list[Value] = []
        seen = set()

        def visit(v):
            if v not in seen:
                seen.add(v)
                for child in v.of:
                    visit(child)
                order.append(v)

        visit(self)
        self.grad = 1.0
        for v in reversed(order):
            v.back()


class OneByOne:
    def __init__(self, n_in, n_out):
        self.W = np.zeros((n_out, n_in))

    def forward(self, x):
        self.xs, self.ws = ([[Value(v) for v in row] for row in m] for m in (x, self.W))
        self.ys = [[sum(a * b for a, b in zip(w, row)) for w in self.ws] for row in self.xs]
        return np.array([[v.data for v in row] for row in self.ys])

    def backward(self, d):
        total = Value(0.0)
        for row, grads in zip(self.ys, d):
            for v, g in zip(row, grads):
                total = total + v * Value(float(g))
        total.backward()
        self.dW = np.array([[v.grad for v in row] for row in self.ws])
        return np.array([[v.grad for v in row] for row in self.xs])


def test_sums_in_another_order_each_time_are_not_taken_for_state():
    result, text = told(OneByOne, nn.Linear(3, 2, bias=False), numpy_args=(3, 2), inputs=((4, 3),))
    assert result, text


class KeepsTheGradient:
    def __init__(self, params, lr=0.01, momentum=0.9):
        self.params, self.lr, self.momentum = params, lr, momentum
        self.v = [None] * len(params)

    def step(self):
        for i, p in enumerate(self.params):
            if p.grad is None:
                continue
            if self.v[i] is None:
                self.v[i] = p.grad
            else:
                self.v[i] *= self.momentum
                self.v[i] += p.grad
            p.data -= self.lr * self.v[i]


def test_a_gradient_kept_without_a_copy_shows_where_its_array_is_used_again():
    options = {"lr": 0.05, "momentum": 0.9}
    result, text = told(KeepsTheGradient, optim.SGD, kwargs=options)
    assert result.first.label.startswith("gradients written into the same array"), text
    assert "keeps the gradient array itself" in result.cause
    assert "one parameter" in result.places


def test_a_schedule_that_is_late_is_told_so_whatever_it_starts_with():
    theirs = optim.lr_scheduler
    result, text = told(
        lambda t, lr: lr * 0.5 ** ((t - 1) // 5),
        theirs.StepLR,
        numpy_kwargs={},
        torch_kwargs={"step_size": 5, "gamma": 0.5},
        lr=0.1,
        steps=20,
    )
    assert "a step behind" in result.cause and "before that it is 0.2" in result.cause, text
    with pytest.raises(Uncomparable, match="follows a metric, not the step"):
        compare(lambda t, lr: lr, theirs.ReduceLROnPlateau, numpy_kwargs={}, lr=0.1)


# ---- models --------------------------------------------------------------------------------------


class Net:
    def __init__(self):
        self.fc1, self.act, self.fc2 = Dense(4, 6), Relu(), Dense(6, 6)
        self.act2, self.fc3 = Sigmoid(), Dense(6, 3)

    def layers(self):
        return [self.fc1, self.act, self.fc2, self.act2, self.fc3]

    def forward(self, x):
        for layer in self.layers():
            x = layer.forward(x)
        return x

    def backward(self, d):
        for layer in reversed(self.layers()):
            d = layer.backward(d)
        return d


class Swapped(Net):
    def layers(self):
        return [self.fc1, self.act2, self.fc2, self.act, self.fc3]


class Skips(Net):
    def forward(self, x):
        for layer in self.layers():
            x = x if layer is self.act2 else layer.forward(x)
        return x


class TorchNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 6)
        self.act2, self.fc3 = nn.Sigmoid(), nn.Linear(6, 3)

    def forward(self, x):
        return self.fc3(self.act2(self.fc2(self.act(self.fc1(x)))))


class Chain:
    """Layers with parameters in a list, activations between them by hand."""

    def __init__(self):
        self.layers = [Dense(4, 6), Dense(6, 6), Dense(6, 3)]

    def forward(self, x):
        self.z = []
        for i, layer in enumerate(self.layers):
            x = layer.forward(x)
            if i < 2:
                self.z.append(x)
                x = np.tanh(x)
        return x

    def backward(self, d):
        for i in (2, 1, 0):
            d = self.layers[i].backward(d)
            if i:
                d = d * (1 - np.tanh(self.z[self.before(i)]) ** 2)
        return d

    def before(self, i):
        return i - 1


class OneCache(Chain):
    def before(self, i):
        return 0


def test_layers_with_parameters_are_heard_where_activations_stand_between_them():
    net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 3))
    result, text = told(Chain, net, inputs=((5, 4),))
    assert result and "tap gradient 2" in result.places, text
    result, text = told(OneCache, net, inputs=((5, 4),))
    assert result.first.label == "tap gradient 2" and result.first.origin == "passed on", text
    assert result.cause == "unknown"


class CachedByShape(Dense):
    kept: dict[Any, Any] = {}

    def forward(self, x):
        self.x = self.kept.setdefault(x.shape, x.copy())
        return x @ self.w + self.b


def test_a_cache_that_is_right_for_the_first_numbers_only_is_hinted_at():
    CachedByShape.kept.clear()
    result, text = told(CachedByShape, nn.Linear, args=(4, 3), inputs=((5, 4),))
    assert result.first.label == "gradient weight" and result.cause == "unknown"
    assert "is something kept from an earlier call?" in text


def test_sub_layers_called_in_another_order_or_never_are_named():
    assert told(Net, TorchNet, inputs=((5, 4),))[0]
    result, text = told(Swapped, TorchNet, inputs=((5, 4),))
    assert "yours goes through fc1, act2, fc2, act, fc3; torch goes through" in result.cause, text
    result, text = told(Skips, TorchNet, inputs=((5, 4),))
    assert result.first.label == "tap fc3", text
    assert result.cause.startswith("yours never calls act2"), text
    assert "backward raised AttributeError" in text  # which comes later, and of that


# ---- right however it is written -----------------------------------------------------------------


class Held:
    """Its arrays at the start, all gradients at every step."""

    def __init__(self, params, lr=0.01, momentum=0.9):
        self.p, self.lr, self.momentum, self.v = params, lr, momentum, [0] * len(params)

    def step(self, grads):
        for i, (p, g) in enumerate(zip(self.p, grads)):
            self.v[i] = self.momentum * self.v[i] + g
            p -= self.lr * self.v[i]


def rmsprop(w, g, cache, lr=0.01, alpha=0.99, eps=1e-8):
    cache = alpha * cache + (1 - alpha) * g**2
    return w - lr * g / (np.sqrt(cache) + eps), cache


class Adam:
    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
        self.params, self.lr, self.betas, self.eps = params, lr, betas, eps
        self.decay, self.t = weight_decay, 0
        self.m, self.v = ([np.zeros_like(p.data) for p in params] for _ in range(2))

    def count(self, i):
        return self.t

    def step(self):
        self.t += 1
        for i, p in enumerate(self.params):
            if p.grad is not None:
                self.moments(i, p.grad)
                self.update(i, p, self.count(i))

    def moments(self, i, g):
        self.m[i] = self.betas[0] * self.m[i] + (1 - self.betas[0]) * g
        self.v[i] = self.betas[1] * self.v[i] + (1 - self.betas[1]) * g**2

    def update(self, i, p, t):
        m, v = self.m[i] / (1 - self.betas[0] ** t), self.v[i] / (1 - self.betas[1] ** t)
        p.data -= self.lr * (m / (np.sqrt(v) + self.eps) + self.decay * p.data)


class Counting(Adam):
    """Behind *args and **kwargs, as subclasses are."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.own = [0] * len(self.params)

    def count(self, i):
        self.own[i] += 1
        return self.own[i]


class RawSquare(Adam):
    def update(self, i, p, t):
        m = self.m[i] / (1 - self.betas[0] ** t)
        p.data -= self.lr * m / (np.sqrt(self.v[i]) + self.eps)


class OneBeta(Counting):
    def moments(self, i, g):
        self.m[i] = self.betas[0] * self.m[i] + (1 - self.betas[0]) * g
        self.v[i] = self.betas[1] * self.v[i] + (1 - self.betas[0]) * g**2


class DecaysLate(Adam):
    def update(self, i, p, t):
        decay, self.decay = self.decay, 0.0
        super().update(i, p, t)
        self.decay = decay
        p.data -= decay * p.data


OWN = np.random.default_rng(0)


def drops_by_its_own_generator(x, p=0.5):
    return x * (OWN.random(x.shape) > p) / (1 - p)


RIGHT: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "a generator of its own": (
        drops_by_its_own_generator,
        nn.Dropout(0.5),
        {"inputs": ((20, 10),)},
    ),
    "lists of numbers": (numbers_only, nn.Tanh(), {"inputs": ((5, 4),)}),
    "one argument left": (
        lambda x, a: np.where(x > 0, x, a * x),
        nn.PReLU(),
        {"inputs": ((5, 4),)},
    ),
    "arrays at the start": (Held, optim.SGD, {"kwargs": {"lr": 0.05, "momentum": 0.9}}),
    "a cache handed on": (rmsprop, optim.RMSprop, {"kwargs": {"lr": 0.02, "alpha": 0.9}}),
    "behind **kwargs": (Counting, optim.AdamW, {"kwargs": {"lr": 0.01, "weight_decay": 0.1}}),
    "a norm by another formula": (layer_norm, nn.LayerNorm(6), {"inputs": ((5, 6),)}),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_program_of_another_build_passes(name):
    mine, theirs, call = RIGHT[name]
    result, text = told(mine, theirs, **call)
    assert result, text


@pytest.mark.parametrize(
    "mine, options, says",
    [
        (RawSquare, {}, ["second moment is not corrected", "step count goes on"]),
        (OneBeta, {}, ["second moment takes (1-beta1) of the square"]),
        (
            DecaysLate,
            {"weight_decay": 0.1},
            ["decay comes after the step and is not multiplied by lr", "step count goes on"],
        ),
    ],
)
def test_two_mistakes_of_an_adam_are_both_named(mine, options, says):
    kind = optim.AdamW if options else optim.Adam
    result, text = told(mine, kind, kwargs={"lr": 0.01, **options})
    assert all(part in result.cause for part in says), text
    assert result.cause.count("; and ") == len(says) - 1


class RootOfNothing:
    """Adadelta that is right at first and NaN from then on, as a root of what is negative."""

    def __init__(self, params, lr=1.0):
        self.params, self.lr, self.taken = list(params), lr, 0

    def step(self):
        self.taken += 1
        for p in self.params:
            if p.grad is not None:
                root = np.sqrt(1e-6) / np.sqrt(0.1 * p.grad**2 + 1e-6)
                p.data -= self.lr * root * p.grad * (1 if self.taken == 1 else np.nan)


def test_what_ends_in_nan_is_near_nothing():
    result, text = told(RootOfNothing, optim.Adadelta, kwargs={"lr": 1.0})
    assert result.cause == "unknown" and "leaves 0 of" not in text, text


def test_adam_written_out_is_torchs():
    for kind, options in (
        (optim.Adam, {"lr": 0.01, "weight_decay": 0.1}),
        (optim.AdamW, {"lr": 0.02, "weight_decay": 0.1, "betas": (0.8, 0.99), "eps": 1e-4}),
        (optim.Adam, {"lr": 0.01, "maximize": True}),
    ):
        full = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0, **options}
        for scenario in scenarios(0, 9):
            theirs = run_torch(kind, options, scenario)
            for label, x in adam_family.run(kind, full, {}, scenario).items():
                np.testing.assert_allclose(x, theirs[label], rtol=1e-12, atol=1e-14, err_msg=label)


def test_an_eps_where_torch_takes_the_dtypes_own_is_named():
    class RMSNorm:
        def __init__(self, n):
            self.weight = np.ones(n)

        def forward(self, x):
            return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-6) * self.weight

    result, text = told(RMSNorm, nn.RMSNorm, args=(8,), inputs=((4, 8),))
    assert "torch does with eps=1e-06; the reference has eps=None" in result.cause, text


# ---- calls that cannot be answered ---------------------------------------------------------------


def test_what_a_function_raises_in_a_step_is_said_once():
    def broken(w, g, lr=0.01):
        raise ValueError("no step today")

    result, text = told(broken, optim.SGD, kwargs={"lr": 0.01})
    assert text.count("also :") == 0 and "no step today" in result.cause and not result.places, text


def test_a_class_without_a_forward_says_which_names_are_looked_for():
    class Signal:
        def calculate(self, x):
            return x

    with pytest.raises(Uncomparable, match="one of forward, __call__.* it has calculate"):
        compare(Signal, nn.Tanh, inputs=((5, 4),))
