"""What a gradient check found is said in the same words on both sides."""

import math
from typing import Any

from numpy_impl.debugging import gradient_report as ours
from parity_tests.harness import RuleCase
from parity_tests.harness.mistake import Mistake
from torch_impl.debugging import gradient_report as theirs

SIDES = (ours, theirs)


class ByTheMean(ours.TensorCheck):
    """Judges by the mean error."""

    @property
    def verdict(self):
        mean = sum(self.error) / max(len(self.error), 1)
        return "right" if mean <= ours.RIGHT else "wrong"


class NaNPasses(ours.TensorCheck):
    """Compares the wrong way round, and NaN is greater than nothing."""

    @property
    def verdict(self):
        if any(e > ours.WRONG for e in self.error):
            return "wrong"
        if any(e > ours.RIGHT for e in self.error):
            return "doubtful"
        return "kink" if any(self.kinks) else "right"


class FlatIndex(ours.TensorCheck):
    """Says the flat index where one looks for rows and columns."""

    def _index(self, i):
        return f"at [{self.places[i]}]"


TENSORS = {  # the errors, the kinks, and the verdict
    "a": ([1e-9, 0.0], [False, False], "right"),
    "bb": ([1e-9, 2e-6], [False, False], "doubtful"),
    "ccc": ([0.5, 1e-9], [False, True], "wrong"),
    "d": ([0.0, 1e-7], [True, False], "kink"),
    "e": ([math.nan, 1e-9], [False, False], "wrong"),
    "f": ([0.5, math.nan], [False, False], "wrong"),
    "g": ([1e-6, 0.0], [False, False], "right"),
    "h": ([1e-9, 1e-3], [False, False], "doubtful"),
}


class TestTensorCheck(RuleCase):
    numpy, torch = ours.TensorCheck, theirs.TensorCheck
    mistakes = {
        "judged by the mean": Mistake(
            ByTheMean,
            "Checks that report one number for a tensor.",
            "One wrong entry among a thousand right ones is a thousandth of itself.",
        ),
        "NaN passes": Mistake(
            NaNPasses,
            "Whoever asks whether the error is too large, and not whether it is small.",
            "A gradient of NaN is called right.",
        ),
        "flat index": Mistake(
            FlatIndex,
            "Checks that walk over `w.flatten()`, as the guide's does.",
            "The reader has to find out which row and column it is.",
        ),
    }

    def check_verdicts_and_words_agree(self, log, rng):
        for name, (error, kinks, verdict) in TENSORS.items():
            entries: dict[str, Any] = {
                "analytic": [0.25, -1.5],
                "numeric": [0.5, -1.5],
                "places": [8, 11],
            }
            made = [
                TensorCheck(name, (2, 3, 2), error=error, kinks=kinks, **entries)
                for TensorCheck in (type(self).numpy, theirs.TensorCheck)
            ]
            log.require(made[0].verdict == made[1].verdict == verdict, f"{name}: {made[0].verdict}")
            log.require(str(made[0]) == str(made[1]), f"{made[0]}, torch side {made[1]}")
            worst = 1 if name in ("bb", "d", "f", "h") else 0
            log.require(made[0].worst == made[1].worst == worst, f"{name}: {made[0].worst}")
            if name == "ccc":
                log.require("at [1, 1, 0] backward gives 0.25, the" in str(made[0]), str(made[0]))
        for TensorCheck in (type(self).numpy, theirs.TensorCheck):
            empty = TensorCheck("w", (0, 3))
            log.require((empty.verdict, empty.worst) == ("right", -1), f"{empty}")
            log.require(str(empty) == "w  right  0 of 0", str(empty))
            along = TensorCheck("w", (4,), True, [0], [1.0], [2.0], [0.5], [False])
            text = (
                "w  wrong  along 1 directions  error 5.0e-01: along direction 0 backward gives 1,"
            )
            log.require(str(along) == f"{text} the slope is 2", str(along))
            bent = TensorCheck("w", (4,), False, [0], [1.0], [1.0], [0.0], [True], ["a", "b"])
            log.require(str(bent).endswith("1 over a kink (a, b)"), str(bent))
            one, other = TensorCheck("w", (4,)), TensorCheck("v", (4,))
            for entry in ("places", "analytic", "numeric", "error", "kinks", "kinked"):
                getattr(one, entry).append(0)
                log.require(getattr(other, entry) == [], f"{entry} shared")
            log.require(one.along_directions is False, "directions unless told otherwise")


class EveryOne(ours.GradientReport):
    """True if there is anything in it, as a list would be."""

    def __bool__(self):
        return bool(self.tensors)


class TestGradientReport(RuleCase):
    numpy, torch = ours.GradientReport, theirs.GradientReport
    mistakes = {
        "true whatever was found": Mistake(
            EveryOne,
            "Whoever returns the list of what was found and asserts it.",
            "`assert report` never fails.",
        )
    }

    def check_it_is_true_if_every_gradient_holds(self, log, rng):
        said = list[list[str]]()
        for Report, side in ((type(self).numpy, ours), (theirs.GradientReport, theirs)):
            tensors = {
                name: side.TensorCheck(
                    name, (2, 6), False, [0, 7], [1.0, 2.0], [1.0, 2.5], *given[:2]
                )
                for name, given in TENSORS.items()
            }
            good = Report([tensors["a"], tensors["d"]])
            bad = Report(list(tensors.values()))
            log.require(bool(good) and good.passed, f"{good}")
            log.require(not bad and not bad.passed, f"{bad}")
            log.require(bad["bb"] is tensors["bb"], "found by another name")
            told = {name: given[2] for name, given in TENSORS.items()}
            log.require(bad.verdicts() == told, f"{bad.verdicts()}")
            said.append([str(good), str(bad)])
        log.require(said[0] == said[1], f"{said}")
        for Report in (type(self).numpy, theirs.GradientReport):
            log.require(str(Report([])) == "gradients hold", str(Report([])))
        log.require(said[0][0].startswith("gradients hold\n  a  right"), said[0][0])
        log.require(said[0][1].startswith("5 of 8 gradients do not hold\n  a    right"), said[0][1])
