"""The minimiser: the same points on both sides, and the minimum to the last digits."""

import functools

import numpy as np
import pytest
import torch

from numpy_impl import nn
from numpy_impl.tuning import lbfgs as ours
from parity_tests.harness import Mistake, RuleCase
from parity_tests.harness.refusal import refused
from torch_impl.tuning import lbfgs as theirs


def rosenbrock(x):
    return 100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2


def rosenbrock_slope(x):
    g = np.zeros_like(x)
    g[1:] += 200 * (x[1:] - x[:-1] ** 2)
    g[:-1] -= 400 * x[:-1] * (x[1:] - x[:-1] ** 2) + 2 * (1 - x[:-1])
    return g


A = np.array([[4.0, 1.0, 0.0], [1.0, 3.0, -1.0], [0.0, -1.0, 300.0]])
PROBLEMS = {
    "valley": (lambda x: rosenbrock(x).sum(), rosenbrock_slope, [-1.2, 1.0, 0.7]),
    "bowl": (lambda x: 0.5 * x @ A @ x - x.sum(), lambda x: A @ x - 1, [3.0, -1.0, 0.2]),
    "wave": (
        lambda x: (x * x / 10 - x.cos()).sum() if hasattr(x, "sin") else
        (x * x / 10 - np.cos(x)).sum(),
        lambda x: x / 5 + np.sin(x),
        [2.5, -0.3],
    ),
}  # fmt: skip


def run(minimize, name, steps=None, **options):
    """Where it ends, the value there, and how often the closure was called."""
    f, slope, start = PROBLEMS[name]
    p = nn.Parameter(np.array(start))
    calls: list[float] = []

    def closure():
        p.grad = slope(p.data)
        calls.append(float(f(p.data)))
        return calls[-1]

    value = minimize(closure, [p], **options)
    return p.data, value, calls


def run_torch(name, **options):
    f, _, start = PROBLEMS[name]
    p = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    a = torch.from_numpy(A)
    calls: list[float] = []

    def closure():
        p.grad = None
        value = 0.5 * p @ a @ p - p.sum() if name == "bowl" else f(p)
        value.backward()
        calls.append(value.item())
        return value

    value = theirs.minimize(closure, [p], **options)
    return p.detach().numpy(), value, calls


def sines(seed):
    """A value and a slope that have nothing to do with each other, in one to three dimensions."""
    rng = np.random.default_rng(seed)
    d = seed % 3 + 1
    w, u = rng.normal(size=(2, 4, d)) * rng.choice([0.3, 1.0, 4.0], size=(2, 4, 1))
    a, b = rng.normal(size=(2, 4))
    lie = rng.choice([0.0, 0.5, 5.0])
    return (
        lambda x: float(a @ np.sin(w @ x) + 0.05 * x @ x),
        lambda x: (a * np.cos(w @ x)) @ w + 0.1 * x + lie * ((b * np.cos(u @ x)) @ u),
        rng.normal(size=d) * 3,
    )


def line(value, slope, start):
    """Of one number."""
    return lambda x: float(value(x[0])), lambda x: np.array([slope(x[0])]), np.array([start])


def bumps(seed):
    """Downhill for ever over waves, by a slope that does not feel them."""
    rng = np.random.default_rng([7, seed])
    high, often = rng.uniform(0.2, 12), rng.choice([0.2, 1, 3])
    shift, steep = rng.uniform(0, 3), rng.choice([0.05, 0.3, 1, 3])
    lie = rng.choice([0, 0.3, 0.95, 2])
    return line(
        lambda x: -steep * x + steep * high * np.sin(often * x + shift) * 0.5,
        lambda x: -steep * (1 + lie * np.sin(x / 3 + shift)),
        0.0,
    )


def stairs(seed):
    """Down to 0 by steps that are level, by a slope that is not."""
    rng = np.random.default_rng([8, seed])
    steps, steep = rng.choice([1, 2, 4, 8, 16]), rng.choice([0.1, 0.3, 1.0, 4.0])
    lie, start = rng.choice([0, 0.2, 1]), rng.uniform(0.2, 4)
    return line(
        lambda x: np.floor(abs(x) * steps) / steps,
        lambda x: np.sign(x) * steep + lie * np.sin(5 * x),
        start,
    )


HARD = {
    "far away": line(lambda x: (x - 5e4) ** 2 / 1e4, lambda x: (x - 5e4) / 5e3, 0.0),
    "a hill first": line(
        lambda x: -x * x / 2 if x < 8 else (x - 16) ** 2 / 2 - 64,
        lambda x: -x if x < 8 else x - 16,
        0.5,
    ),
    "a cusp": line(lambda x: abs(x) ** 1.1, lambda x: 1.1 * np.sign(x) * abs(x) ** 0.1, 3.0),
    "a corner": line(lambda x: max(x, -3 * x), lambda x: 1.0 if x > 0 else -3.0, 0.7),
    "stairs": line(lambda x: np.floor(x * 8) / 8, lambda x: 1.0, 2.0),
    "flat, sloped by its own account": line(lambda x: 1.0, lambda x: x, 2.0),
    "just gentle enough": line(lambda x: x * x, lambda x: 10.0 if x > 2.5 else 9.0, 3.0),
    "steep again soon": line(lambda x: x, lambda x: 0.3 if x > 2.8 else -0.9, 3.0),
    "falls by less than it says": line(lambda x: 1e-5 * (x + x * x), lambda x: 1.0, 0.0),
    "falls by just enough": line(lambda x: 1e-4 * x, lambda x: 1.0, 0.0),
    "curved by what does not count": line(
        lambda x: x, lambda x: 2**-17 - (1e-10 * 2**17 if x < 1 else 0.0), 1.0
    ),
    "no end": line(lambda x: -x, lambda x: -1.0, 0.0),
    "almost level": line(lambda x: x, lambda x: 5e-7, 0.0),
    "as level as counts": line(lambda x: x, lambda x: 1e-6, 0.0),
    "falls by nothing": line(lambda x: 1 + x / 6e7, lambda x: 3e-5 if x >= 1 else 1e-5, 1.0),
    "falls by what counts": line(
        lambda x: 1e-12 if x >= 1 else 0.0, lambda x: 3e-5 if x >= 1 else 1e-5, 1.0
    ),
    "moves by nothing": line(lambda x: 1e14 * x, lambda x: 1e14 if x >= 3 else 100.0, 3.0),
    **{f"sines {seed}": sines(seed) for seed in range(30)},
    # and some that take turns of the search which few do
    **{f"waves {seed}": sines(seed) for seed in (831, 1320, 1417)},
    **{f"bumps {seed}": bumps(seed) for seed in (309, 468)},
    "stairs 115": stairs(115),
}


def places(minimize, name, **options):
    """The value at the end, and where the closure was called, each place once."""
    f, slope, start = HARD[name]
    p, seen = nn.Parameter(start.copy()), dict[bytes, np.ndarray]()

    def closure():
        seen.setdefault(p.data.tobytes(), p.data.copy())
        p.grad = slope(p.data)
        return f(p.data)

    value = minimize(closure, [p], **options)
    return value, np.array(list(seen.values()))


@functools.cache
def torchs_places(name, **options):
    f, slope, start = HARD[name]
    p, seen = torch.tensor(start, requires_grad=True), dict[bytes, np.ndarray]()

    def closure():
        x = p.detach().numpy()
        seen.setdefault(x.tobytes(), x.copy())
        p.grad = torch.from_numpy(slope(x))
        return torch.tensor(f(x), dtype=torch.float64)

    value = theirs.minimize(closure, [p], **options)
    return value, np.array(list(seen.values()))


def no_polish(closure, parameters, max_iter=200, tolerance=1e-10):
    polish, ours.POLISH = ours.POLISH, 0
    try:
        return ours.minimize(closure, parameters, max_iter, tolerance)
    finally:
        ours.POLISH = polish


def steepest(closure, parameters, max_iter=200, tolerance=1e-10):
    remember = ours._remember
    ours._remember = lambda pairs, s, y: None
    try:
        return ours.minimize(closure, parameters, max_iter, tolerance)
    finally:
        ours._remember = remember


def value_only(closure, parameters, max_iter=200, tolerance=1e-10):
    """The best value seen is returned, the parameters stay where the last try put them."""
    seen: list[float] = []

    def noted():
        seen.append(closure())
        return seen[-1]

    ours.minimize(noted, parameters, max_iter, tolerance)
    for p in parameters:
        p.data += 1e-6
    return min(seen)


class TestMinimize(RuleCase):
    numpy, torch = ours.minimize, theirs.minimize
    mistakes = {
        "stopped where values stop falling": Mistake(
            no_polish,
            "Every stopping rule on the change of the value.",
            "Eight digits of the place are right, where sixteen of the value are.",
        ),
        "no memory of the curvature": Mistake(
            steepest,
            "Plain gradient descent with a line search.",
            "In a narrow valley two hundred steps lead nowhere near the minimum.",
        ),
        "parameters left at the last try": Mistake(
            value_only,
            "Line searches that move the parameters and return the best value seen.",
            "What is used afterwards is not what the value belongs to.",
        ),
    }

    def check_the_search_takes_torchs_way(self, log, rng):
        for name in PROBLEMS:
            _, _, ours_ = run(type(self).numpy, name)
            _, _, theirs_ = run_torch(name)
            n = min(len(ours_), 12)  # later, rounding has grown; torch asks once more at the start
            gap = np.abs(np.array(ours_[:n]) - theirs_[1 : n + 1]).max()
            log.require(gap < 1e-8, f"{name}: values tried are {gap:.1e} apart")

    def check_hard_ones_are_searched_where_torch_searches(self, log, rng):
        parted = []
        for name in HARD:
            for max_iter in (2, 20):
                value, a = places(type(self).numpy, name, max_iter=max_iter)
                other, b = torchs_places(name, max_iter=max_iter)
                log.require(isinstance(value, float), f"{name}: the value is {value}")
                gap = np.abs(np.array(value) - other) / (1 + abs(other))
                if a.shape == b.shape:
                    gap = max(gap, (np.abs(a - b) / (1 + np.abs(b))).max())
                if not (a.shape == b.shape and gap <= 1e-7):
                    parted.append(f"{name}, {max_iter} iterations: {len(a)} places, {len(b)}")
        sines = [p for p in parted if p.startswith("sines")]
        log.require(parted == sines, f"{parted}")
        # where a slope is a lie, what rounding leaves may decide between two steps
        log.require(len(sines) <= 4, f"{len(sines)} of 60: {sines}")

    def check_the_memory_is_as_long_as_torchs(self, log, rng):
        stretched, lengths = np.geomspace(1e-2, 1e3, 120), []
        p = nn.Parameter(rng.standard_normal(120))

        def closure():
            p.grad = stretched * p.data
            return float(p.data @ p.grad) / 2

        product = ours._times_inverse_hessian

        def watched(pairs, g):
            lengths.append(len(pairs))
            return product(pairs, g)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ours, "_times_inverse_hessian", watched)
            type(self).numpy(closure, [p])
        wanted = torch.optim.LBFGS([torch.ones(1)]).defaults["history_size"]
        log.require(max(lengths) == wanted < len(lengths), f"{max(lengths)}, wanted {wanted}")

    def check_both_end_at_the_minimum_to_the_last_digits(self, log, rng):
        wanted = {"valley": np.ones(3), "bowl": np.linalg.solve(A, np.ones(3)), "wave": None}
        for name, place in wanted.items():
            x, value, _ = run(type(self).numpy, name)
            other, other_value, _ = run_torch(name)
            log.require(np.abs(x - other).max() < 1e-11, f"{name}: {x}, torch side {other}")
            log.require(abs(value - other_value) < 1e-13, f"{name}: {value} and {other_value}")
            log.require(float(PROBLEMS[name][0](x)) == value, f"{name}: the value is not that of x")
            if place is not None:
                log.require(np.abs(x - place).max() < 1e-11, f"{name}: {x}, wanted {place}")

    def check_several_parameters_are_moved_as_one_and_those_without_a_gradient_stay(self, log, rng):
        goal = np.arange(6.0)
        shapes = (2, 2), (1,), (), (1, 1)
        start = [rng.normal(size=shape) for shape in shapes]
        ps = [nn.Parameter(x if x.shape else np.float32(x)) for x in start]
        ts = [torch.tensor(p.data, requires_grad=True) for p in ps]

        def closure():
            x = np.concatenate([p.data.ravel() for p in (*ps[:2], ps[3])])
            ps[0].grad, ps[1].grad = (x - goal)[:4].reshape(2, 2), (x - goal)[4:5]
            ps[3].grad = (x - goal)[5:].reshape(1, 1)
            return float(((x - goal) ** 2).sum() / 2)

        def torchs():
            x = torch.cat([t.flatten() for t in (*ts[:2], ts[3])])
            value = ((x - torch.from_numpy(goal)) ** 2).sum() / 2
            for t in ts:
                t.grad = None
            value.backward()
            return value

        value, other = type(self).numpy(closure, ps), theirs.minimize(torchs, ts)
        log.require(abs(value) < 1e-20 and abs(other) < 1e-20, f"{value} and {other}")
        for p, t, shape in zip(ps, ts, shapes):
            log.require(p.shape == shape == tuple(t.shape), f"shapes {p.shape} and {t.shape}")
            gap = np.abs(p.data - t.detach().numpy()).max()
            log.require(gap < 1e-12, f"{p.data} and {t}")
        log.require(ps[2].data == np.float32(start[2]), "a parameter without a gradient moved")

    def check_a_gradient_just_as_small_as_wanted_is_small_enough(self, log, rng):
        p, q = nn.Parameter(np.ones(2)), torch.ones(2, requires_grad=True)

        def closure():
            p.grad = 0.5 * p.data
            return float((p.data**2).sum()) / 4

        def torchs():
            q.grad = None
            value = (q**2).sum() / 4
            value.backward()
            return value

        value = type(self).numpy(closure, [p], tolerance=0.5)
        other = theirs.minimize(torchs, [q], tolerance=0.5)
        log.require(value == other == 0.5, f"{value} and {other}")
        log.require((p.data == 1).all() and (q == 1).all(), f"moved to {p.data}, {q}")

    def check_a_start_at_the_minimum_stays_there(self, log, rng):
        p = nn.Parameter(np.zeros((2, 2)))

        def closure():
            p.grad = 2 * p.data
            return float((p.data**2).sum())

        value = type(self).numpy(closure, [p])
        log.require(value == 0 and not p.data.any(), f"moved to {p.data}")

    def check_nan_at_the_start_is_refused(self, log, rng):
        p, q = nn.Parameter(np.ones(2)), torch.ones(2, requires_grad=True)

        def closure():
            p.grad = np.ones(2)
            return float("nan")

        def torch_closure():
            value = (q * float("nan")).sum()
            value.backward()
            return value

        for call in (lambda: type(self).numpy(closure, [p]),
                     lambda: theirs.minimize(torch_closure, [q])):  # fmt: skip
            try:
                said = refused(call) or ""
            except FloatingPointError as error:
                said = str(error)
            log.require("the value is nan where the search starts" in said, f"said {said!r}")

    def check_a_cliff_of_nan_on_the_way_is_stepped_back_from(self, log, rng):
        p = nn.Parameter(np.array([-3.0]))

        def closure():
            x = p.data[0]
            p.grad = np.array([1 - 1 / (4 + x)]) if x > -4 else np.array([np.nan])
            return float(x - np.log(4 + x)) if x > -4 else float("nan")

        p.data[...] = 40.0
        type(self).numpy(closure, [p])
        log.require(abs(p.data[0] + 3) < 1e-10, f"ended at {p.data}")
