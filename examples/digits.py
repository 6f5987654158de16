"""Train one network on handwritten digits twice, in NumPy and in PyTorch, and compare the runs.

    python examples/digits.py                            the default, 98 % of the test digits right
    python examples/digits.py --residual --depth 4 --optimizer sgd --schedule warmup
    python examples/digits.py --data ~/mnist             MNIST-like IDX files instead
    python examples/digits.py --figure examples/figures/digits.png         as the README shows it

Both sides are given one seed and nothing else: they draw the same weights, shuffles and dropout
masks, so every step should give the same loss. In float64, the default, it does, to a dozen digits.
In float32 it does for a while: once rounding gives one ReLU input another sign on one side, the
runs part, both right.

Exit status: 0 if the sides agree, 1 if not or if training broke down, 2 for bad options or data.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: find the packages beside it
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

# Read once, when NumPy and torch load: two threads cost more than they give on nets this small.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

import numpy_impl
from examples.datasets import NUM_CLASSES, Splits, load_splits
from examples.digits_figure import draw
from examples.digits_report import compare, describe, histories

Array = np.ndarray[Any, np.dtype[Any]]

LEARNING_RATES = {"sgd": 0.05, "rmsprop": 1e-3, "adam": 2e-3, "adamw": 2e-3}
SCHEDULES = ("none", "step", "exponential", "polynomial", "inverse-time", "cosine", "warmup")
ACTIVATIONS = ("relu", "leaky_relu", "sigmoid", "tanh", "identity")


@dataclass
class Setting:
    """What is trained and how, as the command's options say it and with their defaults.

    Without `lr` and `weight_decay` it takes what suits the optimizer.
    """

    depth: int = 2
    width: int = 128
    norm: bool = True
    dropout: float = 0.1
    residual: bool = False
    activation: str = "relu"
    optimizer: str = "adamw"
    lr: Any = None
    weight_decay: Any = None
    schedule: str = "cosine"
    epochs: int = 30
    batch_size: int = 64
    clip: float | None = None
    patience: int | None = None
    seed: int = 0
    dtype: str = "float64"

    def __post_init__(self) -> None:
        if self.lr is None:
            self.lr = LEARNING_RATES[self.optimizer]
        if self.weight_decay is None:
            self.weight_decay = 0.01 if self.optimizer == "adamw" else 0.0


@dataclass
class Run:
    """What came out on one side."""

    history: Any
    predicted: Array
    accuracy: float


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = arguments()
    options = checked(parser, argv)
    path = options.figure or options.out / "digits.png"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        data = load_splits(options.data)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    if options.quick:
        data = fewer(data)
    torch.set_num_threads(1)  # on networks this small a second thread costs more than it does

    setting = Setting(**{field.name: getattr(options, field.name) for field in fields(Setting)})
    print(describe(setting, data))
    ours_model = build("numpy_impl", setting, data)
    theirs_model = build("torch_impl", setting, data)
    print(start(ours_model, theirs_model, setting.seed) + "\n")
    try:
        ours = train("numpy_impl", ours_model, setting, data)
        theirs = train("torch_impl", theirs_model, setting, data)
    except ArithmeticError as error:  # NonFiniteError, of either side
        print(f"training broke down: {error}", file=sys.stderr)
        return 1

    print(histories(ours.history, theirs.history))
    agree, verdict = compare(ours, theirs, setting.dtype, data)
    print("\n" + verdict)
    draw(ours, theirs, data, setting.dtype).save(path)
    print(f"figure: {path}")
    return 0 if agree else 1


# ---- the two runs ------------------------------------------------------------------------------


def chapter(side: str, name: str) -> Any:
    """A chapter of one side: the same names stand in both."""
    return import_module(f"{side}.{name}")


def build(side: str, setting: Setting, data: Splits) -> Any:
    """The network, with weights drawn from the side's global stream, which starts at the seed."""
    {"numpy_impl": numpy_impl, "torch_impl": torch}[side].manual_seed(setting.seed)
    architectures = chapter(side, "architectures")
    widths = [math.prod(data.image_shape), *[setting.width] * setting.depth, NUM_CLASSES]
    network = architectures.ResidualMLP if setting.residual else architectures.DeepMLP
    model = network(
        widths,
        setting.lr,
        setting.activation,
        batch_norm=setting.norm,
        dropout=setting.dropout,
    )
    return model.double() if setting.dtype == "float64" else model.float()


def start(ours: Any, theirs: Any, seed: int) -> str:
    """Whether both sides drew the same weights, in words; where not, ours become theirs."""
    count = f"{sum(p.numel() for p in ours.parameters()):,} parameters"
    drawn = {k: np.asarray(v) for k, v in theirs.state_dict().items()}
    apart = max(np.abs(v - drawn[k]).max() for k, v in ours.state_dict().items())
    if apart == 0:
        return f"{count}, drawn on both sides from seed {seed}: equal to the bit"
    ours.load_state_dict(theirs.state_dict())
    return f"{count}, drawn up to {apart:.1e} apart from seed {seed}: torch's copied to NumPy"


def train(side: str, model: Any, setting: Setting, data: Splits) -> Run:
    """Fit the model as the setting says, and predict the test digits."""
    optimization, regularization = chapter(side, "optimization"), chapter(side, "regularization")
    stop = regularization.EarlyStopping(setting.patience) if setting.patience else None
    history = model.fit(
        data.x_train.reshape(len(data.x_train), -1),
        data.y_train,
        epochs=setting.epochs,
        batch_size=setting.batch_size,
        validation=(data.x_val.reshape(len(data.x_val), -1), data.y_val),
        optimizer=lambda params, lr: make_optimizer(optimization, model, lr, setting),
        scheduler=make_schedule(optimization, setting),
        clip_norm=setting.clip,
        early_stopping=stop,
    )
    images = data.x_test.reshape(len(data.x_test), -1)
    return Run(history, np.asarray(model.predict(images)), model.score(images, data.y_test))


def make_optimizer(optimization: Any, model: Any, lr: float, setting: Setting) -> Any:
    """The optimizer by name; only matrices decay, biases and norms do not."""
    makers: dict[str, Callable[..., Any]] = {
        "sgd": lambda groups: optimization.SGD(groups, lr=lr, momentum=0.9),
        "rmsprop": lambda groups: optimization.RMSprop(groups, lr=lr),
        "adam": lambda groups: optimization.Adam(groups, lr=lr),
        "adamw": lambda groups: optimization.AdamW(groups, lr=lr),
    }
    return makers[setting.optimizer](optimization.decay_groups(model, setting.weight_decay))


def make_schedule(optimization: Any, setting: Setting) -> Callable[[Any], Any] | None:
    """What makes the schedule from the optimizer; all but inverse-time end near 0."""
    epochs, warm = setting.epochs, max(1, setting.epochs // 10)
    cosine = optimization.CosineAnnealingLR
    makers: dict[str, Callable[[Any], Any]] = {
        "step": lambda o: optimization.StepLR(o, step_size=max(1, epochs // 3), gamma=0.2),
        "exponential": lambda o: optimization.ExponentialLR(o, gamma=0.01 ** (1 / epochs)),
        "polynomial": lambda o: optimization.PolynomialLR(o, total_iters=epochs, power=2),
        "inverse-time": lambda o: optimization.InverseTimeLR(o, decay_rate=0.1),
        "cosine": lambda o: cosine(o, T_max=epochs),
        "warmup": lambda o: optimization.warmup_then(cosine(o, T_max=max(1, epochs - warm)), warm),
    }
    return makers.get(setting.schedule)


def fewer(data: Splits) -> Splits:
    """The first training and test digits, for --quick."""
    return Splits(
        data.x_train[:600],
        data.y_train[:600],
        data.x_val[:200],
        data.y_val[:200],
        data.x_test[:200],
        data.y_test[:200],
    )


# ---- options -----------------------------------------------------------------------------------


def number(kind: Callable[[str], Any], low: float, high: float = math.inf) -> Callable[[str], Any]:
    """A reader of numbers from low to high, for argparse."""

    def read(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            what = "whole number" if kind is int else "number"
            raise argparse.ArgumentTypeError(f"wanted a {what}, got {text!r}") from None
        if not (low <= value <= high and math.isfinite(value)):
            span = f"at least {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
            raise argparse.ArgumentTypeError(f"must be {span}, got {text}")
        return value

    return read


def arguments() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    net = parser.add_argument_group("network")
    net.add_argument("--depth", type=number(int, 0), help="hidden layers")
    net.add_argument("--width", type=number(int, 1), help="units in each")
    net.add_argument("--norm", action=argparse.BooleanOptionalAction)
    net.add_argument("--dropout", type=number(float, 0, 1))
    net.add_argument("--residual", action="store_true", help="hidden layers add to their input")
    net.add_argument("--activation", choices=ACTIVATIONS)
    run = parser.add_argument_group("training")
    run.add_argument("--optimizer", choices=LEARNING_RATES)
    run.add_argument("--lr", type=number(float, 0), help="by default what suits the optimizer")
    run.add_argument("--weight-decay", type=number(float, 0), help="of matrices only")
    run.add_argument("--schedule", choices=SCHEDULES)
    run.add_argument("--epochs", type=number(int, 1))
    run.add_argument("--batch-size", type=number(int, 1))
    run.add_argument("--clip", type=number(float, 0), help="bound on the norm of the gradients")
    run.add_argument("--patience", type=number(int, 1), help="stop early after so many epochs")
    run.add_argument("--seed", type=number(int, 0, 2**63 - 1))
    run.add_argument("--dtype", choices=("float64", "float32"))
    run.add_argument("--data", type=Path, metavar="DIR", help="IDX files, in MNIST's format")
    run.add_argument("--quick", action="store_true", help="fewer digits and epochs")
    out = parser.add_argument_group("output")
    out.add_argument("--out", type=Path, default=Path("out"), metavar="DIR", help="for the figure")
    out.add_argument("--figure", type=Path, metavar="FILE", help="the figure, with its name")
    parser.set_defaults(**{field.name: field.default for field in fields(Setting)})
    return parser


def checked(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """The options, those that hang together set."""
    options = parser.parse_args(argv)
    if options.residual and options.depth < 1:
        parser.error("--residual wants at least one hidden layer, got --depth 0")
    if options.norm and options.depth and options.batch_size == 1:
        parser.error("--norm wants batches of at least 2, got --batch-size 1; or take --no-norm")
    if options.quick:
        options.epochs = min(options.epochs, 3)
    return options


if __name__ == "__main__":
    sys.exit(main())
