"""Batches of arrays, in the order in which torch's loader would hand them out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from numpy_impl.module import Array
from numpy_impl.random import Generator, default_generator

__all__ = ["DataLoader", "TensorDataset", "batches"]


class TensorDataset:
    """Arrays side by side: sample i is row i of each.

    Raises:
        ValueError: no array, one without axes, or arrays of different lengths.
        TypeError: something is not an array.
    """

    def __init__(self, *tensors: Array) -> None:
        for tensor in tensors:
            if not isinstance(tensor, np.ndarray):
                raise TypeError(f"TensorDataset wants NumPy arrays, got {type(tensor).__name__}")
        shapes = [tensor.shape for tensor in tensors]
        if not shapes or () in shapes or len({shape[0] for shape in shapes}) > 1:
            raise ValueError(
                f"Size mismatch between tensors: wanted one length for all, got shapes {shapes}"
            )
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Array, ...]:
        return tuple(tensor[index] for tensor in self.tensors)

    def __len__(self) -> int:
        return len(self.tensors[0])


class DataLoader:
    """Cut a dataset into batches, each pass in a new order if shuffled.

    The order is torch's, bit for bit, from an equally seeded generator, and so is what is drawn
    on the way: one 64-bit number a pass (torch would seed workers with it), then a permutation;
    a pass that comes to its end draws a second permutation that nobody sees. Without a generator
    a pass draws two 64-bit numbers from the global one, the second to seed a stream of its own.

    A batch is made by indexing all its rows at once, so `dataset[indices]` must take an array.

    Shapes: each batch (batch_size, *), the last of a pass smaller unless drop_last.

    Raises:
        ValueError: batch_size is not a positive whole number, or there is nothing to shuffle.
        TypeError: generator is not one of numpy_impl's.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 1,
        shuffle: bool | None = None,
        *,
        drop_last: bool = False,
        generator: Generator | None = None,
    ) -> None:
        if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size <= 0:
            raise ValueError(
                f"batch_size should be a positive integer value, but got batch_size={batch_size!r}"
            )
        if not isinstance(drop_last, bool):
            raise ValueError(f"drop_last should be a boolean value, but got {drop_last!r}")
        if not (generator is None or isinstance(generator, Generator)):
            raise TypeError(f"generator must be a Generator, got {type(generator).__name__}")
        if shuffle and len(dataset) == 0:
            raise ValueError("there must be samples to shuffle, got an empty dataset")
        self.dataset, self.batch_size, self.shuffle = dataset, batch_size, bool(shuffle)
        self.drop_last, self.generator = drop_last, generator

    def __len__(self) -> int:
        whole, rest = divmod(len(self.dataset), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[Any]:
        (self.generator or default_generator).random64()
        return self._pass()

    def _pass(self) -> Iterator[Any]:
        n, size = len(self.dataset), self.batch_size
        whole = n - n % size
        order = np.arange(n)
        if self.shuffle:
            generator = self.generator or Generator().manual_seed(
                int(default_generator.random64()[0])
            )
            order = generator.randperm(n)
        for start in range(0, whole, size):
            yield self.dataset[order[start : start + size]]
        if self.shuffle:
            generator.skip_randperm(n)  # the one that nobody sees
        if whole < n and not self.drop_last:
            yield self.dataset[order[whole:]]


def batches(
    *tensors: Array,
    batch_size: int = 1,
    shuffle: bool = False,
    drop_last: bool = False,
    generator: Generator | None = None,
) -> DataLoader:
    """Cut arrays that fit in memory into batches: `batches(x, y, batch_size=64, shuffle=True)`."""
    return DataLoader(
        TensorDataset(*tensors), batch_size, shuffle, drop_last=drop_last, generator=generator
    )
