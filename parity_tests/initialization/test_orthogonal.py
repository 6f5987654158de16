"""orthogonal_, from the same normal matrix on both sides."""

import numpy as np
import pytest
import torch

from numpy_impl.initialization import orthogonal as ours
from numpy_impl.random import Generator, default_generator
from parity_tests.harness import InitializerParity, Mistake, Refusal, grid
from parity_tests.harness.bridge import same_stream
from parity_tests.harness.init_case import Handed, handed
from torch_impl.initialization import orthogonal as theirs


def signs_left(tensor, gain=1, generator=None):
    """Q as LAPACK returns it."""
    if not tensor.size:
        return tensor
    rows, columns = len(tensor), tensor.size // len(tensor)
    z = (generator or default_generator).normal(0, 1, (rows, columns), tensor.dtype)
    q, _ = np.linalg.qr(z.T if rows < columns else z)
    tensor[...] = gain * (q.T if rows < columns else q).reshape(tensor.shape)
    return tensor


def wide_not_transposed(tensor, gain=1, generator=None):
    """A wide matrix from a tall draw of its own, rather than the transpose of this one."""
    if not tensor.size:
        return tensor
    rows, columns = len(tensor), tensor.size // len(tensor)
    shape = (max(rows, columns), min(rows, columns))
    z = (generator or default_generator).normal(0, 1, shape, tensor.dtype)
    q, r = np.linalg.qr(z)
    q *= np.sign(np.diag(r))
    tensor[...] = gain * (q.T if rows < columns else q).reshape(tensor.shape)
    return tensor


def gain_squared(tensor, gain=1, generator=None):
    return ours.orthogonal_(tensor, gain * gain, generator)


def not_factored(tensor, gain=1, generator=None):
    """A normal matrix with the norm of an orthogonal one."""
    if tensor.size:
        rows, columns = len(tensor), tensor.size // len(tensor)
        z = (generator or default_generator).normal(0, 1, (rows, columns), tensor.dtype)
        tensor[...] = (gain * z / np.sqrt(max(rows, columns))).reshape(tensor.shape)
    return tensor


class TestOrthogonal(InitializerParity):
    numpy, torch = ours.orthogonal_, theirs.orthogonal_
    configs = grid(gain=[1, -0.5, 0, 5 / 3])
    shapes = ((3, 5), (6, 2), (4, 4), (1, 1), (1, 7), (2, 3, 4), (0, 3), (17, 9))
    draws = "orthogonal_"
    refusals = [
        Refusal({}, (np.zeros(3),), r"2 or more dimensions, got shape \(3,\)"),
        Refusal({}, (np.zeros(()),), "dimensions"),
    ]
    mistakes = {
        "signs left as they come": Mistake(
            signs_left,
            "Written as `np.linalg.qr(z)[0]`; LAPACK's signs depend on how it reflects.",
            "Matrices are orthogonal, but not drawn evenly from all of them.",
        ),
        "wide drawn tall": Mistake(
            wide_not_transposed,
            "A classic slip: a wide matrix is drawn tall and turned, not turned and factored.",
            "Right in law; from one seed the numbers are not torch's.",
        ),
        "gain squared": Mistake(
            gain_squared,
            "A classic slip: the gain multiplies the variance.",
            "Signals grow by the gain in every layer.",
        ),
        "normal, not orthogonal": Mistake(
            not_factored,
            "A classic slip: the draw is scaled and never factored.",
            "Some directions vanish and others explode, in a recurrence at every step.",
        ),
    }


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_from_one_seed_only_the_qr_parts_the_sides(dtype):
    for seed, shape in enumerate([(3, 5), (40, 41), (41, 40), (30, 30), (128, 64)]):
        streams = Generator().manual_seed(seed), torch.Generator().manual_seed(seed)
        condition = np.linalg.cond(streams[0].clone_state().normal(0, 1, shape, dtype))
        x = ours.orthogonal_(np.empty(shape, dtype), generator=streams[0])
        y = theirs.orthogonal_(torch.from_numpy(np.empty(shape, dtype)), generator=streams[1])
        assert np.abs(x - y.numpy()).max() <= 4 * np.finfo(dtype).eps * condition
        assert same_stream(*streams)


def test_the_shorter_side_is_orthonormal():
    for shape in ((30, 50), (50, 30), (40, 40)):
        weight = ours.orthogonal_(np.zeros(shape), 2.0)
        gram = weight @ weight.T if shape[0] < shape[1] else weight.T @ weight
        np.testing.assert_allclose(gram, 4 * np.eye(len(gram)), atol=1e-13)


def test_one_seed_gives_torchs_matrix_up_to_what_two_qr_round():
    for dtype, near in ((np.float32, 1e-5), (np.float64, 1e-13)):
        weight = ours.orthogonal_(np.zeros((7, 4), dtype), generator=Generator().manual_seed(3))
        tensor = torch.from_numpy(np.zeros((7, 4), dtype))
        theirs.orthogonal_(tensor, generator=torch.Generator().manual_seed(3))
        np.testing.assert_allclose(weight, tensor.numpy(), rtol=0, atol=near)


def test_a_singular_draw_ends_as_in_torch():
    given = {"normal": np.zeros(20), "uniform": np.zeros(20)}
    tensor = torch.ones(3, 3, dtype=torch.float64)
    with handed(given):
        theirs.orthogonal_(tensor)
    weight = ours.orthogonal_(np.ones((3, 3)), generator=Handed(given))
    np.testing.assert_array_equal(weight, tensor.numpy())
