"""What a case makes of mistakes and rewrites: caught, told apart, let pass."""

import numpy as np
import pytest
import torch

from numpy_impl import nn
from parity_tests.harness import Case, FunctionParity, Mistake, ModuleParity, Settings, arrays
from parity_tests.harness.budget import Known, budgets_apart
from parity_tests.harness.case import Log
from parity_tests.harness.stand_ins import Bench


def half(x):
    return np.tanh(x) / 2


def half_and_a_little(x):
    return np.tanh(x) * (0.5 + 1e-14)


def cube(x):
    return np.tanh(x) ** 3


def by_exponentials(x):
    return 1 - 2 / (np.exp(2 * np.clip(x, -300, 300)) + 1)


def refusing(x):
    raise ValueError("no")


class Tanh(FunctionParity):
    numpy, torch = np.tanh, torch.tanh
    inputs = arrays("N C", N=[2, 5], C=[3])


def with_stand_ins(mistakes=(), rewrites=()):
    body = {"mistakes": dict(mistakes), "rewrites": dict(rewrites)}
    return type("TestTanh", (Tanh,), body)()


def said(case, check):
    (found,) = [c for c in case.checks(Settings()) if c.name == check]
    log = Log()
    found.run(log)
    assert log.rules
    return log.failures


def test_mistakes_that_are_far_apart_are_caught_and_told_apart():
    case = with_stand_ins({"half": half, "cube": cube, "refusing": refusing})
    assert not said(case, "catches[half]") and not said(case, "catches[refusing]")
    assert not said(case, "tells mistakes apart")


def test_mistakes_that_are_near_each_other_are_named():
    case = with_stand_ins({"half": half, "cube": cube, "a little": half_and_a_little})
    assert not said(case, "catches[a little]")
    assert said(case, "tells mistakes apart") == [
        "the mistakes 'half' and 'a little' are nowhere 1000 budgets apart"
    ]


def test_a_mistake_that_is_right_is_not_caught():
    case = with_stand_ins({"none": np.tanh})
    assert said(case, "catches[none]") == ["the mistake 'none' passes every comparison"]


def test_a_rewrite_passes_and_a_wrong_one_is_shown_with_its_numbers():
    case = with_stand_ins(rewrites={"other order": lambda x: -np.tanh(-x), "cube": cube})
    assert not said(case, "passes[other order]")
    failures = said(case, "passes[cube]")
    assert failures[0] == "'cube' is right, yet" and "forward output" in failures[1]


def test_a_rewrite_whose_digits_cancel_is_a_false_friend():
    case = with_stand_ins(rewrites={"by exponentials": by_exponentials})
    rejected = Bench(case, Settings()).rejected("by exponentials")
    assert rejected is not None and "tiny" in rejected[0].name


def test_bare_stand_ins_become_mistakes_and_a_case_inherits_them():
    class TestOne(Tanh):
        mistakes = {"half": half, "cube": Mistake(cube, "Nobody writes this.", "All is small.")}

    class TestTwo(TestOne):
        pass

    assert TestOne.mistakes["half"] == Mistake(half)
    assert TestTwo.mistakes is TestOne.mistakes
    assert TestOne.mistakes["cube"].effect == "All is small."


def test_gradients_tell_apart_what_forward_does_not():
    class Passing(nn.Tanh):
        def backward(self, dy):
            self.saved_for_backward(dy)
            return dy

    class Doubling(nn.Tanh):
        def backward(self, dy):
            return 2 * super().backward(dy)

    class TestTanh(ModuleParity):
        numpy, torch = nn.Tanh, torch.nn.Tanh
        inputs = arrays("N C", N=[3], C=[2])
        mistakes = {"passing": Passing, "doubling": Doubling, "doubling again": Doubling}

    pairs = Bench(TestTanh(), Settings()).together()
    assert pairs == [("doubling", "doubling again")]


@pytest.mark.parametrize(
    "a, b, apart",
    [
        ({"y": np.ones(3)}, {"z": np.ones(3)}, np.inf),
        ({"y": np.ones(3)}, {"y": np.ones((3, 1))}, np.inf),
        ({"y": np.ones(3)}, {"y": np.array([1, np.nan, 1])}, np.inf),
        ({"y": np.array([np.nan, 1])}, {"y": np.array([np.nan, 1])}, 0.0),
        ({"y": np.array([np.inf, 1])}, {"y": np.array([-np.inf, 1])}, np.inf),
        ({"y": np.array([1, 2])}, {"y": np.array([1, 3])}, np.inf),
        ({"y": np.array(["ab"])}, {"y": np.array(["abc"])}, np.inf),
        ({"y": np.zeros((0, 2))}, {"y": np.zeros((0, 2))}, 0.0),
    ],
)
def test_results_of_another_kind_are_infinitely_far_apart(a, b, apart):
    known = Known(a, {k: [np.zeros(x.shape)] for k, x in a.items()})
    assert budgets_apart(a, b, known) == apart


def test_how_far_is_counted_in_budgets_of_the_larger_result():
    one, noise = np.ones(4), np.full(4, 1e-10)
    known = Known({"y": one}, {"y": [noise]})
    near = budgets_apart({"y": one}, {"y": one + 1e-7}, known)
    assert near == pytest.approx(1e-7 / 1.6e-9, rel=1e-3)
    exact = Known({"y": one}, {"y": [np.zeros(4)]})
    eps = np.finfo(float).eps
    far = budgets_apart({"y": one}, {"y": 1e6 * one}, exact)
    assert far == pytest.approx((1e6 - 1) / (16 * eps * 1e6))


def test_a_mistake_that_is_tried_nowhere_is_not_caught():
    class TestNothing(Case):
        mistakes = {"half": half}

        def checks(self, settings):
            return self.trials(settings)

    assert said(TestNothing(), "catches[half]") == ["the mistake 'half' passes every comparison"]
