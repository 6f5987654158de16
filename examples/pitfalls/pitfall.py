"""What an experiment is: settings to train, numbers to show, claims that must hold, a figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

from examples.datasets import load_splits
from examples.pitfalls.both_sides import Array, Pair, Setting, train_both
from parity_tests.harness.training_case import Data

Found = Mapping[str, Pair]


@dataclass(frozen=True)
class Claim:
    """A number that shows the effect, and the bound it has to keep."""

    what: str
    value: float
    below: float | None = None
    above: float | None = None

    @property
    def holds(self) -> bool:
        """Whether it does; NaN never does."""
        low = -np.inf if self.above is None else self.above
        high = np.inf if self.below is None else self.below
        return bool(low < self.value < high)

    def __str__(self) -> str:
        wanted = [f"below {self.below:.3g}"] if self.below is not None else []
        wanted += [f"above {self.above:.3g}"] if self.above is not None else []
        return f"{self.what}: {self.value:.3g}, wanted {' and '.join(wanted)}"


class Pitfall:
    """One experiment.

    Class attributes:
        name: on the command line, and of the figure's file.
        title: what is trained, in a line.
        look_for: three sentences for the reader.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    look_for: ClassVar[str]

    def settings(self, quick: bool, seed: int) -> list[Setting]:
        """What is trained: what goes wrong first, then its cures."""
        raise NotImplementedError

    def columns(self, pair: Pair) -> dict[str, str]:
        """The numbers of a setting, by the heads of the table's columns."""
        raise NotImplementedError

    def claims(self, found: Found) -> list[Claim]:
        """What the numbers must show."""
        raise NotImplementedError

    def draw(self, figure: Figure, found: Found) -> None:
        """The figure."""
        raise NotImplementedError

    def run(self, quick: bool = False, seed: int = 0, progress: bool | None = False) -> Found:
        """Train every setting on both sides.

        Args:
            progress: whether to show a bar; None shows it where stderr is a terminal.
        """
        return trained(self.settings(quick, seed), seed, 1 if quick else 2, progress)


def trained(
    settings: Sequence[Setting], seed: int = 0, nearby: int = 1, progress: bool | None = False
) -> dict[str, Pair]:
    """Train settings on both sides, each with nearby runs of the reference; by name."""
    hidden = None if progress is None else not progress
    found = {}
    with tqdm(total=(2 + nearby) * len(settings), unit="run", disable=hidden, leave=False) as bar:
        for setting in settings:
            bar.set_description(setting.name)
            found[setting.name] = train_both(setting, seed, nearby, bar.update)
    return found


def digits(n: int) -> dict[str, Array]:
    """The first n training digits and all validation digits, as rows of 64."""
    splits = load_splits()
    return {
        "x": splits.x_train[:n].reshape(-1, 64).astype(np.float64),
        "y": splits.y_train[:n],
        "x_val": splits.x_val.reshape(-1, 64).astype(np.float64),
        "y_val": splits.y_val,
    }


def fit(
    epochs: int,
    batch_size: int,
    optimizer: Callable[[Any], Callable[..., Any]] = lambda impl: impl.optimization.SGD,
    options: Callable[[Any], Mapping[str, Any]] = lambda impl: {},
) -> Callable[[Any, Any, Data, Any], object]:
    """`train` of a Setting: the estimator's own `fit`.

    Args:
        optimizer, options: from a side, what `fit` takes under that name, and further arguments.
    """

    def train(impl: Any, model: Any, data: Data, history: Any) -> object:
        return model.fit(
            data.x,
            data.y,
            epochs,
            batch_size,
            validation=(data.x_val, data.y_val),
            optimizer=optimizer(impl),
            generator=data.generator,
            history=history,
            progress=False,
            **options(impl),
        )

    return train
