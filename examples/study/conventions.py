"""Where the guide, the papers and torch mean different things, and how to translate.

What an entry says of torch it also tests: `holds` runs the installed torch. An entry whose test no
longer holds is wrong, and the suite says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn, optim
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from torch_impl.optimization import InverseTimeLR


@dataclass(frozen=True)
class Convention:
    """One thing that is written in more than one way.

    Args:
        page: the technique it belongs to, chapter/file.
        what: the thing, in a few words.
        sides: who means what; torch is always among them.
        translate: how to take a number or a line from the others to torch.
        holds: whether torch does what is said of it.
    """

    page: str
    what: str
    sides: tuple[tuple[str, str], ...]
    translate: str
    holds: Callable[[], bool]

    @property
    def slug(self) -> str:
        """A name for the address of the page."""
        return self.what.lower().translate({ord(c): "-" for c in " '/"}).replace(",", "")


def _trained(norm: nn.BatchNorm1d, *batches: torch.Tensor) -> Any:
    norm.double()
    for batch in batches:
        norm(batch)
    return norm


def _stepped(make: Callable[..., optim.Optimizer], grads: list[float], start: float = 1.0) -> float:
    p = nn.Parameter(torch.tensor([start], dtype=torch.float64))
    optimizer = make([p])
    for g in grads:
        p.grad = torch.tensor([g], dtype=torch.float64)
        optimizer.step()
    return p.item()


def _near(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-9)


X = torch.arange(12, dtype=torch.float64).reshape(4, 3) ** 1.5

BATCH_NORM, ADAM, SGD = "normalization/batch_norm", "optimization/adam", "optimization/sgd"

CONVENTIONS = [
    Convention(
        BATCH_NORM,
        "Batch norm's momentum",
        (
            ("Guide", "momentum=0.9 keeps 0.9 of the old statistics and takes in 0.1 of the new."),
            ("Keras", "As the guide, by default 0.99."),
            ("torch", "momentum=0.1 is the share of the new batch; None takes the plain average."),
        ),
        "torch's momentum = 1 - the guide's. `batch_norm_from_guide` does it for a whole layer.",
        lambda: torch.allclose(
            _trained(nn.BatchNorm1d(3, momentum=0.1), X).running_mean, 0.1 * X.mean(0)
        ),
    ),
    Convention(
        BATCH_NORM,
        "The running variance",
        (
            ("Guide", "Tracks the biased variance (1/N), the one it normalises by."),
            ("Paper", "Algorithm 2 of Ioffe & Szegedy 2015 uses m/(m-1) times it for inference."),
            ("torch", "Normalises by the biased variance, tracks the unbiased one (1/(N-1))."),
        ),
        "torch's running_var = the guide's * n / (n - 1), n the values of a channel in a batch.",
        lambda: torch.allclose(
            _trained(nn.BatchNorm1d(3, momentum=1.0), X).running_var, X.var(0, unbiased=True)
        ),
    ),
    Convention(
        BATCH_NORM,
        "Where the running statistics start",
        (
            ("Guide", "At those of the first batch."),
            ("torch", "At mean 0 and variance 1."),
        ),
        "Load the first batch's statistics as a state, or let it run: after k batches the start "
        "still weighs (1 - momentum)^k.",
        lambda: nn.BatchNorm1d(2).state_dict()["running_var"].tolist() == [1, 1],
    ),
    Convention(
        BATCH_NORM,
        "Scale and shift",
        (
            ("Guide", "gamma and beta are two numbers for all features, and are not trained."),
            ("torch", "weight and bias, one number a feature, both trained; gamma is weight."),
        ),
        "weight = full(C, gamma), bias = full(C, beta).",
        lambda: nn.BatchNorm1d(3).weight.shape == (3,),
    ),
    Convention(
        BATCH_NORM,
        "The eps of a norm",
        (
            ("Keras", "1e-3."),
            ("torch", "1e-5, under the root: sqrt(var + eps)."),
        ),
        "Pass eps=1e-3 to load weights from Keras.",
        lambda: nn.BatchNorm1d(3).eps == 1e-5,
    ),
    Convention(
        "layers/linear",
        "How a weight lies",
        (
            ("Guide", "(in, out), applied as x @ W + b with b of shape (1, out)."),
            ("Keras", "(in, out), too."),
            ("torch", "(out, in), applied as x @ weight.T + bias with bias of shape (out,)."),
        ),
        "weight = W.T and bias = b.ravel(). A square W gives no shape error: `compare` tells.",
        lambda: nn.Linear(2, 3).weight.shape == (3, 2),
    ),
    Convention(
        "layers/linear",
        "How a Linear starts",
        (
            ("Guide", "normal with std sqrt(2 / in), bias 0."),
            ("torch", "weight and bias uniform in ±1/sqrt(in): kaiming_uniform_ with a=sqrt(5)."),
        ),
        "`init_weights(model, 'relu')` starts torch's layers as the guide's are.",
        lambda: bool((nn.Linear(4, 1000).bias.abs() <= 0.5).all()),
    ),
    Convention(
        "layers/activation",
        "The slope of LeakyReLU",
        (("Keras", "0.3."), ("torch", "0.01.")),
        "Pass negative_slope=0.3.",
        lambda: nn.LeakyReLU().negative_slope == 0.01,
    ),
    Convention(
        "layers/softmax",
        "Softmax before the loss",
        (
            ("Many scripts", "End the network in a softmax and take -log of it."),
            ("torch", "CrossEntropyLoss wants bare logits and does both in one, stably."),
        ),
        "Leave the softmax out of the model; use it only to print probabilities.",
        lambda: _near(
            float(F.cross_entropy(X, torch.tensor([0, 1, 2, 0]))),
            float(F.nll_loss(F.log_softmax(X, 1), torch.tensor([0, 1, 2, 0]))),
        ),
    ),
    Convention(
        "losses/regression",
        "Squared error: halves and means",
        (
            (
                "Guide",
                "Prints mean((a - y)^2), goes back with (a - y) / N: n_out/2 times its gradient.",
            ),
            ("Textbooks", "1/2 the sum over outputs, the mean over samples."),
            ("torch", "The mean over all numbers; gradient 2 (a - y) / (N * n_out)."),
        ),
        "Multiply the learning rate by n_out / 2 to step as the guide does.",
        lambda: _near(float(F.mse_loss(X, X - 3)), 9.0),
    ),
    Convention(
        "losses/cross_entropy",
        "The mean under class weights",
        (
            ("Many scripts", "Divide by the number of samples."),
            ("torch", "Divides by the sum of the samples' weights."),
        ),
        "With weights w: torch's mean * w[target].sum() / N.",
        lambda: _near(
            float(
                F.cross_entropy(X, torch.tensor([0, 0, 2, 2]), torch.tensor([5.0, 1, 1]).double())
            ),
            float(
                F.cross_entropy(
                    X,
                    torch.tensor([0, 0, 2, 2]),
                    torch.tensor([5.0, 1, 1]).double(),
                    reduction="sum",
                )
            )
            / 12,
        ),
    ),
    Convention(
        "losses/binary_cross_entropy",
        "The logarithm of 0",
        (
            ("Many scripts", "Clip p to [1e-7, 1 - 1e-7], or get inf."),
            ("torch", "BCELoss clamps the logarithm at -100; BCEWithLogitsLoss needs no clamp."),
        ),
        "Use logits: exact at both ends.",
        lambda: float(F.binary_cross_entropy(torch.zeros(1), torch.ones(1))) == 100.0,
    ),
    Convention(
        SGD,
        "Momentum",
        (
            (
                "Sutskever, Keras",
                "The learning rate stands inside the buffer: v = mu * v - lr * g.",
            ),
            ("Averages", "v = mu * v + (1 - mu) * g: 1 - mu times as long a step."),
            ("torch", "v = mu * v + g, p -= lr * v; the first buffer is g, undamped."),
        ),
        "The same steps until the rate changes. For an average pass dampening=mu, and mind the "
        "first step.",
        lambda: _near(
            _stepped(lambda p: optim.SGD(p, lr=0.1, momentum=0.5), [1, 1]), 1 - 0.1 - 0.15
        ),
    ),
    Convention(
        SGD,
        "The 2 in weight decay",
        (
            ("Guide", "Penalty lambda * sum w^2, but the gradient line adds lambda * w."),
            ("torch", "weight_decay=w adds w * p: the gradient of w/2 * sum p^2."),
        ),
        "weight_decay = 2 * lambda for the penalty as it is printed, lambda for the gradient line.",
        lambda: _near(_stepped(lambda p: optim.SGD(p, lr=0.1, weight_decay=0.5), [0]), 1 - 0.05),
    ),
    Convention(
        ADAM,
        "The step count of Adam",
        (
            ("Guide", "self.t += 1 at every call: with two parameters it runs twice as fast."),
            ("torch", "One count a parameter, one up a step in which it had a gradient."),
        ),
        "Count once a step and parameter.",
        lambda: _near(_stepped(lambda p: optim.Adam(p, lr=0.1), [3]), 1 - 0.1 * 3 / (3 + 1e-8)),
    ),
    Convention(
        ADAM,
        "Adam's eps",
        (
            ("Paper", "Algorithm 1: sqrt(v_hat) + eps."),
            (
                "Keras, scikit-learn",
                "The paper's epsilon hat: sqrt(v) + eps, before the correction.",
            ),
            ("torch", "As algorithm 1."),
        ),
        "Equal to eps / sqrt(1 - beta2^t) there: matters where |g| is near eps.",
        lambda: _near(
            _stepped(lambda p: optim.Adam(p, lr=0.1, eps=1.0), [2]), 1 - 0.1 * 2 / (2 + 1)
        ),
    ),
    Convention(
        "optimization/adamw",
        "Coupled and decoupled decay",
        (
            ("Adam", "weight_decay joins the gradient, and is then divided by its size."),
            ("Paper", "Loshchilov & Hutter: p -= eta_t * lambda * p, with a schedule's eta_t."),
            ("torch", "AdamW: p -= lr * weight_decay * p, before the step; default 0.01."),
        ),
        "weight_decay = lambda / lr for papers that leave the rate out of the decay.",
        lambda: _near(_stepped(lambda p: optim.AdamW(p, lr=0.1, weight_decay=0.5), [0]), 0.95),
    ),
    Convention(
        "optimization/rmsprop",
        "RMSprop's eps and its start",
        (
            ("TensorFlow", "sqrt(v + eps), and v may start at 1."),
            ("torch", "sqrt(v) + eps, v starts at 0, alpha=0.99."),
        ),
        "An eps of 1.0 under the root is not one outside of it.",
        lambda: _near(
            _stepped(lambda p: optim.RMSprop(p, lr=0.1, alpha=0.75, eps=1.0), [2]), 1 - 0.1
        ),
    ),
    Convention(
        "optimization/decay",
        "Polynomial decay",
        (
            ("Guide", "'polynomial' is lr / (1 + epoch * rate): inverse time."),
            ("torch", "PolynomialLR is lr * (1 - t/T)^power."),
        ),
        "`InverseTimeLR` is the guide's.",
        lambda: (
            _near(_rate(lambda o: optim.lr_scheduler.PolynomialLR(o, 4, 2.0)), 0.75**2)
            and _near(_rate(lambda o: InverseTimeLR(o, 0.5)), 1 / 1.5)
        ),
    ),
    Convention(
        "optimization/clipping",
        "Clipping by the norm",
        (
            ("numpy-ml", "Each parameter by its own norm."),
            ("torch", "All by their common norm, times max_norm / (norm + 1e-6), at most 1."),
        ),
        "clip_grad_norm_([p], max_norm) for each p clips one by one.",
        lambda: _near(_clipped(), 3 * 2.5 / (5 + 1e-6)),
    ),
    Convention(
        "regularization/dropout",
        "p of dropout",
        (
            ("Paper", "p is the share that is kept, and weights are scaled at test time."),
            ("Guide", "rate 1.0 divides by zero."),
            ("torch", "p is the share that is dropped; what stays is scaled by 1/(1 - p) at once."),
        ),
        "p = 1 - keep_prob; nothing to do at test time; p=1 gives zeros.",
        lambda: bool((nn.Dropout(1.0)(torch.ones(9)) == 0).all()),
    ),
    Convention(
        "regularization/early_stopping",
        "Patience",
        (
            ("ReduceLROnPlateau", "Acts once more than patience epochs were bad."),
            ("Keras, Lightning, here", "Stop at the patience-th bad epoch."),
            ("torch", "Ships no early stopping; its plateau schedule waits one longer."),
        ),
        "Our patience = plateau's patience + 1.",
        lambda: _plateau() == 3,
    ),
    Convention(
        "training/data",
        "The last batch",
        (
            ("Many scripts", "Average the batches' losses, a small last one weighing as much."),
            ("torch", "DataLoader gives the small batch too, unless drop_last=True."),
        ),
        "Weight a batch's loss by its rows, as `fit` does.",
        lambda: len(DataLoader(TensorDataset(X), batch_size=3)) == 2,
    ),
    Convention(
        "losses/regression",
        "Variance and standard deviation",
        (
            ("NumPy", "np.var and np.std divide by N."),
            ("torch", "torch.var and torch.std divide by N - 1."),
        ),
        "correction=0 in torch, ddof=1 in NumPy.",
        lambda: _near(float(X[:, 0].var()), float(X[:, 0].var(correction=0)) * 4 / 3),
    ),
]


def _rate(make: Callable[[optim.Optimizer], optim.lr_scheduler.LRScheduler]) -> float:
    optimizer = optim.SGD([nn.Parameter(torch.ones(1))], lr=1.0)
    schedule = make(optimizer)
    optimizer.step()
    schedule.step()
    return float(optimizer.param_groups[0]["lr"])


def _clipped() -> float:
    parameters = [nn.Parameter(torch.zeros(1).double()) for _ in range(2)]
    for p, g in zip(parameters, (3.0, 4.0), strict=True):
        p.grad = torch.tensor([g]).double()
    nn.utils.clip_grad_norm_(parameters, 2.5)
    return parameters[0].grad.item()  # type: ignore[union-attr]


def _plateau() -> int:
    """After how many bad epochs a plateau schedule with patience 2 acts."""
    optimizer = optim.SGD([nn.Parameter(torch.ones(1))], lr=1.0)
    schedule = optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=2)
    schedule.step(1.0)
    bad = 0
    while optimizer.param_groups[0]["lr"] == 1.0:
        schedule.step(1.0)
        bad += 1
    return bad
