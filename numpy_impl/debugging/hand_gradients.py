"""Gradients without modules: of a plain function, and of a network that keeps arrays in lists."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from numpy_impl.debugging.gradient_checking import Problem, check_options, report_of, wide
from numpy_impl.debugging.gradient_report import GradientReport
from numpy_impl.module import Array
from numpy_impl.random import Generator, default_generator
from numpy_impl.training.non_finite import kept_streams

__all__ = ["gradient_check_function", "gradient_check_lists"]


def gradient_check_function(
    function: Callable[..., Any],
    gradient: Callable[..., Any] | None,
    inputs: Sequence[Array],
    *,
    eps: float = 6e-6,
    sample: int | None = None,
    directions: int | None = None,
    generator: Generator | None = None,
) -> GradientReport:
    """Hold the gradient of a plain function against central differences; see `gradient_check`.

    Args:
        function: called with the inputs, floats in float64; gives one number.
        gradient: called alike; gives the gradient of each float input, an array or a tuple.
        inputs: arrays; those of whole numbers are handed on and not checked.

    Raises:
        ValueError: as `gradient_check`; a gradient of another shape than its input.
        TypeError: no gradient, which nothing here could derive, or not one for each float input.
    """
    check_options(eps, sample, directions)
    if gradient is None:
        raise TypeError("there is no autograd here: pass the function that gives the gradients")
    generator = generator or Generator()
    given = [wide(x) for x in inputs]
    tensors = {f"input {i}": x for i, x in enumerate(given) if x.dtype.kind == "f"}
    with kept_streams():
        problem = Problem(lambda: function(*given), tensors, [default_generator])
        problem.settle()
        found = gradient(*given)
        found = found if isinstance(found, tuple | list) else (found,)
        if len(found) != len(tensors):
            raise TypeError(f"wanted {len(tensors)} gradients, got {len(found)}")
        problem.gradients = dict(zip(tensors, map(np.array, found)))
        return report_of(problem, eps, sample, directions, generator)


def gradient_check_lists(
    model: Any,
    x: Array,
    y: Array,
    loss: Callable[[Array, Array], Any] | None = None,
    *,
    eps: float = 6e-6,
    sample: int | None = None,
    directions: int | None = None,
    generator: Generator | None = None,
) -> GradientReport:
    """Check a network that keeps arrays in lists, as the guide writes it; see `gradient_check`.

    The network has `weights` and `biases`, two lists of arrays; `forward(x)` gives the list of
    activations, the output last; `backward(activations, y)` the list of the weights' gradients and
    that of the biases'. Both are checked, on a copy.

    Args:
        loss: of the output and y, one number; None takes the mean of (output - y)**2, which the
            guide prints.

    Raises:
        ValueError: as `gradient_check`; a gradient of another shape than its array.
        TypeError: the model lacks one of the four, or backward gives another number of gradients.
    """
    check_options(eps, sample, directions)
    lacking = [k for k in ("weights", "biases", "forward", "backward") if not hasattr(model, k)]
    if lacking:
        raise TypeError(f"wanted weights, biases, forward and backward; lacking {lacking}")
    generator, twin = generator or Generator(), copy.deepcopy(model)
    x, y = wide(x), wide(y)
    twin.weights, twin.biases = map(wide, twin.weights), map(wide, twin.biases)
    twin.weights, twin.biases = list(twin.weights), list(twin.biases)
    tensors = {f"weights[{i}]": w for i, w in enumerate(twin.weights)}
    tensors |= {f"biases[{i}]": b for i, b in enumerate(twin.biases)}
    loss = loss or _mean_squared_error
    with kept_streams():
        problem = Problem(lambda: loss(twin.forward(x)[-1], y), tensors, [default_generator])
        problem.settle()
        dweights, dbiases = twin.backward(twin.forward(x), y)
        if (len(dweights), len(dbiases)) != (len(twin.weights), len(twin.biases)):
            raise TypeError(
                f"wanted gradients of {len(twin.weights)} weights and {len(twin.biases)} biases, "
                f"got {len(dweights)} and {len(dbiases)}"
            )
        problem.gradients = dict(zip(tensors, map(np.array, [*dweights, *dbiases])))
        return report_of(problem, eps, sample, directions, generator)


def _mean_squared_error(output: Array, y: Array) -> Any:
    return np.mean((output - y) ** 2)
