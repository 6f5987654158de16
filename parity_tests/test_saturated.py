"""Whole tensors far out in the saturated ends, as they come: no entry made ordinary.

There every gradient is what rounding leaves of 1 - y^2, p - 1 or dy - dy, and the cases, whose
budget is a share of the largest gradient, therefore keep a few entries that are not saturated. Here
nothing is kept. A gradient is then held against the size of the terms it is the difference of,
which is the cotangent's: 16 eps of it in float64, and in float32 four times torch's own error and
four units in its last place. Forwards have no such difference and keep the usual budget.
"""

from typing import Any

import numpy as np
import pytest
import torch

from numpy_impl import nn
from parity_tests.harness.bridge import to_numpy, to_torch
from parity_tests.harness.budget import deviation
from parity_tests.harness.inputs import REGIMES

Named = tuple[str, dict[str, Any]]
ELEMENTWISE: list[Named] = [
    ("Sigmoid", {}),
    ("Tanh", {}),
    ("Softmax", {"dim": -1}),
    ("Softmax", {"dim": 0}),
]
ELEMENTWISE += [("LogSoftmax", {"dim": -1}), ("LogSoftmax", {"dim": 0})]
LOSSES: list[Named] = [("CrossEntropyLoss", {"reduction": r}) for r in ("none", "mean", "sum")]
LOSSES += [("CrossEntropyLoss", {"label_smoothing": 0.1}), ("BCEWithLogitsLoss", {})]
FAR = ["offset", "large", "huge", "zeros", "ties"]


def sides(name: str, options: dict[str, Any], inputs: Any, dy: Any) -> tuple[Any, Any]:
    """Output and gradient of the first input: NumPy's, and torch's."""
    ours = getattr(nn, name)(**options)
    y = ours(*inputs)
    found = np.asarray(y), ours.backward(dy.astype(y.dtype))
    leaf, *others = [to_torch(x) for x in inputs]
    theirs = getattr(torch.nn, name)(**options)(leaf.requires_grad_(), *others)
    theirs.backward(to_torch(dy.astype(y.dtype)))
    return found, (to_numpy(theirs), to_numpy(leaf.grad))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("regime", FAR)
@pytest.mark.parametrize("name, options", ELEMENTWISE + LOSSES, ids=str)
def test_saturated_outputs_and_gradients_agree_to_rounding(name, options, regime, dtype):
    for seed in range(12):
        rng = np.random.default_rng(seed)
        x = np.asarray(REGIMES[regime](rng, (7, 5))).astype(dtype)
        inputs: list[Any] = [x]
        if name == "CrossEntropyLoss":
            inputs.append(rng.integers(0, 5, 7))
        elif name == "BCEWithLogitsLoss":
            inputs.append(rng.integers(0, 2, x.shape).astype(dtype))
        shape = getattr(torch.nn, name)(**options)(*map(to_torch, inputs)).shape
        dy = np.asarray(rng.standard_normal(tuple(shape)))
        (y, dx), (expected, slope) = sides(name, options, inputs, dy)
        exact, terms = (expected, slope), float(np.abs(dy).max())
        if dtype == "float32":
            wide = [v.astype(np.float64) if v.dtype == dtype else v for v in inputs]
            _, exact = sides(name, options, wide, dy.astype(dtype))
        assert y.dtype == dx.dtype == dtype
        noise = [np.abs(expected - exact[0])]
        held = deviation("forward output", y, exact[0], noise, dtype)
        assert held.passed, str(held)
        error, measure = np.abs(dx - exact[1]).max(), np.abs(slope - exact[1]).max()
        unit = np.finfo(dtype).eps * terms
        allowed = 16 * unit if dtype == "float64" else 4 * measure + 4 * unit
        assert error <= allowed, f"gradient off by {error:.3g}, allowed {allowed:.3g}, seed {seed}"


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ["L1Loss", "MSELoss"])
def test_input_equal_to_target_anywhere_has_gradient_zero(name, dtype):
    rng = np.random.default_rng(3)
    x, target = rng.standard_normal((2, 9, 4)).astype(dtype)
    target[::2] = x[::2]  # ties at numbers of every size, not only at 0
    (y, dx), (expected, slope) = sides(name, {"reduction": "sum"}, (x, target), np.ones(()) * 0.3)
    assert not dx[::2].any() and not slope[::2].any()
    np.testing.assert_allclose(y, expected, rtol=1e-13 if dtype == "float64" else 1e-6)
    np.testing.assert_allclose(dx, slope, rtol=1e-15 if dtype == "float64" else 3e-7)
