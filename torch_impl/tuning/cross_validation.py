"""A score for each part of the data, by a model that has not seen it.

Indices are tensors, so they index tensors of data as they are; a dataset that is no tensor takes
them through `torch.utils.data.Subset(dataset, train.tolist())`. What a model learns from data
outside its weights leaks as well: a normaliser's mean, and batch norm's statistics if the test part
ever passes through in train mode.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

__all__ = ["cross_validate", "k_fold", "stratified_k_fold"]

Folds = list[tuple[Tensor, Tensor]]


def k_fold(n: int, n_splits: int = 5, seed: int | None = None) -> Folds:
    """Cut n samples into parts as equal as can be; returns (all others, the part) for each.

    Stone 1974, "Cross-validatory choice and assessment of statistical predictions".

    Args:
        seed: shuffles first; None cuts the samples as they stand.

    Shapes: each pair holds indices (n - m,) and (m,), ascending.

    Raises:
        ValueError: n_splits is not a whole number from 2 to n.
    """
    return _folds(_order(n, n_splits, seed).tensor_split(n_splits))


def stratified_k_fold(y: Tensor, n_splits: int = 5, seed: int | None = None) -> Folds:
    """Cut the samples so that each part has its share of every class, to one sample.

    Kohavi 1995, "A study of cross-validation and bootstrap".

    Args:
        y: the class of each sample.
        seed: shuffles within the classes.

    Shapes: y (N,); each pair holds indices (N - m,) and (m,), ascending.

    Raises:
        ValueError: n_splits is not a whole number from 2 to N, or larger than a class.
    """
    if y.ndim != 1:
        raise ValueError(f"y must be (N,), one class a sample, got {tuple(y.shape)}")
    order = _order(len(y), n_splits, seed)
    classes, counts = y.unique(return_counts=True)
    if counts.min() < n_splits:
        rare = int(counts.argmin())
        raise ValueError(f"class {classes[rare]} has {counts[rare]} samples, got {n_splits=}")
    by_class = order[y[order].argsort(stable=True)]
    return _folds([by_class[k::n_splits] for k in range(n_splits)])


def cross_validate(
    score: Callable[[Tensor, Tensor, Tensor, Tensor], float],
    x: Tensor,
    y: Tensor,
    folds: Iterable[tuple[Tensor, Tensor]],
    standardize: bool = False,
) -> list[float]:
    """The score on each part, by a model trained on the others.

    Args:
        score: `score(x_train, y_train, x_test, y_test)`; it trains a new model each time.
        folds: what `k_fold` or `stratified_k_fold` gave.
        standardize: shift and scale each feature to mean 0 and standard deviation 1 of the
            training rows. Statistics of all rows would let the test part into the training.

    Shapes: x (N, *); y (N, *).
    """
    if len(x) != len(y):
        raise ValueError(f"wanted one y for each x, got {len(x)} and {len(y)}")
    scores = []
    for train, test in folds:
        x_train, x_test = x[train], x[test]
        if standardize:
            mean, std = x_train.mean(dim=0), x_train.std(dim=0, correction=0)
            std = torch.where(std > 0, std, 1.0)
            x_train, x_test = (x_train - mean) / std, (x_test - mean) / std
        scores.append(float(score(x_train, y[train], x_test, y[test])))
    return scores


def _order(n: int, n_splits: int, seed: int | None) -> Tensor:
    if not isinstance(n_splits, int) or not 2 <= n_splits <= n:
        raise ValueError(f"n_splits must be a whole number from 2 to {n} samples, got {n_splits!r}")
    if seed is None:
        return torch.arange(n)
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))


def _folds(parts: Iterable[Tensor]) -> Folds:
    parts = [part.sort().values for part in parts]
    return [
        (torch.cat([*parts[:k], *parts[k + 1 :]]).sort().values, part)
        for k, part in enumerate(parts)
    ]
