"""Take a digits network with five faults in it and find them, one tool after the other.

    python examples/debugging.py            # a minute, figures in out/debugging
    python examples/debugging.py --quick

The network exists twice, in NumPy and in PyTorch, with the same weights and the same faults: pixels
divided by a spread of 0, weights drawn too large, a hand-written backward that lacks a term, biases
that silence a layer, and a learning rate from elsewhere. Each tool is run on both, and says the
same of both; what it found is mended before the next one looks.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy is loaded, for its BLAS

import numpy as np
import torch

import numpy_impl
from examples import plots
from examples.datasets import Splits, load_splits
from examples.plots.style import Drawing

Array = np.ndarray[Any, np.dtype[Any]]
Figures = dict[str, Drawing]

SIDES = ("numpy_impl", "torch_impl")
WIDTHS = (64, 64, 48, 32, 10)


@dataclass(frozen=True)
class Faults:
    """What is wrong with the network; `Faults(*[False] * 5)` is sound."""

    spread_of_zero: bool = True
    large_weights: bool = True
    lost_term: bool = True
    silent_layer: bool = True
    borrowed_rate: bool = True


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 0 if every fault was found on both sides."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer digits and epochs")
    parser.add_argument("--out", type=Path, default=Path("out/debugging"), metavar="DIR")
    options = parser.parse_args(argv)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(str(error))
    torch.set_num_threads(1)
    clinic = Clinic(load_splits(), options.quick)
    for look in (
        clinic.where_the_nan_came_from,
        clinic.where_the_loss_starts,
        clinic.whether_the_gradient_is_right,
        clinic.what_the_layers_put_out,
        clinic.which_rate,
        clinic.the_cure,
    ):
        print(f"\n{(look.__doc__ or '').splitlines()[0]}")
        for name, figure in look().items():
            figure.save(options.out / f"{name}.png")
    print(f"\nfigures: {options.out}")
    return 1 if clinic.missed else 0


class Clinic:
    """The network, its faults so far, and one look after the other.

    A look prints what its tool says, mends what was found, and returns the figures, by name.
    """

    def __init__(self, data: Splits, quick: bool = False) -> None:
        self.data, self.faults, self.missed = data, Faults(), 0
        self.rows = 320 if quick else len(data.x_train)
        self.epochs = 3 if quick else 15
        self.sample = 5 if quick else 20

    def where_the_nan_came_from(self) -> Figures:
        """1. The first loss is NaN. Where does it come from?"""
        said = []
        for side in SIDES:
            model, x, y = self.network(side), *self.batch(side)
            _, why = chapter(side, "debugging").find_non_finite(model, [x], y, loss(side))
            said.append(why)
        self.note(said, "input 0 already has nan" in said[0])
        print("   Corner pixels never change: divide by the spread where there is one.")
        self.faults = replace(self.faults, spread_of_zero=False)
        return {}

    def where_the_loss_starts(self) -> Figures:
        """2. Does the loss start at ln 10 = 2.303?"""
        said, ratios = [], []
        for side in SIDES:
            batch = self.batch(side)
            found = chapter(side, "debugging").initial_loss(self.network(side), batch, loss(side))
            said.append(str(found))
            ratios.append(found.ratio)
        self.note(said, ratios[0] > 2)
        print("   Weights were drawn with a deviation of 1; He's rule takes sqrt(2 / fan_in).")
        self.faults = replace(self.faults, large_weights=False)
        return {}

    def whether_the_gradient_is_right(self) -> Figures:
        """3. Is every gradient right?"""
        verdicts, reports = [], []
        for side in SIDES:
            x, y = self.batch(side, 32)
            check = chapter(side, "debugging").gradient_check
            report = check(self.network(side), [x], y, loss(side), sample=self.sample)
            verdicts.append(str(report.verdicts()))
            reports.append(str(report))
        print(indented(reports[0]))
        self.note(verdicts, "wrong" in verdicts[0], silent=True)
        print("   Right from layer 2 on, wrong before it: the backward of layer 1 lacks a term.")
        self.faults = replace(self.faults, lost_term=False)
        side, (x, y) = "numpy_impl", self.batch("numpy_impl", 32)
        sweep = chapter(side, "debugging").step_size_sweep(self.network(side), [x], y, loss(side))
        return {"step_sizes": plots.step_sizes(sweep, "How far to step when a slope is measured")}

    def what_the_layers_put_out(self) -> Figures:
        """4. What do the layers put out?"""
        said, dead = [], []
        for side in SIDES:
            tools, model = chapter(side, "debugging"), self.network(side)
            with tools.ActivationMonitor(model, layers=["1", "3", "5"]) as activations:
                model(self.batch(side)[0])
            said.append(str(activations))
            dead.append(activations.dead["3"][-1])
        self.note(said, dead[0] > 0.5)
        print("   The biases in front of layer 3 start far below 0: no gradient gets past it.")
        self.faults = replace(self.faults, silent_layer=False)
        return {}

    def which_rate(self) -> Figures:
        """5. Can one batch be learned, and at which rate?"""
        said, found = [], []
        for side in SIDES:
            tools, model = chapter(side, "debugging"), self.network(side)
            bad = tools.overfit_one_batch(
                model, self.batch(side, 32), loss(side), self.optimizer(side, model), steps=60
            )
            test = tools.lr_range_test(
                model, self.loader(side), loss(side), self.optimizer(side, model), low=1e-5, high=10
            )
            said.append(f"one batch is {'' if bad.reached else 'not '}learned in 60 steps\n{test}")
            found.append(test)
        self.note(said, "not learned" in said[0] and found[0].diverged)
        self.rate = float(f"{found[0].suggestion:.1g}")
        print(f"   The rate of 3 was borrowed from elsewhere; {self.rate:g} is tried.")
        self.faults = replace(self.faults, borrowed_rate=False)
        return {"range_test": plots.range_test(found[0], "Which learning rate: loss by rate")}

    def the_cure(self) -> Figures:
        """6. Before and after, under both monitors."""
        sick, sound = Faults(spread_of_zero=False), self.faults
        figures: Figures = {}
        for name, self.faults in (("with the faults", sick), ("mended", sound)):
            runs = [self.trained(side) for side in SIDES]
            scores = [score for score, *_ in runs]
            print(f"   {name}: " + " and ".join(f"{s:.1%}" for s in scores) + " of the validation "
                  "digits right, in NumPy and in PyTorch")  # fmt: skip
            _, monitor, activations, history, model = runs[0]
            first = name.split()[0]
            figures |= {
                f"gradient_flow_{first}": plots.gradient_flow(monitor, f"Gradient flow, {name}"),
                f"activations_{first}": plots.activation_histograms(
                    activations, f"Activations, {name}"
                ),
            }
            if self.faults is sick:  # at such a rate two right runs part, so both need only fail
                self.missed += max(scores) > 0.5
        print(indented(str(monitor)))
        self.missed += scores[0] != scores[1] or min(scores) < (0.6 if self.epochs < 5 else 0.9)
        weight = model.state_dict()["0.weight"]
        return figures | {
            "training_curves": plots.training_curves(history, "Training, mended", "accuracy"),
            "first_layer": plots.first_layer(weight, (8, 8), "What the first layer looks for"),
        }

    # ---- the patient ------------------------------------------------------------------------

    def network(self, side: str) -> Any:
        """Four linear layers with three activations between them, faults included."""
        layers = chapter(side, "layers")
        hand = {"numpy_impl": Swish, "torch_impl": TorchSwish}[side](self.faults.lost_term)
        linear = [layers.Linear(a, b).double() for a, b in zip(WIDTHS, WIDTHS[1:])]
        activations = [hand, layers.ReLU(), layers.Tanh()]
        model = layers.Sequential(
            *[part for pair in zip(linear, activations) for part in pair], linear[-1]
        )
        rng, state = np.random.default_rng(0), {}
        for i, (a, b) in enumerate(zip(WIDTHS, WIDTHS[1:])):
            scale = 1.0 if self.faults.large_weights else math.sqrt(2 / a)
            state[f"{2 * i}.weight"] = scale * rng.standard_normal((b, a))
            state[f"{2 * i}.bias"] = np.zeros(b)
        if self.faults.silent_layer:
            state["2.bias"][: WIDTHS[2] * 3 // 4] = -200.0 if self.faults.large_weights else -20.0
        model.load_state_dict({k: carried(side, v) for k, v in state.items()})
        return model

    def pixels(self, images: Array) -> Array:
        """Every pixel with mean 0 and deviation 1 over the training digits, where it has one."""
        x = self.data.x_train.reshape(len(self.data.x_train), -1).astype(np.float64)
        spread = x.std(axis=0)
        if not self.faults.spread_of_zero:
            spread[spread == 0] = 1
        with np.errstate(invalid="ignore"):
            return np.asarray((images.reshape(len(images), -1) - x.mean(axis=0)) / spread)

    def batch(self, side: str, n: int = 256) -> tuple[Any, Any]:
        """The first training digits."""
        x, y = self.pixels(self.data.x_train[:n]), self.data.y_train[:n]
        return carried(side, x), carried(side, y)

    def loader(self, side: str) -> Any:
        """Training digits in shuffled batches, in the same order on both sides."""
        generators = {"numpy_impl": numpy_impl.Generator, "torch_impl": torch.Generator}
        generator = generators[side]().manual_seed(0)
        return chapter(side, "training").batches(
            *self.batch(side, self.rows), batch_size=32, shuffle=True, generator=generator
        )

    def optimizer(self, side: str, model: Any) -> Any:
        """SGD with momentum, at the rate so far."""
        rate = 3.0 if self.faults.borrowed_rate else self.rate
        return chapter(side, "optimization").SGD(model.parameters(), lr=rate, momentum=0.9)

    def trained(self, side: str) -> tuple[float, Any, Any, Any, Any]:
        """The accuracy in the end, and what was written down on the way."""
        tools, training = chapter(side, "debugging"), chapter(side, "training")
        model, criterion = self.network(side), loss(side)
        optimizer = self.optimizer(side, model)
        x, y = self.pixels(self.data.x_val), self.data.y_val
        with (
            tools.Monitor(model, optimizer, criterion, every=5) as monitor,
            tools.ActivationMonitor(model, every=5) as activations,
        ):
            history = training.fit(
                model,
                self.loader(side),
                criterion,
                optimizer,
                epochs=self.epochs,
                validation=[(carried(side, x), carried(side, y))],
                metric=training.accuracy,
                progress=False,
            )
        return history.val_metric[-1], monitor, activations, history, model

    # ---- what is said -----------------------------------------------------------------------

    def note(self, said: list[str], found: bool, silent: bool = False) -> None:
        """Print what both sides said, and remember if a fault was not found or not by both."""
        if not silent:
            print(indented(said[0]))
        agree = said[0] == said[1]
        if not agree:
            print(f"   torch says otherwise:\n{indented(said[1])}")
        self.missed += not (found and agree)
        verdict = (
            "found, in the same words on both sides" if agree else "NOT the same on both sides"
        )
        print(f"   [{verdict if found else 'NOT found'}]")


class Swish(numpy_impl.nn.Module):
    """y = x * sigmoid(x), by hand: dx = dy * (s + x * s * (1 - s)), unless a term gets lost."""

    def __init__(self, lost_term: bool) -> None:
        self.lost_term = lost_term

    def forward(self, x: Array) -> Array:
        """The output."""
        s = 1 / (1 + np.exp(-np.clip(x, -500, 500)))
        y = np.asarray(x * s)
        self.save_for_backward(y, x, s)
        return y

    def backward(self, dy: Array) -> Array:
        """The gradient, if no term is lost."""
        dy, x, s = self.saved_for_backward(dy)
        return np.asarray(dy * s if self.lost_term else dy * (s + x * s * (1 - s)))


class _Swish(torch.autograd.Function):
    """The same, in the framework's way of writing a backward by hand."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, lost_term: bool) -> torch.Tensor:
        ctx.save_for_backward(x)
        ctx.lost_term = lost_term
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx: Any, *dy: torch.Tensor) -> Any:
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(x)
        return dy[0] * s if ctx.lost_term else dy[0] * (s + x * s * (1 - s)), None


class TorchSwish(torch.nn.Module):
    """The layer around it."""

    def __init__(self, lost_term: bool) -> None:
        super().__init__()
        self.lost_term = lost_term

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The output."""
        y: torch.Tensor = _Swish.apply(x, self.lost_term)
        return y


def chapter(side: str, name: str) -> Any:
    """A chapter of one side: the same names stand in both."""
    return import_module(f"{side}.{name}")


def loss(side: str) -> Any:
    """Cross-entropy."""
    return chapter(side, "losses").CrossEntropyLoss()


def carried(side: str, x: Array) -> Any:
    """An array, or a tensor of its numbers."""
    return x if side == "numpy_impl" else torch.from_numpy(np.array(x))


def indented(text: str) -> str:
    """Moved in under its heading."""
    return "\n".join(f"   {line}" for line in text.splitlines())


if __name__ == "__main__":
    sys.exit(main())
