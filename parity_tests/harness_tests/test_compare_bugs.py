"""Bugs put into right code: each is located, and named right or called unknown."""

import re
from typing import Any

import numpy as np
import pytest
import torch

from parity_tests import compare
from parity_tests.harness_tests import own

nn, F, optim = torch.nn, torch.nn.functional, torch.optim
LINEAR = {"theirs": nn.Linear, "args": (4, 3), "inputs": ((5, 4),)}
NORM = {"theirs": nn.LayerNorm, "args": (8,), "inputs": ((5, 8),)}
BATCH = {"theirs": nn.BatchNorm1d, "args": (5,), "inputs": ((7, 5),)}
SOFT = {"theirs": nn.Softmax(-1), "inputs": ((5, 4),)}
CE = {"theirs": nn.CrossEntropyLoss()}
CONV = {"theirs": nn.Conv2d, "args": (2, 3, 3), "inputs": ((2, 2, 5, 6),)}
SDPA = {"theirs": F.scaled_dot_product_attention, "inputs": ((2, 5, 4),) * 3}
RNN = {"theirs": nn.LSTM, "args": (3, 4), "inputs": ((5, 2, 3),)}
RELU = {"theirs": nn.ReLU(), "inputs": ((5, 4),)}

BUGS: dict[str, Any] = {}


def bug(name, call, first, says, **more):
    """Declare: the code under this decorator, how it is called, where it shows, what is said."""

    def declare(mine):
        BUGS[name] = mine, {**call, **more}, first, says
        return mine

    return declare


def changed(base, **methods):
    return type(base.__name__, (base,), methods)


# ---- linear layers -------------------------------------------------------------------------------


@bug("both gradients averaged", LINEAR, "gradient weight", r"= 0\.2 \* reference.*1/N")
class Bug1(own.Linear):
    def backward(self, dy):
        dx = super().backward(dy)
        self.dW, self.db = self.dW / len(dy), self.db / len(dy)
        return dx


@bug("weight decay in the gradient", LINEAR, "gradient weight", r"reference \+ 0\.01 \* weight")
class Bug2(own.Linear):
    def backward(self, dy):
        dx = super().backward(dy)
        self.dW = self.dW + 0.01 * self.W
        return dx


@bug("bias forgotten", LINEAR, "forward output", r"bias")
class Bug3(own.Linear):
    def forward(self, x):
        self.x = x
        return x @ self.W


@bug("sign of dx", LINEAR, "gradient input 0", r"opposite sign")
class Bug4(own.Linear):
    def backward(self, dy):
        return -super().backward(dy)


@bug("dx of zeros", LINEAR, "gradient input 0", r"0 everywhere")
class Bug5(own.Linear):
    def backward(self, dy):
        return 0 * super().backward(dy)


@bug("input changed in place", LINEAR, "contract inputs", r"forward changed input 0 in place")
class Bug6(own.Linear):
    def forward(self, x):
        x -= x.mean()
        return super().forward(x)


@bug("cotangent changed in place", LINEAR, "contract inputs", r"backward changed the gradient")
class Bug7(own.Linear):
    def backward(self, dy):
        dx = super().backward(dy)
        dy *= 0
        return dx


@bug("float32 inside", LINEAR, "forward output", r"rounds .*input 0.* to float32")
class Bug8(own.Linear):
    def forward(self, x):
        self.x = x
        return (x.astype(np.float32) @ self.W.astype(np.float32)).astype(float) + self.b


@bug("updates before dx", LINEAR, "gradient input 0", r"updates the parameters before")
class Bug9(own.Linear):
    def backward(self, dy, learning_rate):  # type: ignore[override]
        self.W -= learning_rate * self.x.T @ dy
        self.b -= learning_rate * dy.sum(0, keepdims=True)
        return dy @ self.W.T


@bug("no bias gradient", LINEAR, "gradient bias", r"no gradient of b is found")
class Bug10(own.Linear):
    def backward(self, dy):
        self.dW = self.x.T @ dy
        return dy @ self.W.T


@bug("gradient summed along the wrong axis", LINEAR, "gradient bias", r"unknown", inputs=((3, 4),))
class Bug11(own.Linear):
    def backward(self, dy):
        dx = super().backward(dy)
        self.db = np.resize(dy.sum(1), (1, dy.shape[1]))
        return dx


@bug(
    "square weight transposed",
    {"theirs": nn.Linear(4, 4), "inputs": ((5, 4),)},
    "forward output",
    r"weight transposed",
    numpy_args=(4, 4),
)
class Bug12(own.Linear):
    pass


@bug("state between calls", LINEAR, "contract repeat", r"called again")
class Bug13(own.Linear):
    calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x) * (1 if self.calls < 2 else 1.5)


@bug("raises for a strided input", LINEAR, "contract strided layout", r"raised")
class Bug14(own.Linear):
    def forward(self, x):
        assert x.flags.c_contiguous or x.flags.f_contiguous
        return super().forward(x)


@bug("wrong output shape", LINEAR, "forward output", r"transposed")
class Bug15(own.Linear):
    def forward(self, x):
        return super().forward(x).T

    backward: Any = None


# ---- norms ---------------------------------------------------------------------------------------


@bug("ddof=1", NORM, "forward output", r"ddof|unbiased")
class Bug16(own.LayerNorm):
    def statistics(self, x):
        return x.mean(-1, keepdims=True), x.var(-1, keepdims=True, ddof=1)


bug("another eps default", NORM, "forward output", r"eps=0\.001")(
    changed(own.LayerNorm, __init__=lambda self, d: own.LayerNorm.__init__(self, d, 1e-3))
)
bug("an eps from nowhere", NORM, "forward output", r"eps=0\.00037")(
    changed(own.LayerNorm, __init__=lambda self, d: own.LayerNorm.__init__(self, d, 3.7e-4))
)


@bug("eps and bias gradient", NORM, "forward output", r"eps=0\.001")
class Bug17(own.LayerNorm):
    def __init__(self, d):
        super().__init__(d, 1e-3)

    def backward(self, dy):
        dx = super().backward(dy)
        self.dbeta = dy.mean(0)
        return dx


@bug("gradients swapped", NORM, "gradient weight", r"the reference's gradient bias")
class Bug18(own.LayerNorm):
    def backward(self, dy):
        dx = super().backward(dy)
        self.dgamma, self.dbeta = self.dbeta, self.dgamma
        return dx


@bug("one-pass variance", NORM, "forward output", r"loses digits|Digits cancel")
class Bug19(own.LayerNorm):
    def statistics(self, x):
        mean = x.mean(-1, keepdims=True)
        return mean, (x * x).mean(-1, keepdims=True) - mean**2


@bug("gamma ignored", NORM, "forward output", r"weight.*as if it were 1")
class Bug20(own.LayerNorm):
    def forward(self, x):
        super().forward(x)
        return self.x_hat + self.beta


@bug("biased running variance", BATCH, "buffer running_var", r"\(N-1\)/N|biased")
class Bug21(own.BatchNorm):
    def track(self, x, mean, var):
        m = self.momentum
        self.running_mean = (1 - m) * self.running_mean + m * mean
        self.running_var = (1 - m) * self.running_var + m * var


@bug("momentum reversed", BATCH, "buffer running_mean", r"momentum=0\.9|keeps 0\.1")
class Bug22(own.BatchNorm):
    def track(self, x, mean, var):
        m = self.momentum
        self.running_mean = m * self.running_mean + (1 - m) * mean
        self.running_var = m * self.running_var + (1 - m) * x.var(0, ddof=1)


@bug("batch statistics in eval", BATCH, "forward output", r"in eval|train mode|unknown")
class Bug23(own.BatchNorm):
    def forward(self, x, training=True):
        kept = self.running_mean, self.running_var
        y = super().forward(x, True)
        if not training:
            self.running_mean, self.running_var = kept
        return y


bug(
    "groups interleaved",
    {"theirs": nn.GroupNorm(2, 6), "inputs": ((3, 6, 5),)},
    "forward output",
    r"interleaved",
)(
    lambda x: (
        own.LayerNorm(15, 1e-5)
        .forward(x.reshape(len(x), 3, 2, 5).swapaxes(1, 2).reshape(len(x), 2, 15))
        .reshape(len(x), 2, 3, 5)
        .swapaxes(1, 2)
        .reshape(x.shape)
    )
)


# ---- softmax, losses, activations ----------------------------------------------------------------


bug("softmax over the batch", SOFT, "forward output", r"dim=0")(lambda x: own.softmax(x.T).T)
bug("softmax without its shift", SOFT, "forward output", r"overflow|no shift")(
    lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True)
)
bug(
    "softmax backward without the sum",
    SOFT,
    "gradient input 0",
    r"y \* dy|dy \* output",
    backward=lambda dy, y: dy * y,
)(own.softmax)
bug(
    "gradient from above ignored",
    SOFT,
    "gradient input 0",
    r"unknown|ignores",
    backward=lambda dy, y: y * (1 - y),
)(own.softmax)


@bug("loss gradient not averaged", CE, "gradient input 0", r"= 6 \* reference|sum")
class Bug24(own.CrossEntropy):
    def backward(self):
        return super().backward() * len(self.y)


@bug("loss in bits", CE, "forward output", r"1/ln 2")
class Bug25(own.CrossEntropy):
    def forward(self, logits, y):
        return super().forward(logits, y) / np.log(2)


@bug("softmax twice", CE, "forward output", r"softmax of input 0|softmax")
class Bug26(own.CrossEntropy):
    def forward(self, logits, y):
        return super().forward(own.softmax(logits), y)


@bug("half the squared error", {"theirs": nn.MSELoss()}, "forward output", r"0\.5")
class Bug27(own.MSE):
    def forward(self, p, t):
        return super().forward(p, t) / 2


@bug("MSE gradient per row", {"theirs": nn.MSELoss()}, "gradient input 0", r"C/2")
class Bug28(own.MSE):
    def backward(self):
        return self.d / len(self.d)


bug(
    "slope 1 at 0",
    RELU,
    "gradient input 0",
    r"at 0|exactly 0",
    backward=lambda dy, x: dy * (x >= 0),
)(lambda x: np.maximum(x, 0))
bug("leaky slope", {"theirs": nn.LeakyReLU(), "inputs": ((5, 4),)}, "forward output", r"slope")(
    lambda x: np.where(x > 0, x, 0.3 * x)
)
bug("tanh gelu", {"theirs": nn.GELU(), "inputs": ((5, 4),)}, "forward output", r"tanh")(
    lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
)
bug(
    "off beyond a threshold",
    {"theirs": nn.Tanh(), "inputs": ((5, 4),)},
    "forward output",
    r"\|input\| is above",
)(lambda x: np.tanh(x) * np.where(np.abs(x) > 1, 1.01, 1))
bug("leak across rows", {"theirs": nn.Tanh(), "inputs": ((5, 4),)}, "forward output", r"unknown")(
    lambda x: np.tanh(x + 0.01 * np.sin(x.sum()))
)
bug(
    "clipped gradient",
    RELU,
    "gradient input 0",
    r"held between -1 and 1",
    backward=lambda dy, x: np.clip(dy * (x > 0), -1, 1),
)(lambda x: np.maximum(x, 0))


# ---- convolution, attention, recurrence ----------------------------------------------------------

bug("true convolution", CONV, "forward output", r"flipped")(
    changed(own.Conv, kernel=lambda self: self.W[:, :, ::-1, ::-1])
)
bug(
    "padding at one side", CONV, "forward output", r"one place earlier", torch_args=(2, 3, 3, 1, 1)
)(
    changed(
        own.Conv,
        forward=lambda self, x: own.Conv.forward(self, np.pad(x, ((0, 0), (0, 0), (0, 2), (0, 2)))),
    )
)
bug("no 1/sqrt(d)", SDPA, "forward output", r"multiplied by 2.*sqrt")(
    lambda q, k, v: own.attention(q * np.sqrt(q.shape[-1]), k, v)
)
bug(
    "causal mask forgotten",
    SDPA,
    "forward output",
    r"is_causal=False",
    torch_kwargs={"is_causal": True},
)(own.attention)
bug("gates in Keras's order", RNN, "forward output", r"gates in the order igfo|ifog")(
    changed(own.LSTM, order="ifog")
)
bug("time reversed", RNN, "forward output", r"axis 0 of input 0 the other way")(
    changed(own.LSTM, forward=lambda self, x: own.LSTM.forward(self, x[::-1])[::-1])
)
bug("a recurrent bias ignored", RNN, "forward output", r"bias_hh_l0.*0")(
    changed(own.LSTM, forward=lambda self, x: (self.b_hh.fill(0), own.LSTM.forward(self, x))[1])
)


# ---- optimizers and schedules --------------------------------------------------------------------

ADAM = {"theirs": optim.Adam}
SGD = {"theirs": optim.SGD, "kwargs": {"lr": 0.05, "momentum": 0.9}}


@bug("one step count", ADAM, "two parameters", r"step count")
class Bug29(own.Adam):
    calls = 0

    def change(self, m, v, t):
        self.calls += 1
        return super().change(m, v, self.calls)


@bug("no bias correction", ADAM, "one parameter", r"bias correction")
class Bug30(own.Adam):
    def change(self, m, v, t):
        return super().change(m, v, 10**7)


@bug("eps inside", ADAM, "one parameter", r"eps inside|unknown")
class Bug31(own.Adam):
    def change(self, m, v, t):
        return self.lr * m / (1 - self.beta1**t) / np.sqrt(v / (1 - self.beta2**t) + self.eps)


@bug("uphill", SGD, "one parameter", r"sign of the update")
class Bug32(own.SGD):
    def step(self):
        for p in self.params:
            p.grad = None if p.grad is None else -p.grad
        super().step()


@bug("lr in the buffer", SGD, "a learning rate that changes", r"lr inside|unknown")
class Bug33(own.SGD):
    def step(self):
        for p, v in zip(self.params, self.v):
            if p.grad is not None:
                v *= self.momentum
                v += self.lr * p.grad
                p.data -= v


@bug("missing taken as zero", SGD, "a missing gradient", r"treated as one of zeros")
class Bug34(own.SGD):
    def step(self):
        for p in self.params:
            p.grad = np.zeros_like(p.data) if p.grad is None else p.grad
        super().step()


@bug("gradient clipped", SGD, "one parameter", r"held between")
class Bug35(own.SGD):
    def step(self):
        for p in self.params:
            p.grad = None if p.grad is None else np.clip(p.grad, -1, 1)
        super().step()


COSINE = {
    "theirs": optim.lr_scheduler.CosineAnnealingLR,
    "torch_kwargs": {"T_max": 20},
    "numpy_kwargs": {},
    "lr": 0.1,
    "steps": 19,
}
bug("schedule one ahead", COSINE, "learning rate", r"1 step ahead")(
    lambda t, lr: 0.5 * lr * (1 + np.cos(np.pi * (t + 1) / 20))
)
bug("schedule doubled", COSINE, "learning rate", r"= 2 \* reference")(
    lambda t, lr: lr * (1 + np.cos(np.pi * t / 20))
)


@pytest.mark.parametrize("name", BUGS)
def test_an_injected_bug_is_located_and_named_or_called_unknown(name):
    mine, call, first, says = BUGS[name]
    call = dict(call)
    result: Any = compare(mine, call.pop("theirs"), **call)
    text = result.text()
    assert not result
    assert result.first.label.startswith(first), text
    said = " | ".join([result.cause, *(a for c in result.causes[:1] for a in c.also)])
    assert re.search(says, said), f"said {said!r}\n{text}"
    assert text.startswith("FAIL") and ("unknown" in text or result.causes)
    assert not any(np.isnan(c.residual) for c in result.causes)


def test_two_mistakes_are_told_apart():
    mine, call, *_ = BUGS["eps and bias gradient"]
    call = dict(call)
    result: Any = compare(mine, call.pop("theirs"), **call)
    assert [c.label for c in result.causes] == ["forward output", "gradient bias"]
    assert "eps=0.001" in result.causes[0].text and "1/N" in result.causes[1].text


def averaged_bias(self, dy):
    dx = own.Linear.backward(self, dy)
    self.db = dy.mean(0, keepdims=True)
    return dx


@pytest.mark.parametrize(
    "place, layer, says",
    [
        (
            "tap 3",
            changed(own.ReLU, forward=lambda self, x: np.where(x > 0, x, 0.01 * x), backward=None),
            r"0\.01 \* input",
        ),
        (
            "tap gradient 2",
            changed(own.Linear, backward=lambda self, dy: 2 * own.Linear.backward(self, dy)),
            r"= 2 \* reference",
        ),
        (
            "gradient 2.bias",
            changed(
                own.Linear,
                backward=averaged_bias,
            ),
            "1/N",
        ),
    ],
)
def test_in_a_model_the_layer_that_introduces_it_is_named(place, layer, says):
    torch_model = nn.Sequential(
        nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)
    )
    layers: list[Any] = [
        own.Linear(4, 6),
        own.ReLU(),
        own.Linear(6, 5),
        own.ReLU(),
        own.Linear(5, 3),
    ]
    at = int(place.split()[-1][0])
    layers[at] = layer(6, 5) if at == 2 else layer()
    model: Any = own.Net(*layers)
    if at == 3:
        model.backward = None
    result: Any = compare(model, torch_model, inputs=((7, 4),))
    assert result.first.label == place, result.text()
    said = result.cause + str(result.causes[0].also)
    assert f"layers.{at}" in said and re.search(says, said), result.text()
    if place.startswith("tap"):
        assert result.first.origin == "introduced here"
        assert all(
            g.origin != "introduced here" for g in result.gaps[1:] if f" {at}" not in g.label
        )
