"""Folds that miss nobody and do not overlap; scores that nothing has leaked into."""

from functools import partial
from typing import Any

import numpy as np
import torch

from numpy_impl.tuning import cross_validation as ours
from parity_tests.harness import Mistake, RuleCase
from parity_tests.harness.bridge import to_numpy, to_torch
from parity_tests.harness.budget import compare
from parity_tests.harness.refusal import refused
from torch_impl.tuning import cross_validation as theirs


def same(a, b):
    return len(a) == len(b) and all(
        np.array_equal(p, q.numpy()) and p.dtype == np.int64 for x, y in zip(a, b)
        for p, q in zip(x, y, strict=True)
    )  # fmt: skip


def partition(folds, n):
    """Whether each sample is in one part, and in the others' training."""
    parts = np.concatenate([test for _, test in folds])
    whole = sorted(parts.tolist()) == list(range(n))
    return whole and all(
        sorted([*train.tolist(), *test.tolist()]) == list(range(n)) for train, test in folds
    )


def overlapping(n, n_splits=5, seed=None):
    """Each part reaches one sample into the next."""
    parts = [test for _, test in ours.k_fold(n, n_splits, seed)]
    wider = [np.union1d(part, parts[i - 1][-1:]) for i, part in enumerate(parts)]
    return [(np.setdiff1d(np.arange(n), part), part) for part in wider]


def rest_dropped(n, n_splits=5, seed=None):
    whole = n - n % n_splits
    return ours.k_fold(whole, n_splits, seed)


def trained_on_all(n, n_splits=5, seed=None):
    return [(np.arange(n), part) for _, part in ours.k_fold(n, n_splits, seed)]


class TestKFold(RuleCase):
    numpy, torch = ours.k_fold, theirs.k_fold
    mistakes = {
        "parts that overlap": Mistake(
            overlapping,
            "Whoever computes ends as start + size + 1.",
            "Some samples count twice in the mean of the scores.",
        ),
        "the rest left out": Mistake(
            rest_dropped,
            "Whoever takes n // k for the size of every part.",
            "The last n % k samples are neither trained on nor scored.",
        ),
        "trained on everything": Mistake(
            trained_on_all,
            "Whoever keeps the part in the training set.",
            "The score is that of the training, and the largest model wins.",
        ),
        "unshuffled": Mistake(
            lambda n, n_splits=5, seed=None: ours.k_fold(n, n_splits),
            "Whoever does not see that the file is sorted.",
            "Models are scored on what they have never seen anything like.",
        ),
    }

    def check_the_parts_are_the_same_on_both_sides(self, log, rng):
        for n, k in ((2, 2), (10, 5), (11, 3), (13, 13)):
            for seed in (None, 0, 7):
                folds = type(self).numpy(n, k, seed)
                log.require(same(folds, theirs.k_fold(n, k, seed)), f"{n}, {k}, {seed}: {folds}")
                log.require(partition(folds, n), f"{n}, {k}, {seed}: no partition: {folds}")
                sizes = [len(test) for _, test in folds]
                log.require(max(sizes) - min(sizes) <= 1, f"sizes {sizes}")

    def check_bad_numbers_are_refused(self, log, rng):
        wrong: list[tuple[int, Any]] = [(3, 4), (3, 1), (0, 2), (5, 2.0)]
        for n, k in wrong:
            said = [refused(partial(side, n, k)) for side in (type(self).numpy, theirs.k_fold)]
            log.require(said[0] == said[1] and f"to {n} samples" in str(said[0]), f"{said}")


def plain_for_stratified(y, n_splits=5, seed=None):
    return ours.k_fold(len(y), n_splits, seed)


def each_class_from_the_start(y, n_splits=5, seed=None):
    """Every class dealt anew from the first part."""
    part = np.empty(len(y), np.int64)
    for c in np.unique(y):
        held = np.flatnonzero(y == c)
        part[held] = np.arange(len(held)) % n_splits
    return [(np.flatnonzero(part != k), np.flatnonzero(part == k)) for k in range(n_splits)]


class TestStratifiedKFold(RuleCase):
    numpy, torch = ours.stratified_k_fold, theirs.stratified_k_fold
    mistakes = {
        "not stratified": Mistake(
            plain_for_stratified,
            "Whoever takes the shuffle for enough.",
            "A rare class is missing from some parts, and scores jump from part to part.",
        ),
        "every class begins with the first part": Mistake(
            each_class_from_the_start,
            "Whoever deals class by class and starts over.",
            "The first parts get the odd samples of all classes and are larger than the last.",
        ),
    }

    def check_the_parts_are_the_same_on_both_sides(self, log, rng):
        for k in (2, 3, 5):
            y = rng.permutation(np.repeat([3, 0, 8, 9], [6, 17, 5, 6]))
            for seed in (None, 4):
                folds = type(self).numpy(y, k, seed)
                log.require(same(folds, theirs.stratified_k_fold(to_torch(y), k, seed)), f"{folds}")
                log.require(partition(folds, len(y)), f"no partition: {folds}")
                sizes = [len(test) for _, test in folds]
                log.require(max(sizes) - min(sizes) <= 1, f"sizes {sizes}")
                for c in np.unique(y):
                    shares = [int((y[test] == c).sum()) for _, test in folds]
                    log.require(max(shares) - min(shares) <= 1, f"class {c}: {shares}")

    def check_a_class_too_rare_is_refused(self, log, rng):
        y = np.array([1, 1, 1, 1, 2, 2])
        sides: Any = (type(self).numpy, y), (theirs.stratified_k_fold, to_torch(y))
        for words, k in (("class 2 has 2 samples, got n_splits=3", 3), ("from 2 to 6", 7)):
            said = [refused(partial(side, labels, k)) for side, labels in sides]
            log.require(said[0] == said[1] and words in str(said[0]), f"{said}")
        said = [refused(partial(side, labels[:, None])) for side, labels in sides]
        log.require(said[0] == said[1] and "got (6, 1)" in str(said[0]), f"{said}")


def leaking(score, x, y, folds, standardize=False):
    """Mean and standard deviation of all rows."""
    if standardize:
        x = (x - x.mean(axis=0)) / np.where(x.std(axis=0) > 0, x.std(axis=0), 1)
    return ours.cross_validate(score, x, y, folds)


def own_statistics(score, x, y, folds, standardize=False):
    """The test part standardised by itself."""

    def alone(x_train, y_train, x_test, y_test):
        if standardize:
            std = x_test.std(axis=0)
            x_test = (x_test - x_test.mean(axis=0)) / np.where(std > 0, std, 1)
        return score(x_train, y_train, x_test, y_test)

    return ours.cross_validate(alone, x, y, folds, standardize)


def swapped(score, x, y, folds, standardize=False):
    return ours.cross_validate(score, x, y, [(b, a) for a, b in folds], standardize)


def ridge(x, y, x_test, y_test):
    """The mean squared error of a least-squares fit, in either framework."""
    solve = np.linalg.solve if isinstance(x, np.ndarray) else torch.linalg.solve
    eye = np.eye(x.shape[1]) if isinstance(x, np.ndarray) else torch.eye(x.shape[1]).double()
    w = solve(x.T @ x + eye, x.T @ y)
    return ((x_test @ w - y_test) ** 2).mean()


class TestCrossValidate(RuleCase):
    numpy, torch = ours.cross_validate, theirs.cross_validate
    mistakes = {
        "the test part leaks into the normalisation": Mistake(
            leaking,
            "Whoever standardises the whole table once, before it is cut.",
            "Scores come out better than on data that nobody has seen.",
        ),
        "the test part normalised by itself": Mistake(
            own_statistics,
            "Whoever fits the normaliser wherever it is used.",
            "The model sees other numbers than it was trained on.",
        ),
        "trained on one part, tested on the others": Mistake(
            swapped,
            "Whoever mixes up the order of the pair.",
            "Models learn from a fifth of the data, and every score is too bad.",
        ),
    }

    def check_scores_agree(self, log, rng):
        given = {
            "x": 5 + rng.standard_normal((23, 4)) * [3, 0.2, 1e-3, 40],
            "y": rng.standard_normal(23),
        }
        for standardize in (False, True):
            folds = ours.k_fold(23, 4, seed=3)

            def numpy_side(g, standardize=standardize, folds=folds):
                scores = type(self).numpy(ridge, g["x"], g["y"], folds, standardize)
                log.require(all(type(s) is float for s in scores), f"{scores}")
                return {"forward scores": np.array(scores)}

            def torch_side(g, standardize=standardize, folds=folds):
                x, y, parts = to_torch(g["x"]), to_torch(g["y"]), to_torch(folds)
                scores = theirs.cross_validate(ridge, x, y, parts, standardize)
                return {"forward scores": np.array(scores)}

            where = f"standardize={standardize}"
            log.compare(compare(numpy_side, torch_side, given, "float64"), where)

    def check_the_test_part_tells_the_training_nothing(self, log, rng):
        x, y = rng.standard_normal((12, 3)), rng.standard_normal(12)
        folds = ours.k_fold(12, 3)
        seen: list[list[np.ndarray]] = []
        for shift in (0.0, 1e6):
            moved = x.copy()
            trained: list[Any] = []
            moved[folds[0][1]] += shift
            type(self).numpy(lambda *a, t=trained: t.append(a[0]) or 0.0, moved, y, folds[:1], True)
            seen.append(trained)
        log.require(np.array_equal(seen[0][0], seen[1][0]), "the training rows moved with the test")

    def check_a_feature_that_does_not_vary_becomes_0(self, log, rng):
        x, y, folds = np.full((6, 2), 2.5), np.arange(6.0), ours.k_fold(6, 3)
        sides: Any = (type(self).numpy, np.asarray), (theirs.cross_validate, to_torch)
        for side, of in sides:
            scores = side(lambda a, b, c, d: abs(a).max() + abs(c).max(), of(x), of(y),
                          [(of(p), of(q)) for p, q in folds], True)  # fmt: skip
            log.require(scores == [0.0] * 3, f"{side}: {scores}")

    def check_lengths_that_differ_are_refused(self, log, rng):
        folds: Any = ours.k_fold(3, 2)
        x, y = np.zeros((4, 1)), np.zeros(3)
        said = [
            refused(partial(type(self).numpy, ridge, x, y, folds)),
            refused(partial(theirs.cross_validate, ridge, to_torch(x), to_torch(y), folds)),
        ]
        log.require(said[0] == said[1] and "got 4 and 3" in str(said[0]), f"{said}")


def test_plain_folds_are_scikit_learns():
    """Its KFold(3) of 7 samples, as recorded: parts of 3, 2 and 2, in order."""
    for folds in (ours.k_fold(7, 3), to_numpy(theirs.k_fold(7, 3))):
        assert [test.tolist() for _, test in folds] == [[0, 1, 2], [3, 4], [5, 6]]
