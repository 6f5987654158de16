"""Gradient checking against every wrong backward that the suite declares."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import numpy_impl
from numpy_impl.debugging import gradient_check, gradient_check_function
from numpy_impl.layers import Identity
from numpy_impl.losses.regression import Loss
from parity_tests.harness import FunctionParity, ModuleParity
from parity_tests.harness.discovery import cases_of
from parity_tests.harness.refusal import REFUSALS

SEED = 5
SEEN = 1e-2  # a gradient this far off, as a share of the largest, is told from one that is right
CONVENTIONS = ("gradient -1 where equal",)  # at a kink every slope between its sides will do
UNREDUCED = "a loss for each sample"
CHECKED = 12  # numbers of each tensor


def cases() -> Iterator[Any]:
    """Every case with mistakes whose right side has a backward."""
    root = Path(__file__).parent.parent
    for path in sorted(root.glob("*/test_*.py")):
        if path.parent.name not in ("debugging", "examples", "harness_tests"):
            for case in cases_of(f"parity_tests.{path.parent.name}.{path.stem}"):
                if not case.mistakes:
                    continue
                if issubclass(case, ModuleParity):
                    yield case()
                elif issubclass(case, FunctionParity) and case.backward is not None:
                    yield case()


def runs(case: Any) -> Iterator[tuple[Any, ...]]:
    """Plain inputs under every configuration, and what the right side gives for them."""
    for config in case.configs:
        for mode in getattr(case, "modes", ("train",)):
            rng = np.random.default_rng(SEED)
            shape = list(case.inputs)[-1].of(config)
            given = case.given(rng, shape, case.plain(), config)
            if "cotangent" in given:
                yield config, mode, given, outcome(case, config, mode, given)


def outcome(case: Any, config: Any, mode: str, given: Any) -> dict[str, Any] | None:
    """Output and gradients; None where it refuses."""
    given = {k: x.copy() for k, x in given.items()}
    try:
        with np.errstate(all="ignore"):
            if isinstance(case, ModuleParity):
                return case.run_numpy(given, config, mode, SEED)
            return case.run_numpy(given, config, SEED)
    except REFUSALS + (AssertionError, AttributeError):
        return None


def only_backward(right: Any, wrong: Any) -> bool:
    """The forward is the same, and some gradient is not, by enough to see."""
    if right is None or wrong is None or right.keys() != wrong.keys():
        return False
    differs = False
    for label, x in right.items():
        gap = np.inf
        if x.shape == wrong[label].shape:
            gap = float(np.max(np.abs(x - wrong[label]), initial=0.0))
        if label.startswith("gradient"):
            differs |= gap > SEEN * float(np.max(np.abs(x), initial=0.0)) + SEEN
        elif label.startswith("forward") and not gap <= 1e-12:
            return False
    return differs


def report(case: Any, config: Any, mode: str, given: Any) -> Any:
    """A gradient check of what the case builds; UNREDUCED if that gives no one number."""
    inputs = [x.copy() for k, x in given.items() if k.startswith("input")]
    if not isinstance(case, ModuleParity):
        dy = given["cotangent"]

        def value(*x: Any) -> Any:
            return np.sum(dy * case.call(list(x), config))

        def gradient(*x: Any) -> Any:
            return case.call_backward(dy, case.call(list(x), config), list(x), config)

        differentiable = inputs[: case.differentiable]
        fixed = inputs[case.differentiable :]
        return gradient_check_function(
            lambda *x: value(*x, *fixed), lambda *x: gradient(*x, *fixed), differentiable
        )
    model = case.build(config, "float64")
    model.load_state_dict({k[6:]: x for k, x in given.items() if k.startswith("state")})
    model.train(mode == "train")
    numpy_impl.manual_seed(SEED)
    if isinstance(model, Loss):
        reduced = "cotangent" in given and given["cotangent"].ndim == 0
        return gradient_check(Identity(), inputs[:1], inputs[1], model) if reduced else UNREDUCED
    return gradient_check(model, inputs, sample=CHECKED)


def test_every_wrong_backward_of_the_suite_is_flagged() -> None:
    """And the right one, at the same place, is not."""
    tried, passed, refused = 0, [], []
    for case in cases():
        left = dict(case.mistakes)
        for config, mode, given, right in runs(case):
            for name in list(left):
                wrong = case.standing_in(left[name].stand_in)
                if not only_backward(right, outcome(wrong, config, mode, given)):
                    continue
                try:
                    found = report(wrong, config, mode, given)
                except ValueError as error:  # a gradient of another shape
                    found = None if "must have its shape" in str(error) else error
                if isinstance(found, str):
                    continue
                del left[name]
                tried += 1
                where = f"{type(case).__name__} {config} {mode}: {name}"
                if name in CONVENTIONS:
                    refused += [] if "kink" in found.verdicts().values() else [f"{where}\n{found}"]
                else:
                    passed += [] if found is None or not found else [f"{where}\n{found}"]
                true = report(case, config, mode, given)
                refused += [] if true else [f"{where}\n{true}"]
    assert not passed, f"{len(passed)} of {tried} not flagged:\n" + "\n".join(passed)
    assert not refused, f"{len(refused)} of {tried} flagged, and right:\n" + "\n".join(refused)
    assert tried >= 25, f"only {tried} mistakes in a backward were found"
