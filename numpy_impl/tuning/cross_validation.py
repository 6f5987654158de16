"""A score for each part of the data, by a model that has not seen it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from numpy_impl.module import Array
from numpy_impl.random import Generator

__all__ = ["cross_validate", "k_fold", "stratified_k_fold"]

Folds = list[tuple[Array, Array]]


def k_fold(n: int, n_splits: int = 5, seed: int | None = None) -> Folds:
    """Cut n samples into parts as equal as can be; returns (all others, the part) for each.

    Stone 1974, "Cross-validatory choice and assessment of statistical predictions". The parts do
    not overlap and miss nobody. The first n % n_splits of them have one sample more.

    Args:
        seed: shuffles first; None cuts the samples as they stand, which for sorted data makes
            parts that have little to do with each other.

    Shapes: each pair holds indices (n - m,) and (m,), ascending.

    Raises:
        ValueError: n_splits is not a whole number from 2 to n.
    """
    order = _order(n, n_splits, seed)
    sizes = np.full(n_splits, n // n_splits)
    sizes[: n % n_splits] += 1
    return _folds(order, np.repeat(np.arange(n_splits), sizes))


def stratified_k_fold(y: Array, n_splits: int = 5, seed: int | None = None) -> Folds:
    """Cut the samples so that each part has its share of every class, to one sample.

    Kohavi 1995, "A study of cross-validation and bootstrap". The samples are laid out class by
    class and dealt like cards.

    Args:
        y: the class of each sample.
        seed: shuffles within the classes.

    Shapes: y (N,); each pair holds indices (N - m,) and (m,), ascending.

    Raises:
        ValueError: n_splits is not a whole number from 2 to N, or larger than a class.
    """
    if y.ndim != 1:
        raise ValueError(f"y must be (N,), one class a sample, got {y.shape}")
    order = _order(len(y), n_splits, seed)
    classes, counts = np.unique(y, return_counts=True)
    if counts.min() < n_splits:
        rare = int(counts.argmin())
        raise ValueError(f"class {classes[rare]} has {counts[rare]} samples, got {n_splits=}")
    by_class = order[np.argsort(y[order], kind="stable")]
    return _folds(by_class, np.arange(len(y)) % n_splits)


def cross_validate(
    score: Callable[[Array, Array, Array, Array], float],
    x: Array,
    y: Array,
    folds: Iterable[tuple[Array, Array]],
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
            mean, std = x_train.mean(axis=0), x_train.std(axis=0)
            std = np.where(std > 0, std, 1)  # a feature that does not vary stays at 0
            x_train, x_test = (x_train - mean) / std, (x_test - mean) / std
        scores.append(float(score(x_train, y[train], x_test, y[test])))
    return scores


def _order(n: int, n_splits: int, seed: int | None) -> Array:
    if not isinstance(n_splits, int) or not 2 <= n_splits <= n:
        raise ValueError(f"n_splits must be a whole number from 2 to {n} samples, got {n_splits!r}")
    return np.arange(n) if seed is None else Generator().manual_seed(seed).randperm(n)


def _folds(order: Array, part: Array) -> Folds:
    """Sample order[i] is in part[i]."""
    of_sample = np.empty_like(part)
    of_sample[order] = part
    return [
        (np.flatnonzero(of_sample != k), np.flatnonzero(of_sample == k))
        for k in range(part.max() + 1)
    ]
