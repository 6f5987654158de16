"""Accuracy: which class counts as chosen, and of how many."""

from functools import partial

import numpy as np
import torch

from numpy_impl.training import metrics as ours
from parity_tests.harness import Mistake, RuleCase
from parity_tests.harness.refusal import raises, refused
from torch_impl.training import metrics as theirs


class TestAccuracy(RuleCase):
    numpy, torch = ours.accuracy, theirs.accuracy
    mistakes = {
        "the last of equal scores": Mistake(
            lambda output, target: ours.accuracy(output[:, ::-1], output.shape[1] - 1 - target),
            "Written with a sort, or with >=; argmax takes the first on both sides.",
            "A network that says the same to all classes scores another class's share.",
        ),
        "the smallest score": Mistake(
            lambda output, target: ours.accuracy(-output, target),
            "A classic slip where scores are costs.",
            "The better the network, the lower its share.",
        ),
        "in percent": Mistake(
            lambda output, target: 100 * ours.accuracy(output, target),
            "Code that prints percent.",
            "Early stopping with a min_delta of 0.01 takes every change for progress.",
        ),
    }

    def check_the_share_is_torchs(self, log, rng):
        for n, classes in ((1, 1), (7, 3), (40, 10)):
            for output in (
                rng.standard_normal((n, classes)),
                np.round(rng.standard_normal((n, classes))),
            ):
                target = rng.integers(0, classes, n)
                a = type(self).numpy(output, target)
                b = theirs.accuracy(torch.from_numpy(output), torch.from_numpy(target))
                log.require(isinstance(a, float) and a == b, f"{a}, torch side {b}")

    def check_the_first_of_equals_counts_and_nan_never(self, log, rng):
        output = np.array([[1.0, 1.0], [np.nan, 0.0], [-np.inf, -np.inf]])
        for target, share in (([0, 0, 0], 2 / 3), ([1, 1, 1], 0.0)):
            a = type(self).numpy(output, np.array(target))
            b = theirs.accuracy(torch.from_numpy(output), torch.tensor(target))
            log.require(a == b == share, f"labels {target}: {a}, torch side {b}, wanted {share}")

    def check_other_shapes_are_refused(self, log, rng):
        for output, target in (((3, 2), (2,)), ((3,), (3,)), ((3, 2), (3, 2)), ((0, 2), (0,))):
            a = np.zeros(output), np.zeros(target, np.int64)
            said = refused(partial(type(self).numpy, *a)) or ""
            log.require(f"got {output} and {target}" in said, f"said {said!r}")
            log.require(raises(theirs.accuracy, *map(torch.from_numpy, a)), f"torch: {output}")
