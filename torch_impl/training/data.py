"""Batches of tensors, as `DataLoader` hands them out, and without its cost per sample.

Out of sight, each `iter(loader)` draws one 64-bit number from the loader's generator to seed
workers with, even when it has none; then `RandomSampler` draws `randperm(n)`, and when that is
used up a second one, of which it takes nothing. With `generator=None` both come from elsewhere:
the worker seed from the global generator, the permutation from a fresh generator that the global
one seeds. So a shuffle also moves the global stream that dropout draws from.

`DataLoader(dataset, batch_size=64)` fetches 64 samples one by one and stacks them. For data in
memory that is most of the loader's time. `batches` indexes once a batch instead.
"""

from torch import Generator, Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    Sampler,
    SequentialSampler,
    TensorDataset,
)

__all__ = ["DataLoader", "TensorDataset", "batches"]


def batches(
    *tensors: Tensor,
    batch_size: int = 1,
    shuffle: bool = False,
    drop_last: bool = False,
    generator: Generator | None = None,
) -> DataLoader:
    """Cut arrays that fit in memory into batches: `batches(x, y, batch_size=64, shuffle=True)`.

    A batch sampler in the sampler's place makes the dataset see a list of indices at a time, and
    `batch_size=None` says that what comes back is a batch already. The order, and what is drawn
    for it, are those of `DataLoader(dataset, batch_size, shuffle, generator=generator)`.
    """
    dataset = TensorDataset(*tensors)
    order: Sampler[int] = (
        RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)
    )
    sampler = BatchSampler(order, batch_size, drop_last)
    return DataLoader(dataset, batch_size=None, sampler=sampler, generator=generator)
