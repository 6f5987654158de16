"""What a gradient check found: numbers, and a verdict for every tensor."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

__all__ = ["GradientReport", "TensorCheck"]

RIGHT, WRONG = 1e-6, 1e-3
"""The bands of the relative error: up to the first right, up to the second doubtful, else wrong."""


@dataclass
class TensorCheck:
    """One tensor's gradient beside its central differences, at the places looked at.

    `places` are flat indices into the tensor, or the numbers of the random directions; the lists
    beside it have one entry each: `analytic` from backward, `numeric` the slope, `error` the
    relative error between them less what rounding accounts for, and in `kinks` whether the step
    went over a kink (its error is then that of a step too short to reach it, or 0 where the kink
    is at the point itself and backward's slope lies between those of its two sides).
    `kinked` names the layers with the kinks, where the network is made of layers.
    """

    name: str
    shape: tuple[int, ...]
    along_directions: bool = False
    places: list[int] = field(default_factory=list)
    analytic: list[float] = field(default_factory=list)
    numeric: list[float] = field(default_factory=list)
    error: list[float] = field(default_factory=list)
    kinks: list[bool] = field(default_factory=list)
    kinked: list[str] = field(default_factory=list)

    @property
    def worst(self) -> int:
        """Which entry of the lists has the largest error, NaN above all; -1 if there is none."""
        size = [math.inf if math.isnan(e) else e for e in self.error]
        return max(range(len(size)), key=size.__getitem__, default=-1)

    @property
    def verdict(self) -> str:
        """By the largest relative error: right up to 1e-6, doubtful up to 1e-3, above it wrong.

        What is right although the step went over a kink is a "kink".
        """
        largest = self.error[self.worst] if self.error else 0.0
        if not largest <= WRONG:
            return "wrong"
        if largest > RIGHT:
            return "doubtful"
        return "kink" if any(self.kinks) else "right"

    def __str__(self) -> str:
        """The tensor in one line."""
        size = math.prod(self.shape)
        if self.along_directions:
            seen = f"along {len(self.places)} directions"
        else:
            seen = f"{len(self.places)} of {size}"
        words = f"{self.name}  {self.verdict}  {seen}"
        if not self.error:
            return words
        i = self.worst
        words += f"  error {self.error[i]:.1e}"
        if any(self.kinks):
            words += f"  {sum(self.kinks)} over a kink"
            words += f" ({', '.join(self.kinked)})" if self.kinked else ""
        if self.verdict in ("wrong", "doubtful"):
            at = f"along direction {self.places[i]}" if self.along_directions else self._index(i)
            words += f": {at} backward gives {self.analytic[i]:.6g}, the slope is "
            words += f"{self.numeric[i]:.6g}"
        return words

    def _index(self, i: int) -> str:
        """Where the flat index of an entry is, as one writes it."""
        index, rest = [], self.places[i]
        for size in reversed(self.shape):
            rest, at = divmod(rest, size)
            index.append(at)
        return f"at {index[::-1]}"


@dataclass
class GradientReport:
    """Every tensor that was checked; true if no gradient is wrong or doubtful.

    assert (report := gradient_check(model, [x], y, criterion)), report
    """

    tensors: list[TensorCheck]

    @property
    def passed(self) -> bool:
        """Whether every tensor is right, kinks named as such included."""
        return all(tensor.verdict in ("right", "kink") for tensor in self.tensors)

    def __bool__(self) -> bool:
        return self.passed

    def __getitem__(self, name: str) -> TensorCheck:
        return {tensor.name: tensor for tensor in self.tensors}[name]

    def verdicts(self) -> dict[str, str]:
        """The verdict by the tensor's name."""
        return {tensor.name: tensor.verdict for tensor in self.tensors}

    def __str__(self) -> str:
        """A line for the whole and one for each tensor."""
        bad = sum(tensor.verdict not in ("right", "kink") for tensor in self.tensors)
        head = f"{bad} of {len(self.tensors)} gradients do not hold" if bad else "gradients hold"
        width = max((len(tensor.name) for tensor in self.tensors), default=0)
        lines = [str(tensor) for tensor in self.tensors]
        padded = [
            f"  {tensor.name:{width}}{line[len(tensor.name) :]}"
            for tensor, line in zip(self.tensors, lines)
        ]
        return "\n".join([head, *padded])
