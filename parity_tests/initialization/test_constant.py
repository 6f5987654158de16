"""constant_, ones_, zeros_ and eye_."""

import numpy as np

from numpy_impl.initialization import constant as ours
from parity_tests.harness import InitializerParity, Mistake, Refusal, grid
from torch_impl.initialization import constant as theirs

EVERY_SHAPE = ((), (4,), (0, 3), (3, 5), (5, 3), (3, 2, 5))


def another_array(tensor, val):
    return np.full(tensor.shape, val, tensor.dtype)


def in_single_precision(tensor, val):
    with np.errstate(all="ignore"):
        return ours.constant_(tensor, float(np.float32(val)))


class TestConstant(InitializerParity):
    numpy, torch = ours.constant_, theirs.constant_
    configs = grid(val=[0, -1.5, 3, True, np.float64(0.1), np.nan, np.inf, 1e-320])
    shapes = EVERY_SHAPE
    refusals = [
        Refusal({"val": "1"}, says="number, got '1'"),
        Refusal({"val": None}, says="number, got None"),
        Refusal({"val": [1.0]}, says=r"number, got \[1.0\]"),
        Refusal({"val": 1j}, says="number"),
        Refusal({"val": 1e39}, (np.zeros(3, np.float32),), "range of float32, got 1e\\+39"),
    ]
    mistakes = {
        "another array filled": Mistake(
            another_array,
            "Written as `tensor = np.full(tensor.shape, val)`, which gives the name to a new array "
            "and leaves the caller's alone.",
            "The parameter keeps what it had, and nothing is raised.",
        ),
        "through float32": Mistake(
            in_single_precision,
            "Code that casts every number it is given to float32.",
            "0.1 is 0.10000000149 in a float64 model, and what is below 1e-45 is 0.",
        ),
    }


class TestOnes(InitializerParity):
    numpy, torch = ours.ones_, theirs.ones_
    shapes = EVERY_SHAPE
    mistakes = {
        "filled with zeros": Mistake(
            ours.zeros_,
            "A classic slip: np.zeros for np.ones, for the scale of a norm for instance.",
            "Everything behind it is 0, and so are its gradients.",
        ),
    }


class TestZeros(InitializerParity):
    numpy, torch = ours.zeros_, theirs.zeros_
    shapes = EVERY_SHAPE
    mistakes = {
        "left as it was": Mistake(
            lambda tensor: tensor,
            "np.empty for np.zeros, which looks right while the memory happens to be fresh.",
            "Biases start as what lay there before: other numbers in every run, NaN at times.",
        ),
        "0.01 for ReLU": Mistake(
            lambda tensor: ours.constant_(tensor, 0.01),
            "Tutorials that start biases a little above 0, so that every ReLU fires at first.",
            "Outputs are shifted from the first step on.",
        ),
    }


def anti_diagonal(tensor):
    """Ones where row and column count against each other."""
    ours.eye_(tensor)
    tensor[...] = tensor[:, ::-1].copy()
    return tensor


class TestEye(InitializerParity):
    numpy, torch = ours.eye_, theirs.eye_
    shapes = ((3, 5), (5, 3), (4, 4), (1, 1), (0, 3), (3, 0))
    refusals = [
        Refusal({}, (np.zeros(3),), r"2 dimensions, got shape \(3,\)"),
        Refusal({}, (np.zeros((3, 3, 3)),), "2 dimensions"),
    ]
    mistakes = {
        "ones everywhere": Mistake(
            ours.ones_,
            "A classic slip: np.ones for np.eye.",
            "Every output is the same sum.",
        ),
        "from the last column on": Mistake(
            anti_diagonal,
            "A classic slip of index order.",
            "Inputs come out in reverse.",
        ),
    }


def test_the_largest_number_of_a_dtype_is_in_its_range():
    for dtype in (np.float32, np.float64):
        largest = float(np.finfo(dtype).max)
        assert (ours.constant_(np.zeros(3, dtype), -largest) == -largest).all()
