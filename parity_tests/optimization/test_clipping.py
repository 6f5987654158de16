"""Clipping by norm and by value, and its place between backward and step."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from numpy_impl.module import Parameter
from numpy_impl.optimization import SGD, AdamW
from numpy_impl.optimization import clipping as ours
from parity_tests.harness import REGIMES, Mistake, RuleCase
from parity_tests.harness.bridge import to_numpy, to_torch
from parity_tests.harness.budget import compare
from parity_tests.harness.refusal import raises, refused, says
from torch_impl.optimization import clipping as theirs

SHAPES = (3, 4), (4,), (), (1, 5)
CLIPPED = {**REGIMES, "vanishing": lambda rng, shape: 1e-8 * rng.standard_normal(shape)}
NORMS = 2.0, 1.0, float("inf"), "inf", 3.0, 0.5, 0.0, -1.0, float("-inf")


def gradients(rng, regime, shapes=SHAPES):
    return {f"gradient {i}": np.asarray(regime(rng, s)) for i, s in enumerate(shapes)}


def parameters(given):
    """Parameters of both kinds with these gradients, the second without one, and frozen."""
    a, b = [], []
    for i, g in enumerate(given.values()):
        a.append(Parameter(np.zeros_like(g), requires_grad=i != 2))
        b.append(torch.nn.Parameter(torch.zeros(g.shape, dtype=to_torch(g).dtype), i != 2))
        if i != 1:
            a[-1].grad, b[-1].grad = g.copy(), to_torch(g)
    return a, b


def left(params):
    return {f"gradient {i}": to_numpy(p.grad) for i, p in enumerate(params) if p.grad is not None}


class ClipCase(RuleCase):
    """Both sides clip the same gradients, in every regime and both dtypes."""

    def agrees(self, log, rng, *args, regimes=None, shapes=SHAPES):
        for name in regimes or CLIPPED:
            given = gradients(rng, CLIPPED[name], shapes)

            def run_ours(g):
                params, _ = parameters(g)
                norm = type(self).numpy(params, *args)
                found = {} if norm is None else {"forward norm": norm}
                return found | left(params)

            def run_theirs(g):
                _, params = parameters(g)
                norm = type(self).torch(params, *args)
                found = {} if norm is None else {"forward norm": to_numpy(norm)}
                return found | left(params)

            for dtype in ("float64", "float32"):
                log.compare(compare(run_ours, run_theirs, given, dtype), f"{name} {args}")


def per_array(parameters, max_norm, norm_type=2.0, error_if_nonfinite=False):
    norm = ours.get_total_norm([p.grad for p in parameters if p.grad is not None], norm_type)
    for p in parameters:
        ours.clip_grad_norm_(p, max_norm, norm_type)
    return norm


def scaled(factor, norm_of=ours.get_total_norm):
    def clip(parameters, max_norm, norm_type=2.0, error_if_nonfinite=False):
        grads = [p.grad for p in parameters if p.grad is not None]
        norm = norm_of(grads, norm_type)
        with np.errstate(all="ignore"):
            for g in grads:
                g *= float(factor(max_norm, norm))
        return norm

    return clip


def mean_square(grads, norm_type):
    flat = np.concatenate([g.reshape(-1) for g in grads])
    return np.asarray(np.sqrt(np.mean(flat**2)))


def clipped_norm(parameters, max_norm, norm_type=2.0, error_if_nonfinite=False):
    norm = ours.clip_grad_norm_(parameters, max_norm, norm_type)
    return np.minimum(norm, np.asarray(max_norm, norm.dtype))


class TestClipGradNorm(ClipCase):
    numpy, torch = staticmethod(ours.clip_grad_norm_), staticmethod(theirs.clip_grad_norm_)
    mistakes = {
        "each array by its own norm": Mistake(
            per_array,
            "numpy-ml and Keras's clipnorm clip each array for itself.",
            "The direction of the step changes: small layers gain on large ones.",
        ),
        "scaled up, too": Mistake(
            scaled(lambda m, n: m / (n + 1e-6)),
            "A classic slip: the minimum with 1 is forgotten.",
            "Small gradients are blown up to max_norm: training never settles.",
        ),
        "without 1e-6": Mistake(
            scaled(lambda m, n: 1.0 if n <= m else m / n),
            "The formula as papers have it; torch adds 1e-6 to the norm.",
            "Off by 1e-6 over the norm: it shows in comparisons, and for tiny gradients.",
        ),
        "1e-6 only against zero": Mistake(
            scaled(lambda m, n: min(m / max(n, 1e-6), 1.0)),
            "Written as `max(norm, eps)`; torch adds.",
            "Off by 1e-6 over the norm.",
        ),
        "root mean square": Mistake(
            scaled(lambda m, n: min(m / (n + 1e-6), 1.0), mean_square),
            "A classic slip: the mean of squares for their sum.",
            "A large model is hardly ever clipped.",
        ),
        "returns the norm after clipping": Mistake(
            clipped_norm,
            "A classic slip: the norm is measured again for the log.",
            "The log shows max_norm wherever it was exceeded.",
        ),
    }

    def check_agrees_in_every_regime(self, log, rng):
        for max_norm in (0.7, 7, float("inf"), 0.0, 1e-9):
            self.agrees(log, rng, max_norm)

    def check_agrees_for_every_norm(self, log, rng):
        for norm_type in NORMS:
            self.agrees(log, rng, 0.7, norm_type, regimes=["unit", "zeros", "tiny"])

    def check_agrees_on_large_and_empty_arrays(self, log, rng):
        self.agrees(log, rng, 1.0, shapes=((300, 301), (2,), (70, 3)), regimes=["unit", "offset"])
        for norm_type in (0.0, 0.5, 1.0, 2.0, 3.0):
            self.agrees(log, rng, 1.0, norm_type, shapes=((0, 3), (2,), (3,)), regimes=["unit"])

    def check_a_single_parameter_a_generator_and_none(self, log, rng):
        for g in (np.array([3.0, 4.0]), None):
            p, q = Parameter(np.zeros(2)), torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))
            p.grad, q.grad = g, None if g is None else to_torch(g)
            for a, b in ((p, q), ((x for x in [p]), (x for x in [q])), ([p], [q]), ([], [])):
                norm, wanted = type(self).numpy(a, 2.0), type(self).torch(b, 2.0)
                log.require(isinstance(norm, np.ndarray) and norm.shape == (), f"got {norm!r}")
                log.require(str(norm.dtype) == str(wanted.dtype)[6:], f"{norm.dtype} {wanted}")
                log.require(np.isclose(norm, float(wanted), rtol=1e-14), f"{norm}, {wanted}")
        nobody: list[Parameter] = []
        with pytest.warns(UserWarning, match="empty generator") as caught:
            ours.clip_grad_norm_((x for x in nobody), 2.0)
        log.require(caught[0].filename == __file__, f"it points at {caught[0].filename}")
        log.require(type(self).numpy(iter([p]), 2.0).shape == (), "an iterator")

    def check_nan_and_infinity_spread_as_in_torch(self, log, rng):
        bad = [np.array([np.nan, 1.0]), np.array([np.inf, 1.0]), np.array([1e200, -1e200])]
        for norm_type in (2.0, 1.0, float("inf"), 3.0):
            for g in bad:
                given = {"a": g, "b": np.ones(1), "c": np.array([1.0, -2.0])}
                a, b = parameters(given)
                norm = type(self).numpy(a, 1.0, norm_type)
                wanted = type(self).torch(b, 1.0, norm_type)
                log.require(np.array_equal(norm, to_numpy(wanted), True), f"{norm}, torch {wanted}")
                for k, x in left(b).items():
                    log.require(
                        np.allclose(left(a)[k], x, equal_nan=True), f"{g} {k}: {left(a)[k]}"
                    )
        narrow = {"a": np.full(3, 1e30, np.float32)}
        a, b = parameters(narrow)
        norm, wanted = type(self).numpy(a, 1.0), type(self).torch(b, 1.0)
        log.require(float(norm) == float(wanted) == np.inf, f"float32 1e30: {norm}, torch {wanted}")

    def check_refusals(self, log, rng):
        p = Parameter(np.zeros(2))
        p.grad = np.array([np.inf, 1.0])
        q = torch.nn.Parameter(torch.zeros(2))
        q.grad = torch.tensor([float("inf"), 1.0])
        said = refused(lambda: type(self).numpy([p], 1.0, error_if_nonfinite=True))
        log.require(
            said is not None and says(said, r"order 2.0 .* non-finite \(inf\)"), f"said {said!r}"
        )
        log.require(
            raises(lambda: type(self).torch([q], 1.0, error_if_nonfinite=True)), "torch goes on"
        )
        log.require(np.array_equal(p.grad, [np.inf, 1.0]), "refused, yet clipped")
        p.grad = np.ones(2)
        for bad in (-1.0, float("nan")):  # torch turns the gradients round, or makes them NaN
            said = refused(partial(type(self).numpy, [p], bad))
            log.require(said is not None and says(said, f"at least 0, got {bad}"), f"said {said!r}")
        wrong: list[Any] = [np.ones(2)]
        said = refused(partial(type(self).numpy, wrong, 1.0))
        log.require(said is not None and says(said, "Parameters .* ndarray"), f"said {said!r}")
        p.grad = np.zeros((0, 2))
        for norm_type in (float("inf"), -1.0, float("-inf")):
            said = refused(partial(type(self).numpy, [p], 1.0, norm_type))
            told = says(said or "", rf"shape \(0, 2\), has no norm of order {float(norm_type)}")
            log.require(told, f"said {said!r}")
            log.require(raises(type(self).torch, [_empty()], 1.0, norm_type), "torch takes it")


def _empty():
    q = torch.nn.Parameter(torch.zeros(0, 2))
    q.grad = torch.zeros(0, 2)
    return q


def one_sided(parameters, clip_value):
    for p in parameters:
        if p.grad is not None:
            np.minimum(p.grad, clip_value, out=p.grad)


def to_zero(parameters, clip_value):
    for p in parameters:
        if p.grad is not None:
            p.grad[np.abs(p.grad) > clip_value] = 0


class TestClipGradValue(ClipCase):
    numpy, torch = staticmethod(ours.clip_grad_value_), staticmethod(theirs.clip_grad_value_)
    mistakes = {
        "from above only": Mistake(
            one_sided,
            "Written with `np.minimum` alone.",
            "Large negative gradients go through.",
        ),
        "sets to zero": Mistake(
            to_zero,
            "A classic slip: what is too large is masked out.",
            "The worst mistakes are not learnt from.",
        ),
    }

    def check_agrees_in_every_regime(self, log, rng):
        for value in (0.5, 1e4, 0.0, 3):
            self.agrees(log, rng, value)

    def check_nan_stays_and_infinity_is_bounded(self, log, rng):
        a, b = parameters({"a": np.array([np.nan, np.inf, -np.inf, 0.2])})
        type(self).numpy(a[0], 1)
        type(self).torch(b[0], 1)
        log.require(
            np.array_equal(a[0].grad, to_numpy(b[0].grad), True), f"{a[0].grad} {b[0].grad}"
        )

    def check_refusals(self, log, rng):
        p, q = Parameter(np.zeros(2)), torch.nn.Parameter(torch.zeros(2))
        said = refused(partial(type(self).numpy, [p], 1.0))
        log.require(says(said or "", "wants a gradient to clip"), f"said {said!r}")
        log.require(raises(type(self).torch, [q], 1.0), "torch: nothing to clip")
        p.grad = np.array([3.0, -3.0])
        for bad in (-1.0, float("nan")):  # torch makes every element the same
            said = refused(partial(type(self).numpy, [p], bad))
            log.require(said is not None and says(said, f"at least 0, got {bad}"), f"said {said!r}")
        log.require(np.array_equal(p.grad, [3.0, -3.0]), "refused, yet clipped")


class TestTotalNorm(RuleCase):
    numpy, torch = staticmethod(ours.get_total_norm), staticmethod(theirs.get_total_norm)
    covers = (ours.clip_grads_with_norm_,)

    def check_the_norm_of_all_and_scaling_by_it(self, log, rng):
        for norm_type in NORMS:
            given = gradients(rng, REGIMES["unit"])

            def run_ours(g, p=norm_type):
                params, _ = parameters(g)
                norm = type(self).numpy([x.grad for x in params if x.grad is not None], p)
                ours.clip_grads_with_norm_(params, 0.3, norm)
                return {"forward norm": norm} | left(params)

            def run_theirs(g, p=norm_type):
                _, params = parameters(g)
                norm = type(self).torch([x.grad for x in params if x.grad is not None], p)
                theirs.clip_grads_with_norm_(params, 0.3, norm)
                return {"forward norm": to_numpy(norm)} | left(params)

            for dtype in ("float64", "float32"):
                log.compare(compare(run_ours, run_theirs, given, dtype), f"norm {norm_type}")

    def check_one_array_no_array_and_two_dtypes(self, log, rng):
        given: list[Any] = [
            np.array([3.0, 4.0]),
            np.array(-3.0),
            [],
            [np.ones(4, np.float32), np.ones(3)],
        ]
        for tensors in given:
            norm, wanted = type(self).numpy(tensors), type(self).torch(to_torch(tensors))
            log.require(str(norm.dtype) == str(wanted.dtype)[6:], f"{norm.dtype}, torch {wanted}")
            log.require(np.isclose(norm, float(wanted), rtol=1e-7), f"{norm}, torch {wanted}")

    def check_refusals(self, log, rng):
        bad = [np.array([np.nan])]
        log.require(raises(lambda: type(self).numpy(bad, 2.0, True), error=RuntimeError), "NaN")
        log.require(raises(lambda: type(self).torch(to_torch(bad), 2.0, True)), "torch: NaN")
        p = Parameter(np.zeros(1))
        p.grad = np.ones(1)
        said = refused(partial(ours.clip_grads_with_norm_, [p], -1.0, np.ones(())))
        log.require(says(said or "", "max_norm must be at least 0, got -1.0"), f"said {said!r}")
        ours.clip_grads_with_norm_([p], 0.0, np.ones(()))
        log.require(p.grad == 0, "max_norm 0")

    mistakes = {
        "sum of the norms": Mistake(
            lambda tensors, norm_type=2.0, error_if_nonfinite=False: np.sum(
                [ours.get_total_norm(g, norm_type) for g in tensors]
            ),
            "A classic slip: norms are added, where their squares are meant.",
            "The more arrays, the earlier it clips.",
        ),
        "no root": Mistake(
            lambda tensors, norm_type=2.0, error_if_nonfinite=False: (
                ours.get_total_norm(tensors, norm_type, error_if_nonfinite) ** 2
            ),
            "A classic slip: the root of the sum is forgotten.",
            "Gradients above 1 are clipped too hard, those below hardly.",
        ),
    }


def steps_first(optimizer, max_norm, norm_type=2.0):
    optimizer.step()
    params = [p for group in optimizer.param_groups for p in group["params"]]
    return ours.clip_grad_norm_(params, max_norm, norm_type, error_if_nonfinite=True)


def by_group(optimizer, max_norm, norm_type=2.0):
    for group in optimizer.param_groups:
        norm = ours.clip_grad_norm_(group["params"], max_norm, norm_type, error_if_nonfinite=True)
    optimizer.step()
    return norm


def lets_nan_through(optimizer, max_norm, norm_type=2.0):
    params = [p for group in optimizer.param_groups for p in group["params"]]
    norm = ours.clip_grad_norm_(params, max_norm, norm_type)
    optimizer.step()
    return norm


class TestClippedStep(RuleCase):
    numpy, torch = staticmethod(ours.clipped_step), staticmethod(theirs.clipped_step)
    mistakes = {
        "clips after the step": Mistake(
            steps_first,
            "A classic slip of order: backward, step, clip.",
            "Nothing is clipped.",
        ),
        "each group by its own norm": Mistake(
            by_group,
            "A loop over the groups, as one is used to from the optimizer.",
            "Groups are clipped by different factors, and the direction changes.",
        ),
        "lets NaN through": Mistake(
            lets_nan_through,
            "torch's default, error_if_nonfinite=False.",
            "One NaN makes all gradients NaN, and then all weights.",
        ),
    }

    def check_parameters_after_three_steps(self, log, rng):
        def run(side, make, clip, g):
            params = parameters(g)[side]
            optimizer = make([{"params": params[:2]}, {"params": params[2:], "lr": 0.02}], lr=0.1)
            found = {}
            for i in range(3):
                norm = clip(optimizer, 1.5) if i else clip(optimizer, 1.5, 1.0)
                found[f"step norm {i}"] = to_numpy(norm)
                data = [to_numpy(p.data) for p in params]
                found |= {f"step parameter {k} {i}": x.copy() for k, x in enumerate(data)}
            return found

        for mine, yours in ((SGD, torch.optim.SGD), (AdamW, torch.optim.AdamW)):
            for dtype in ("float64", "float32"):
                found = compare(
                    partial(run, 0, mine, type(self).numpy),
                    partial(run, 1, yours, type(self).torch),
                    gradients(rng, REGIMES["unit"]),
                    dtype,
                )
                log.compare(found, mine.__name__)

    def check_nothing_moves_on_nan(self, log, rng):
        p = Parameter(np.ones(2))
        p.grad = np.array([np.nan, 1.0])
        q = torch.nn.Parameter(torch.ones(2))
        q.grad = torch.tensor([float("nan"), 1.0])
        log.require(raises(type(self).numpy, SGD([p]), 1.0, error=RuntimeError), "went on")
        log.require(raises(type(self).torch, torch.optim.SGD([q]), 1.0), "torch went on")
        log.require(np.array_equal(p.data, np.ones(2)), "moved")
        log.require(np.array_equal(p.grad, [np.nan, 1.0], True), "clipped")
