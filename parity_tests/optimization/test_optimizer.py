"""The base that every optimizer stands on, by an optimizer of one's own on either side."""

import copy
import functools
import pickle

import numpy as np
import pytest
import torch

from numpy_impl import nn, optim
from numpy_impl.optimization.optimizer import (
    BLOCK,
    LINE,
    SMALL,
    Optimizer,
    add_product,
    descent,
    lerp,
    refuse_unless,
)
from parity_tests.harness.bridge import to_torch


class SignSGD(Optimizer):
    """p <- p - lr / t * sign(g), t the count of its steps: the least that a subclass writes."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr})

    def update(self, bundle, group):
        t = self.begin(bundle, ["last"])
        for data, g, last, s, _ in self.blocks(bundle, ["last"]):
            np.sign(g, out=last)
            np.multiply(last, group["lr"] / t, out=s)
            data -= s


class TorchSignSGD(torch.optim.Optimizer):
    """The same as an expert would write it."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        loss = None if closure is None else closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    state = self.state[p]
                    state["step"] = state.get("step", torch.zeros(())) + 1
                    state["last"] = p.grad.sign()
                    p.add_(state["last"], alpha=-group["lr"] / state["step"].item())
        return loss


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
        np.testing.assert_array_equal(a.state[p]["step"], b.state[q]["step"].numpy(), strict=True)
    assert a.state_dict()["param_groups"] == b.state_dict()["param_groups"]
    assert repr(a) == repr(b).replace("TorchSignSGD", "SignSGD")
    for twin in (copy.deepcopy(a), pickle.loads(pickle.dumps(a))):
        assert repr(twin) == repr(a) and len(twin.state) == len(a.state)
        assert a._scratch and not twin._scratch and not twin._joined  # made anew when it steps


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


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_small_parameters_come_as_rows_and_large_ones_in_pieces(dtype):
    block = BLOCK // np.dtype(dtype).itemsize  # numbers to a piece
    shapes = [*[(2,)] * 8, (SMALL,), (2,), (SMALL + 1,), (2, block // 2), (3, block // 2), ()]
    assert BLOCK == 2**17 and SMALL == 4096 and LINE == 64  # half of a small cache; a line of it

    class Watched(SignSGD):
        def blocks(self, bundle, names=()):
            for block in super().blocks(bundle, names):
                seen.append(block[0].shape)
                assert all(x.dtype == dtype for x in block)
                s, h = (x.ctypes.data for x in block[-2:])
                assert s % LINE == h % LINE == 0 and h - s <= BLOCK
                yield block

    params = [nn.Parameter(np.ones(shape, dtype)) for shape in shapes]
    optimizer = Watched(params)
    for _ in range(2):
        seen: list[tuple[int, ...]] = []
        for p in params:
            p.grad = np.ones(p.shape, dtype)
        optimizer.step()
        large = [(SMALL + 1,), (2, block // 2), (block,), (block // 2,)]
        assert seen == [(16,), (SMALL + 2 + 1,), *large]
    for n in (1, 2):  # a row of one would only be copied
        few = SignSGD(params[:n])
        few.step()
        assert len(few._joined) == n - 1


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


def test_a_state_that_does_not_fit_is_refused_before_anything_moves():
    ours, _ = parameters(np.random.default_rng(1), [(2,), (3,)])
    optimizer = SignSGD(ours)
    ours[0].grad, ours[1].grad = np.ones(2), np.ones(3)
    optimizer.step()
    optimizer.state[ours[1]]["last"] = np.ones(4)
    before = ours[0].data.copy()
    with pytest.raises(RuntimeError, match=r"last must be like its parameter, \(3,\) .* \(4,\)"):
        optimizer.step()
    np.testing.assert_array_equal(ours[0].data, before)


P, Q = nn.Parameter(np.ones(2)), nn.Parameter(np.ones(2))
UNFIT = [
    (P, TypeError, "iterable of Parameters or dicts, but got Parameter"),
    ([], ValueError, "empty parameter list"),
    ([P, np.ones(2)], TypeError, "one of the params is ndarray"),
    ([{"params": [P]}, 5], TypeError, "must be a dict, but got <class 'int'>"),
    ([{"lr": 1.0}], ValueError, r"needs 'params', got only \['lr'\]"),
    ([{"params": {P}}], TypeError, "wanted a list, got a set"),
    ([("p", P), Q], ValueError, "got 1 names for 2 parameters"),
    ([{"params": [("p", P)]}, {"params": [Q]}], ValueError, "groups should be with/without names"),
    ([P, P], ValueError, "with duplicate parameters"),
    ([{"params": P}, {"params": P}], ValueError, "in more than one parameter group"),
]


@pytest.mark.parametrize(("params", "error", "says"), UNFIT, ids=[u[2] for u in UNFIT])
def test_what_is_no_parameter_is_refused_in_the_constructor(params, error, says):
    with pytest.raises(error, match=says):
        SignSGD(params)

    def theirs(entry):
        if isinstance(entry, list | tuple):
            return type(entry)(map(theirs, entry))
        if isinstance(entry, dict):
            return {k: theirs(v) for k, v in entry.items()}
        return torch.ones(2, requires_grad=True) if isinstance(entry, nn.Parameter) else entry

    if says.startswith(("iterable", "empty", "one", "must", "wanted", "got", "groups")):
        with pytest.raises(error):
            TorchSignSGD(theirs(params))


def test_an_optimizer_without_a_formula_says_so():
    P.grad = np.ones(2)
    with pytest.raises(NotImplementedError, match="^Optimizer has no update"):
        Optimizer([P], {}).step()


@pytest.mark.parametrize("named", [False, True])
def test_a_state_loads_with_its_names_and_leaves_what_was_handed_alone(named):
    def built():
        p, q = (nn.Parameter(np.ones(2)) for _ in range(2))
        return SignSGD([("p", p), ("q", q)] if named else [p, q])

    a, b = built(), built()
    for p in a.param_groups[0]["params"]:
        p.grad = np.ones(2)
    a.step()
    saved = a.state_dict()
    assert saved["param_groups"][0].get("param_names") == (["p", "q"] if named else None)
    saved["param_groups"][0].pop("lr")  # an option that an older file lacks
    saved["param_groups"][0].pop("param_names", None)
    saved["param_groups"][0]["betas"] = [0.9]
    saved["state"] = {i: {**s, "note": [["kept"]], "no": None} for i, s in saved["state"].items()}
    saved["state"][0]["step"] = 1  # a number, in older files still
    saved["state"][1]["step"] = np.array(1, np.int64)
    saved["state"] = {"beside": {"of": "nobody"}} | saved["state"]
    before = copy.deepcopy(saved)
    own = list(b.param_groups[0]["params"])
    b.load_state_dict(saved)
    np.testing.assert_equal(saved, before)
    (group,) = b.param_groups
    assert all(p is q for p, q in zip(group["params"], own, strict=True))
    assert group["lr"] == 0.1 and group.get("param_names") == (["p", "q"] if named else None)
    assert b.state["beside"] == {"of": "nobody"}
    for p, kind in zip(own, (np.float32, np.int64), strict=True):
        assert b.state[p].keys() == {"step", "last", "note"}
        assert b.state[p]["step"] == 1 and b.state[p]["step"].dtype == kind
    b.state[own[0]]["note"][0].append("more")
    group["betas"].append(0.99)
    np.testing.assert_equal(saved, before)
    other = SignSGD([*own, nn.Parameter(np.ones(1))])
    for wrong, says in (
        (other.state_dict(), "doesn't match the size of optimizer's group: wanted 2, got 3"),
        ({**saved, "param_groups": [group, group]}, "different number .* wanted 1, got 2"),
    ):
        with pytest.raises(ValueError, match=says):
            b.load_state_dict(wrong)


def test_the_formulas_that_optimizers_share_are_torchs():
    rng = np.random.default_rng(4)
    x, y, s = rng.standard_normal((3, 50))
    for weight in (0.1, 0.5, 0.7, 1.0):
        average, wanted = x.copy(), torch.lerp(to_torch(x), to_torch(y), weight).numpy()
        lerp(average, y, weight, s)
        np.testing.assert_allclose(average, wanted, rtol=1e-13, atol=1e-15)
        if weight in (0.5, 1.0):  # to the last digit: these products are exact
            np.testing.assert_array_equal(average, wanted)
        average, wanted = x.copy(), weight * x + (1 - weight) * y**2
        add_product(average, y, weight, s)
        np.testing.assert_allclose(average, wanted, rtol=1e-13, atol=1e-15)
    for decay in (0.0, 0.3):
        for maximize, sign in ((False, 1), (True, -1)):
            before, s[:] = y.copy(), np.nan
            found = descent(y, x, decay, maximize, out=s)
            np.testing.assert_allclose(found, sign * y + decay * x, rtol=1e-13)
            assert found is s or (found is y and not decay and not maximize)
            np.testing.assert_array_equal(y, before)
    refuse_unless(True, "lr", -1)
    with pytest.raises(ValueError, match=r"^Invalid lr: -1 \(wanted at least 0\)$"):
        refuse_unless(False, "lr", -1)


def test_what_overflows_is_infinite_in_silence():
    p = nn.Parameter(np.full(2, 3e38, np.float32))
    p.grad = -p.data
    optim.SGD([p], lr=3.0).step()
    assert np.isposinf(p.data).all()


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
        assert optimizer.step(lambda: 3.0) == 3.0
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


def test_a_schedule_is_told_whether_a_step_was_made_before():
    optimizer = SignSGD([nn.Parameter(np.ones(2))])
    with pytest.warns(UserWarning, match="before `optimizer.step"):
        optim.lr_scheduler.ExponentialLR(optimizer, 0.5).step()
    optimizer.step()
    optim.lr_scheduler.ExponentialLR(optimizer, 0.5).step()
