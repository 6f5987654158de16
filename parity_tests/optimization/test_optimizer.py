"""The base that every optimizer stands on, by an optimizer of one's own on either side."""

import copy
import functools
import pickle

import numpy as np
import pytest
import torch

from numpy_impl import nn, optim
from numpy_impl.optimization.optimizer import Optimizer
from parity_tests.harness.bridge import to_torch


class SignSGD(Optimizer):
    """p <- p - lr * sign(g), and a count of steps: the least that a subclass writes."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr})

    def update(self, bundle, group):
        self.begin(bundle, ["last"])
        for data, g, last, s, _ in self.blocks(bundle, ["last"]):
            np.sign(g, out=last)
            np.multiply(last, group["lr"], out=s)
            data -= s


class TorchSignSGD(torch.optim.Optimizer):
    """The same as an expert would write it."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    state = self.state[p]
                    state["step"] = state.get("step", torch.zeros(())) + 1
                    state["last"] = p.grad.sign()
                    p.add_(state["last"], alpha=-group["lr"])


def parameters(rng, shapes):
    """The same start values on both sides."""
    start = [np.asarray(rng.standard_normal(shape)) for shape in shapes]
    return [nn.Parameter(x) for x in start], [torch.nn.Parameter(to_torch(x)) for x in start]


SHAPES = [(3, 4), (), (0, 2), (70, 1000), (5,)]


def test_an_optimizer_of_ones_own_walks_every_parameter_as_torchs_does():
    rng = np.random.default_rng(0)
    ours, theirs = parameters(rng, SHAPES)
    a = SignSGD([{"params": ours[:2]}, {"params": ours[2:], "lr": 0.3}])
    b = TorchSignSGD([{"params": theirs[:2]}, {"params": theirs[2:], "lr": 0.3}])
    for step in range(3):
        for i, (p, q) in enumerate(zip(ours, theirs, strict=True)):
            g = np.asarray(rng.standard_normal(p.shape))
            p.grad, q.grad = (None, None) if (step, i) == (1, 0) else (g, to_torch(g))
        a.step()
        b.step()
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(p.data, q.detach().numpy())
        assert a.state[p].keys() == b.state[q].keys()
        np.testing.assert_array_equal(a.state[p]["step"], b.state[q]["step"].numpy())
    assert a.state_dict()["param_groups"] == b.state_dict()["param_groups"]
    assert repr(a) == repr(b).replace("TorchSignSGD", "SignSGD")
    for twin in (copy.deepcopy(a), pickle.loads(pickle.dumps(a))):
        assert repr(twin) == repr(a) and len(twin.state) == len(a.state)


def test_small_parameters_move_alike_wherever_their_states_lie():
    """States of small parameters are made side by side; loaded, copied or replaced they are not."""
    rng = np.random.default_rng(3)
    shapes = [(3, 4), (), (0, 2), (5,), (70, 80)] * 2
    start, grads = ([rng.standard_normal(s) for s in shapes] for _ in range(2))
    together, apart = ([nn.Parameter(x) for x in start] for _ in range(2))
    a, b = (optim.Adam(side, amsgrad=True) for side in (together, apart))
    for step in range(4):
        for i, (p, q) in enumerate(zip(together, apart, strict=True)):
            p.grad = q.grad = None if (step, i) == (2, 1) else np.asarray(grads[i])
        a.step()
        b.step()
        for p, q in zip(together, apart, strict=True):
            np.testing.assert_array_equal(p.data, q.data)
            for key, array in a.state[p].items():
                np.testing.assert_array_equal(array, b.state[q][key])
        for state in b.state.values():
            state.update({key: array.copy() for key, array in state.items()})


def test_a_gradient_that_does_not_fit_is_refused_and_nothing_moves():
    ours, _ = parameters(np.random.default_rng(1), [(2,), (3,)])
    optimizer = SignSGD(ours)
    before = [p.data.copy() for p in ours]
    for wrong in (np.ones(4), np.ones(3, np.float32)):
        ours[0].grad, ours[1].grad = np.ones(2), wrong
        with pytest.raises(RuntimeError, match=r"gradient must be like its parameter, \(3,\)"):
            optimizer.step()
        for p, data in zip(ours, before, strict=True):
            np.testing.assert_array_equal(p.data, data)
        assert not any(optimizer.state.values())


def test_what_is_no_parameter_is_refused_in_the_constructor():
    p, q = parameters(np.random.default_rng(2), [(2,)])
    for wrong, error in (([], ValueError), (p[0], TypeError), ([np.ones(2)], TypeError)):
        with pytest.raises(error):
            SignSGD(wrong)
    for wrong in ([], q[0]):
        with pytest.raises((ValueError, TypeError)):
            TorchSignSGD(wrong)
    with pytest.raises(ValueError, match="duplicate|more than one"):
        SignSGD([{"params": p}, {"params": p}])
    with pytest.raises(NotImplementedError, match="update"):
        p[0].grad = np.ones(2)
        Optimizer(p, {}).step()


def test_hooks_around_a_step_are_called_as_torchs_are():
    ours, theirs = parameters(np.random.default_rng(3), [(2,)])
    calls: list[list[object]] = []
    for p, make in ((ours[0], SignSGD), (theirs[0], TorchSignSGD)):
        optimizer, seen = make([p]), list[object]()
        p.grad = np.ones(2) if make is SignSGD else torch.ones(2, dtype=torch.float64)
        start = float(np.asarray(p.data)[0])

        def note(o, args, kwargs, name, seen=seen, p=p, start=start, own=optimizer):
            moved = float(np.asarray(p.data)[0]) - start
            seen.append((name, o is own, len(args), kwargs, round(moved, 6)))

        handles = [
            optimizer.register_step_pre_hook(functools.partial(note, name="before")),
            optimizer.register_step_post_hook(functools.partial(note, name="after")),
            optimizer.register_step_post_hook(functools.partial(note, name="after that")),
        ]
        optimizer.step()
        handles[2].remove()
        copy.deepcopy(optimizer).step()
        with handles[0]:
            optimizer.step()
        optimizer.step()
        calls.append(seen)
    assert calls[0] == calls[1]
    assert [entry[0] for entry in calls[0]] == [  # type: ignore[index]
        *("before", "after", "after that"),
        *("before", "after"),
        "after",
    ]
