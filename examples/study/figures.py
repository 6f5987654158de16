"""Figures for pages where one helps, drawn by running the tested code of both sides.

NumPy's curve is the broad one, torch's lies dashed on top of it: where they are equal, one sees a
broad line with dashes in it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import numpy as np
import torch
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import numpy_impl
from numpy_impl import initialization as our_init
from numpy_impl.regularization import ElasticNet as OurElasticNet
from torch_impl.optimization import InverseTimeLR as TheirInverseTimeLR
from torch_impl.regularization import ElasticNet as TheirElasticNet

OURS, THEIRS = "#0b3d6b", "#f0a860"
COLOURS = ("#0b3d6b", "#9a3412", "#116329", "#6b21a8", "#0f766e", "#7c2d12")


def drawn(path: str) -> list[Markup]:
    """The figures of a page, chapter/stem; none for most."""
    return [_svg(draw, path) for draw in FIGURES.get(path, ())]


def _svg(draw: Callable[[Figure], str], path: str) -> Markup:
    with matplotlib.rc_context({"svg.hashsalt": path, "font.size": 10, "svg.fonttype": "path"}):
        figure = Figure(figsize=(7, 3.2), layout="constrained")
        caption = draw(figure)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"(<svg\b)", rf'\1 role="img" aria-label="{escape(caption)}"', svg, count=1)
    svg = re.sub(r'\b(id="|url\(#|href="#)', rf"\1{path.replace('/', '-')}-", svg)
    return Markup(f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>")


def _both(axes: Axes, x: Any, ours: Any, theirs: Any, label: str, colour: str) -> None:
    axes.plot(x, ours, color=colour, lw=3.5, alpha=0.35, label=label)
    axes.plot(x, theirs, color=colour, lw=1.2, ls=(0, (4, 3)))


def _finish(axes: Axes, x: str, y: str) -> None:
    axes.set(xlabel=x, ylabel=y)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=9)


def _activations(figure: Figure) -> str:
    left, right = figure.subplots(1, 2)
    x = np.linspace(-4, 4, 401)
    for colour, name in zip(COLOURS, ("ReLU", "LeakyReLU", "Sigmoid", "Tanh"), strict=False):
        options = {"negative_slope": 0.1} if name == "LeakyReLU" else {}
        ours = getattr(numpy_impl.nn, name)(**options)
        t = torch.from_numpy(x.copy()).requires_grad_()
        y = getattr(torch.nn, name)(**options)(t)
        y.sum().backward()
        _both(left, x, ours(x), y.detach(), name, colour)
        _both(right, x, ours.backward(np.ones_like(x)), t.grad, name, colour)
    _finish(left, "x", "y")
    _finish(right, "x", "dy/dx")
    return (
        "Each activation and its slope (LeakyReLU with slope 0.1). Broad: NumPy; dashed: torch. "
        "The sigmoid's slope is at most 1/4, so every layer of it shrinks the gradient."
    )


def _rates(make: Callable[[Any, Any], Any], steps: int) -> tuple[list[float], list[float]]:
    found = []
    for impl, parameter in ((numpy_impl, _parameter()), (torch, _tensor())):
        optimizer = impl.optim.SGD([parameter], lr=1.0)
        schedule = make(impl.optim.lr_scheduler, optimizer)
        rates = []
        for _ in range(steps):
            rates.append(float(optimizer.param_groups[0]["lr"]))
            optimizer.step()
            schedule.step()
        found.append(rates)
    return found[0], found[1]


def _parameter() -> Any:
    p = numpy_impl.nn.Parameter(np.ones(1))
    p.grad = np.zeros(1)
    return p


def _tensor() -> torch.nn.Parameter:
    p = torch.nn.Parameter(torch.ones(1))
    p.grad = torch.zeros(1)
    return p


def _schedules(figure: Figure) -> str:
    axes = figure.subplots()
    chosen: list[tuple[str, Callable[[Any, Any], Any]]] = [
        ("ExponentialLR(0.93)", lambda s, o: s.ExponentialLR(o, 0.93)),
        ("StepLR(10, 0.5)", lambda s, o: s.StepLR(o, 10, 0.5)),
        ("PolynomialLR(40, 2)", lambda s, o: s.PolynomialLR(o, 40, 2.0)),
        ("CosineAnnealingLR(40)", lambda s, o: s.CosineAnnealingLR(o, 40)),
        ("InverseTimeLR(0.1)", _inverse_time),
    ]
    for colour, (name, make) in zip(COLOURS, chosen, strict=False):
        ours, theirs = _rates(make, 41)
        _both(axes, range(41), ours, theirs, name, colour)
    _finish(axes, "epoch", "learning rate")
    return (
        "Five schedules from rate 1. Broad: NumPy; dashed: torch. The guide calls inverse-time "
        "decay polynomial; it never reaches 0, PolynomialLR does."
    )


def _inverse_time(schedules: Any, optimizer: Any) -> Any:
    ours = isinstance(optimizer, numpy_impl.optim.Optimizer)
    return (schedules.InverseTimeLR if ours else TheirInverseTimeLR)(optimizer, 0.1)


def _running_variance(figure: Figure) -> str:
    axes = figure.subplots()
    rng = np.random.default_rng(0)
    n, steps = 4, 60
    batches = 2 * rng.standard_normal((steps, n, 500))  # variance 4
    ours, theirs = numpy_impl.nn.BatchNorm1d(500).double(), torch.nn.BatchNorm1d(500).double()
    biased, tracked = np.ones(500), []
    for batch in batches:
        ours(batch)
        theirs(torch.from_numpy(batch))
        biased = 0.9 * biased + 0.1 * batch.var(axis=0)
        tracked.append(
            (ours.running_var.mean(), float(theirs.running_var.mean()), biased.mean())  # type: ignore[union-attr]
        )
    ours_var, theirs_var, biased_var = zip(*tracked, strict=True)
    _both(axes, range(1, steps + 1), ours_var, theirs_var, "running_var, both sides", OURS)
    axes.plot(range(1, steps + 1), biased_var, color="#9a3412", lw=1.5, label="the guide's, biased")
    axes.axhline(4, color="#57606a", lw=0.8, ls=":")
    axes.text(steps, 4.03, "true variance", ha="right", va="bottom", fontsize=9, color="#57606a")
    _finish(axes, f"batches of {n}", "running variance")
    return (
        "Batches of 4 numbers with variance 4. Tracked biased, as the guide does, the running "
        "variance ends a quarter too low: outputs in evaluation are too large by 15 percent."
    )


def _signal(figure: Figure) -> str:
    axes = figure.subplots()
    depth, width = 20, 128
    x = np.random.default_rng(0).standard_normal((128, width))
    for colour, (name, std) in zip(
        COLOURS,
        (("He", None), ("Xavier", np.sqrt(2 / (2 * width))), ("std 0.01", 0.01)),
        strict=False,
    ):
        ours, theirs = _stack(depth, width, std)
        for a, b in zip(ours, theirs, strict=True):
            b.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in a.state_dict().items()})
        a, b, spread = x, torch.from_numpy(x), ([], [])  # type: ignore[var-annotated]
        with torch.no_grad(), numpy_impl.nn.no_grad():
            for one, other in zip(ours, theirs, strict=True):
                a, b = np.maximum(one(a), 0), torch.relu(other(b))
                spread[0].append(np.sqrt((a**2).mean()))
                spread[1].append(float((b**2).mean().sqrt()))
        _both(axes, range(1, depth + 1), spread[0], spread[1], name, colour)
    axes.set_yscale("log")
    _finish(axes, "layer", "root mean square of activations")
    return (
        "A signal through 20 ReLU layers of 128 units. He's standard deviation, sqrt(2 / in), "
        "keeps its size; Xavier's loses half of it in two layers; small weights lose it at once."
    )


def _stack(depth: int, width: int, std: Any) -> tuple[list[Any], list[Any]]:
    generator = numpy_impl.Generator().manual_seed(0)
    ours = [numpy_impl.nn.Linear(width, width).double() for _ in range(depth)]
    theirs = [torch.nn.Linear(width, width).double() for _ in range(depth)]
    for layer in ours:
        if std is None:
            our_init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
        else:
            our_init.normal_(layer.weight, 0, std, generator=generator)
        layer.load_state_dict({"weight": layer.weight.data, "bias": np.zeros(width)})
    return ours, theirs


def _paths(names: Sequence[tuple[str, str, dict[str, Any]]]) -> Callable[[Figure], str]:
    def draw(figure: Figure) -> str:
        axes = figure.subplots()
        u, v = np.meshgrid(np.linspace(-2.4, 0.8, 90), np.linspace(-1.3, 1.3, 90))
        axes.contour(u, v, 0.5 * (u**2 + 12 * v**2), levels=12, colors="#d5dae0", linewidths=0.8)
        for colour, (label, name, options) in zip(COLOURS, names, strict=False):
            ours, theirs = _descend(name, options)
            axes.plot(*ours.T, color=colour, lw=3.5, alpha=0.35, marker="o", ms=3, label=label)
            axes.plot(*theirs.T, color=colour, lw=1.2, ls=(0, (4, 3)))
        axes.plot(0, 0, marker="+", color="#1b1f24", ms=10)
        _finish(axes, "p[0]", "p[1], twelve times as steep")
        return "Forty steps down one bowl. Broad: NumPy; dashed: torch; each dot is a step."

    return draw


def _descend(name: str, options: dict[str, Any]) -> tuple[Any, Any]:
    start, steep = np.array([-2.2, 1.1]), np.array([1.0, 12.0])
    p, t = numpy_impl.nn.Parameter(start.copy()), torch.nn.Parameter(torch.from_numpy(start.copy()))
    ours = getattr(numpy_impl.optim, name)([p], **options)
    theirs = getattr(torch.optim, name)([t], **options)
    found: tuple[list[Any], list[Any]] = ([start], [start])
    for _ in range(40):
        p.grad, t.grad = steep * p.data, torch.from_numpy(steep) * t.detach()
        ours.step()
        theirs.step()
        found[0].append(p.data.copy())
        found[1].append(t.detach().numpy().copy())
    return np.array(found[0]), np.array(found[1])


def _penalties(figure: Figure) -> str:
    axes = figure.subplots()
    w = np.linspace(-2, 2, 401)[:, np.newaxis]
    chosen = ("L1", 1.0, 0.0), ("L2", 0.0, 1.0), ("elastic net, half and half", 0.5, 0.5)
    for colour, (name, l1, l2) in zip(COLOURS, chosen, strict=False):
        ours, theirs = numpy_impl.nn.Linear(1, 401).double(), torch.nn.Linear(1, 401).double()
        ours.weight.data[...] = w
        theirs.weight.data.copy_(torch.from_numpy(w))
        OurElasticNet(l1, l2).backward(ours)
        TheirElasticNet(l1, l2)(theirs).backward()
        _both(axes, w, ours.weight.grad, theirs.weight.grad, name, colour)
    _finish(axes, "w", "gradient of the penalty")
    return (
        "L1 pulls every weight by the same amount and holds it at 0; L2 pulls in proportion and "
        "lets small weights be."
    )


def _losses(figure: Figure) -> str:
    axes = figure.subplots()
    z = np.linspace(-6, 6, 241)
    for colour, (name, ours, theirs) in zip(
        COLOURS,
        (
            ("MSELoss", numpy_impl.nn.functional.mse_loss, torch.nn.functional.mse_loss),
            ("L1Loss", numpy_impl.nn.functional.l1_loss, torch.nn.functional.l1_loss),
        ),
        strict=False,
    ):
        a = ours(z, np.zeros_like(z), reduction="none")
        b = theirs(torch.from_numpy(z), torch.zeros(len(z)).double(), reduction="none")
        _both(axes, z, a, b, name, colour)
    axes.set_ylim(0, 12)
    _finish(axes, "input - target", "loss")
    return "Squared error lets one outlier rule; absolute error grows evenly and has a corner at 0."


def _cross_entropy(figure: Figure) -> str:
    axes = figure.subplots()
    z = np.linspace(-6, 6, 241)
    scores = np.stack([z, np.zeros_like(z)], axis=1)
    label = np.zeros(len(z), np.int64)
    for colour, s in zip(COLOURS, (0.0, 0.2), strict=False):
        a = numpy_impl.nn.functional.cross_entropy(
            scores, label, reduction="none", label_smoothing=s
        )
        b = torch.nn.functional.cross_entropy(
            torch.from_numpy(scores), torch.from_numpy(label), reduction="none", label_smoothing=s
        )
        _both(axes, z, a, b, f"label_smoothing={s:g}", colour)
    _finish(axes, "logit of the right class of two", "loss")
    return (
        "A straight line where the network is surely wrong, flat where it is surely right; with "
        "smoothing, being too sure costs again."
    )


ADAMS: list[tuple[str, str, dict[str, Any]]] = [
    ("Adam", "Adam", {"lr": 0.15}),
    ("SGD", "SGD", {"lr": 0.15}),
]
SGDS: list[tuple[str, str, dict[str, Any]]] = [
    ("SGD", "SGD", {"lr": 0.06}),
    ("momentum 0.8", "SGD", {"lr": 0.06, "momentum": 0.8}),
    ("Nesterov 0.8", "SGD", {"lr": 0.06, "momentum": 0.8, "nesterov": True}),
]
RMSPROPS: list[tuple[str, str, dict[str, Any]]] = [
    ("RMSprop", "RMSprop", {"lr": 0.08}),
    ("centered", "RMSprop", {"lr": 0.08, "centered": True, "eps": 0.3}),
]

FIGURES: dict[str, Sequence[Callable[[Figure], str]]] = {
    "layers/activation": [_activations],
    "losses/cross_entropy": [_cross_entropy],
    "losses/regression": [_losses],
    "initialization/by_activation": [_signal],
    "normalization/batch_norm": [_running_variance],
    "optimization/adam": [_paths(ADAMS)],
    "optimization/decay": [_schedules],
    "optimization/rmsprop": [_paths(RMSPROPS)],
    "optimization/sgd": [_paths(SGDS)],
    "regularization/penalties": [_penalties],
}
