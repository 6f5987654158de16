"""The budget lets rounding pass and nothing else."""

from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from parity_tests.harness.budget import compare, deviation
from parity_tests.harness.case import Log
from parity_tests.harness.rounding import otherwise

RNG = np.random.default_rng(7)
X = RNG.standard_normal((4, 4))
W = RNG.standard_normal((4, 4))
DTYPES = ("float64", "float32")


def product(g):
    return {"forward y": g["x"] @ g["w"]}


def held(wrong, dtype="float64", reference=product, **given):
    """The one deviation of wrong(y) from y = x @ w."""
    given = given or {"x": X, "w": W}
    (found,) = compare(
        lambda g: {"forward y": wrong(product(g)["forward y"])}, reference, given, dtype
    )
    return found


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_same_numbers_pass_and_are_equal(dtype):
    found = held(lambda y: y, dtype)
    assert found.passed and (dtype == "float32" or found.units == 0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_another_order_of_summation_passes(dtype):
    def backwards(g):
        return {"forward y": g["x"][:, ::-1] @ g["w"][::-1]}

    (found,) = compare(backwards, product, {"x": X, "w": W}, dtype)
    assert found.passed


def test_a_factor_of_one_and_a_trillionth_is_caught_in_float64():
    assert not held(lambda y: y * (1 + 1e-12)).passed


def test_a_factor_of_one_and_a_hundred_thousandth_is_caught_in_float32():
    assert not held(lambda y: y * np.float32(1 + 1e-5), "float32").passed


def test_float32_arithmetic_on_the_way_is_caught_in_float64():
    assert not held(lambda y: y.astype(np.float32).astype(np.float64)).passed


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "wrong",
    [
        lambda y: y.T.copy(),
        lambda y: -y,
        lambda y: y[::-1].copy(),
        lambda y: np.zeros_like(y),
        lambda y: y.reshape(-1),
        lambda y: y[:, :3],
        lambda y: y[None],
        lambda y: y.astype(np.float16),
        lambda y: np.full_like(y, np.nan),
    ],
    ids="transposed negated reversed zeros flat narrower wrapped half nan".split(),
)
def test_gross_errors_are_caught(wrong, dtype):
    assert not held(wrong, dtype).passed


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_wrong_element_is_caught_and_named(dtype):
    def wrong(y):
        y = y.copy()
        y[2, 1] += 0.5
        return y

    found = held(wrong, dtype)
    assert not found.passed and found.index == (2, 1) and found.worst == pytest.approx(0.5)


@pytest.mark.parametrize(("mine", "wanted"), [("float32", "float64"), ("float64", "float32")])
def test_another_dtype_is_caught_even_with_the_same_numbers(mine, wanted):
    y = np.array([1.0, 2.0])
    found = deviation("forward y", y.astype(mine), y.astype(wanted), [], wanted)
    assert not found.passed and "dtype" in found.problem


@pytest.mark.parametrize(
    ("ours", "reference"),
    [
        ([1.0, np.nan], [np.nan, 1.0]),
        ([1.0, 2.0], [1.0, np.nan]),
        ([1.0, np.nan], [1.0, 2.0]),
        ([1.0, np.inf], [1.0, -np.inf]),
        ([1.0, np.inf], [1.0, np.nan]),
        ([1.0, np.nan], [1.0, np.inf]),
        ([1.0, 1e308], [1.0, np.inf]),
        ([1.0, np.inf], [1.0, 1e308]),
    ],
)
def test_nan_and_infinity_must_stand_in_the_same_places_with_the_same_sign(ours, reference):
    assert not deviation("forward y", np.array(ours), np.array(reference), [], "float64").passed


def test_nan_and_infinity_in_the_same_places_pass_and_hide_nothing():
    y = np.array([np.nan, np.inf, -np.inf, 1.0])
    assert deviation("forward y", y, y.copy(), [], "float64").passed
    assert not deviation("forward y", y + [0, 0, 0, 1e-9], y, [], "float64").passed


def test_against_zeros_only_zeros_pass():
    zero = np.zeros(3)
    assert deviation("gradient x", zero, zero, [zero], "float64").passed
    assert not deviation("gradient x", zero + 1e-300, zero, [zero], "float64").passed
    assert not deviation(
        "gradient x", np.array([0, 0, 1e-30], np.float32), zero.astype("f"), [zero], "float32"
    ).passed


def test_whole_numbers_must_be_equal_and_whole():
    n = np.array([1, 2, 3])
    assert deviation("forward n", n, n, [], "float64").passed
    assert not deviation("forward n", n + [0, 0, 1], n, [], "float64").passed
    assert not deviation("forward n", n.astype(float), n, [], "float64").passed


def test_a_small_tensor_is_not_measured_by_a_large_one():
    def both(g):
        return {"gradient big": 1e6 * g["x"], "gradient small": 1e-6 * g["x"]}

    def wrong(g):
        y = both(g)
        return y | {"gradient small": y["gradient small"] * (1 + 1e-9)}

    big, small = compare(wrong, both, {"x": X}, "float64")
    assert big.passed and not small.passed


def test_each_step_has_a_budget_of_its_own():
    y = np.array([[1e-6, 2e-6], [1e6, 2e6]])
    wrong = y * np.array([[1 + 1e-9], [1.0]])
    assert deviation("step p", wrong, y, [], "float64").passed  # lost beside the large step
    found = deviation("step p", wrong, y, [], "float64", by_step=True)
    assert not found.passed and found.index[0] == 0


def test_a_missing_or_additional_tensor_is_caught():
    with pytest.raises(AssertionError, match="forward z"):
        compare(lambda g: {**product(g), "forward z": g["x"]}, product, {"x": X, "w": W}, "float64")
    with pytest.raises(AssertionError, match="forward y"):
        compare(lambda g: {}, product, {"x": X, "w": W}, "float64")


def test_a_problem_too_ill_conditioned_to_tell_does_not_pass():
    def wild(g):
        return {"forward y": np.sin(1e13 * g["x"])}

    (found,) = compare(wild, wild, {"x": X}, "float64")
    assert not found.passed and "ill-conditioned" in found.problem


def test_a_failure_says_where_and_how_large_against_what_was_allowed():
    log = Log()
    log.compare([held(lambda y: y + 0.25)], "4x4 unit")
    (text,) = log.failures
    for part in ("4x4 unit", "forward y", "float64", "worst 0.25", "ours", "reference", "allowed"):
        assert part in text


@pytest.mark.parametrize("ulps", [6, 9, 30])
def test_a_loss_of_float32_digits_that_is_always_there_fails_the_second_look(ulps: int) -> None:
    x = np.random.default_rng(0).standard_normal((40, 3))

    def reference(given: Any) -> Any:
        return {"forward y": given["x"] * 2}  # exact in any dtype: no error of its own

    def ours(given: Any) -> Any:
        y = reference(given)["forward y"]
        return {"forward y": y + (ulps * np.spacing(np.abs(y).max())).astype(y.dtype)}

    (found,) = compare(ours, reference, {"x": x}, "float32")
    assert not found.passed and 1 < found.units < 10


def test_chance_in_one_draw_passes_the_second_look_and_a_missing_number_does_not() -> None:
    x = np.random.default_rng(0).standard_normal((40, 3))
    calls = []

    def reference(given: Any) -> Any:
        return {"forward y": given["x"] * 2}

    def once(given: Any) -> Any:
        calls.append(1)
        y = reference(given)["forward y"]
        return {"forward y": y + (6 * np.spacing(np.abs(y).max()) * (len(calls) == 1)).astype("f4")}

    def missing(given: Any) -> Any:
        calls.append(1)
        y = reference(given)["forward y"].copy()
        y[0, 0] = np.nan if len(calls) == 1 else y[0, 0]
        return {"forward y": y}

    assert compare(once, reference, {"x": x}, "float32")[0].passed and len(calls) > 1
    calls.clear()
    assert not compare(missing, reference, {"x": x}, "float32")[0].passed and len(calls) == 1


def test_in_float64_a_dozen_draws_find_what_two_may_miss_and_excuse_no_mistake() -> None:
    calls = []

    def reference(given: Any) -> Any:  # of the first two moves nothing comes
        calls.append(1)
        return {"forward y": given["x"] if len(calls) > 4 else np.round(given["x"], 12)}

    x = np.round(np.random.default_rng(0).standard_normal(40), 12)
    for off, passes, looked in ((5e-15, True, 16), (1e-13, False, 16), (1e-10, False, 3)):
        calls.clear()

        def ours(given: Any, off: float = off) -> Any:
            return {"forward y": given["x"] * (1 + off)}

        (found,) = compare(ours, reference, {"x": x}, "float64")
        assert (found.passed, len(calls)) == (passes, looked), (off, found)


@pytest.mark.parametrize("x", [18.0, -745.0])
def test_what_is_saved_for_backward_may_be_an_ulp_off_in_a_network(x: float) -> None:
    def theirs(given: Any) -> Any:
        leaf = torch.from_numpy(given["x"]).requires_grad_()
        (leaf.tanh() if x > 0 else leaf.exp()).backward(torch.ones(8, dtype=torch.float64))
        return {"gradient x": leaf.grad}

    given = {"x": np.full(8, x)}
    off = otherwise(SimpleNamespace(network=True), theirs)
    assert off is not None and len(set(off(given)["gradient x"].tolist())) > 1
    assert len(set(theirs(given)["gradient x"].tolist())) == 1
    assert otherwise(SimpleNamespace(network=False), theirs) is None


def test_what_subnormal_numbers_lose_and_factors_magnify_is_measured_and_no_more_excused() -> None:
    def product(given: Any, first: float) -> Any:
        dy = given["cotangent"]
        return {"gradient x": dy * first * (1e6 / first) * given["x"]}

    given = {"x": np.array([3e3]), "cotangent": np.array([1.7e-322])}
    mine = partial(product, first=1e-1)
    (found,) = compare(mine, partial(product, first=1.0), given, "float64")
    assert not found.passed  # the reference loses nothing, so nothing may be lost
    (found,) = compare(partial(product, first=1.0), mine, given, "float64")
    assert found.passed
