"""Anybody's NumPy code beside a torch module, function, optimizer or scheduler.

from parity_tests import compare

result = compare(MyLayerNorm, torch.nn.LayerNorm, args=(8,), inputs=((4, 8),))
assert result, result.text()
"""

from __future__ import annotations

import contextlib
import inspect
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from parity_tests.harness.compare import layers, repro
from parity_tests.harness.compare.both_sides import (
    collect,
    fit_cotangents,
    run_trial,
    share_masks,
    single,
    start_from_one,
)
from parity_tests.harness.compare.cause import Cause
from parity_tests.harness.compare.contract import check_contract
from parity_tests.harness.compare.diagnose import declared_only, diagnose
from parity_tests.harness.compare.explain import Comparison
from parity_tests.harness.compare.locate import Gap
from parity_tests.harness.compare.mapping import Uncomparable, connect
from parity_tests.harness.compare.own_code import OwnCode
from parity_tests.harness.compare.own_names import BAGS
from parity_tests.harness.compare.probes import turned
from parity_tests.harness.compare.reference import Reference
from parity_tests.harness.compare.schedule import compare_scheduler
from parity_tests.harness.compare.trajectory import compare_optimizer
from parity_tests.harness.compare.trials import (
    BELOW,
    EXTRA_REGIMES,
    Spec,
    Trial,
    default_specs,
    elsewhere,
    plan,
)

NOT_GIVEN = "mine theirs started threads mine_args mine_kwargs their_args their_kwargs".split()


__all__ = ["Comparison", "Uncomparable", "assert_parity", "compare"]


Array = np.ndarray[Any, np.dtype[Any]]


def compare(
    mine: Any,
    theirs: Any,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    inputs: Sequence[Any] | None = None,
    numpy_args: Sequence[Any] | None = None,
    numpy_kwargs: Mapping[str, Any] | None = None,
    torch_args: Sequence[Any] | None = None,
    torch_kwargs: Mapping[str, Any] | None = None,
    params: Mapping[str, Any] | None = None,
    grads: Mapping[str, str] | None = None,
    backward: Callable[..., Any] | None = None,
    forward_kwargs: Mapping[str, Any] | None = None,
    loss: Any = None,
    target: Any = None,
    taps: Mapping[str, str] | None = None,
    modes: Sequence[str] | None = None,
    regimes: Sequence[str] = EXTRA_REGIMES,
    mistakes: Mapping[str, Any] | None = None,
    steps: int | None = None,
    lr: float | None = None,
    dtype: str = "float64",
    seed: int = 0,
) -> Comparison:
    """Run NumPy code and torch on the same numbers and say whether, where and why they differ.

    Args:
        mine: a function, a class or an object; what its arguments mean is read from their names.
        theirs: a torch module (class or instance), function, optimizer or scheduler class.
        args, kwargs: for both constructors; numpy_* and torch_* for one side only.
        inputs: what goes in, one entry an input: a shape (4, 8), text ("4x8", "5:int10",
            "4x8:unit"), or an array, which is used as it is and sets the kind of the other trials.
        params: NumPy name -> torch key for parameters that names and shapes do not settle; "key.T"
            for stored transposed, "key[1,0,2]" for axes or blocks in another order.
        grads: NumPy parameter name -> name of what holds its gradient, if that is not found.
        backward: the function that gives the gradients, where it stands apart.
        forward_kwargs: further arguments of the NumPy forward.
        loss, target: a torch loss on the output; for code whose backward starts at a target.
        taps: NumPy sub-layer -> torch submodule, to listen inside; found by name or order if both
            sides have the same number.
        modes: "train", "eval"; both, where it matters to torch.
        regimes: kinds of numbers beside ordinary ones.
        mistakes: more suspects by name: wrong stand-ins for `mine`.
        steps: how many steps of an optimizer or a scheduler.
        lr: the rate a scheduler starts from.
        dtype: "float64" (causes are found best there) or "float32".
        seed: of every random number.

    Raises:
        Uncomparable: the two cannot be brought together as called; the message says what is wanted.
    """
    started, threads = time.perf_counter(), torch.get_num_threads()
    kwargs = dict(kwargs or {})
    mine_args = tuple(args if numpy_args is None else numpy_args)
    mine_kwargs = kwargs if numpy_kwargs is None else dict(numpy_kwargs)
    their_args = tuple(args if torch_args is None else torch_args)
    their_kwargs = kwargs if torch_kwargs is None else dict(torch_kwargs)
    given = {k: v for k, v in locals().items() if k not in NOT_GIVEN}
    if dtype not in ("float64", "float32"):
        raise Uncomparable(f"dtype is float64 or float32, got {dtype!r}")
    torch.set_num_threads(1)  # small arrays: threads would only wait for each other
    try:
        kind = _kind(theirs)
        if kind in ("optimizer", "scheduler"):
            run = compare_optimizer if kind == "optimizer" else compare_scheduler
            result = run(
                mine,
                theirs,
                mine_args,
                mine_kwargs,
                their_args,
                their_kwargs,
                same_call=numpy_kwargs is None and numpy_args is None,
                mistakes=mistakes or {},
                steps=steps,
                lr=lr,
                seed=seed,
            )
        else:
            reference = Reference(theirs, their_args, their_kwargs, loss)
            specs = [Spec.of(i) for i in inputs] if inputs is not None else default_specs(reference)
            mine = _own(mine, mine_args, mine_kwargs, backward, grads, forward_kwargs, specs)
            result = _compare_layer(
                mine, reference, specs, params, target, taps, modes, regimes, mistakes, dtype, seed
            )
    finally:
        torch.set_num_threads(threads)
    result.seconds = time.perf_counter() - started
    result.script = repro.script(given, locals()["mine"], theirs)
    return result


def assert_parity(mine: Any, theirs: Any, *args: Any, **kwargs: Any) -> Comparison:
    """`compare`, raising AssertionError with the whole text where the two do not agree."""
    __tracebackhide__ = True
    result = compare(mine, theirs, *args, **kwargs)
    if not result:
        raise AssertionError("\n" + result.text())
    return result


def _kind(theirs: Any) -> str:
    target = theirs if inspect.isclass(theirs) else type(theirs)
    if issubclass(target, torch.optim.Optimizer):
        return "optimizer"
    if issubclass(target, torch.optim.lr_scheduler.LRScheduler):
        return "scheduler"
    return "layer"


def _own(
    mine: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    backward: Any,
    grads: Any,
    forward_kwargs: Any,
    specs: Sequence[Spec],
) -> OwnCode:
    if isinstance(mine, OwnCode):
        return mine
    if not callable(mine) and not hasattr(mine, "forward"):
        raise Uncomparable(f"wanted a NumPy function, class or object, got {type(mine).__name__}")
    if isinstance(mine, torch.nn.Module):
        raise Uncomparable("the first argument is the NumPy side, the second the torch side")
    return OwnCode(mine, args, kwargs, backward, grads, forward_kwargs, len(specs))


def _compare_layer(
    code: OwnCode,
    reference: Reference,
    specs: Sequence[Spec],
    params: Mapping[str, Any] | None,
    target: Any,
    taps: Mapping[str, str] | None,
    modes: Sequence[str] | None,
    regimes: Sequence[str],
    mistakes: Mapping[str, Any] | None,
    dtype: str,
    seed: int,
) -> Comparison:
    result = Comparison(code.name, reference.name, dtype)
    flat, zeroed = _connect(code, reference, params, result)
    sensitive = _mode_matters(reference)
    if sensitive and code.is_function and not code.mode_name and not modes:
        result.notes.append("yours has no switch for training: compared in train mode only")
        sensitive = False
    chosen = list(modes) if modes else ["train", "eval"] if sensitive else ["train"]
    buffers = any(link.key in code.buffers for link in code.links)
    trials = plan(
        specs,
        reference,
        seed,
        flat,
        regimes,
        chosen,
        buffers,
        Spec.of(target) if target is not None else None,
    )
    missing = [k for k in reference.state if k not in {link.key for link in code.links}]

    def complete(trial: Trial) -> Trial:
        for key in missing:
            like = reference.state[key]
            kept = np.zeros(like.shape) if key in zeroed else like
            trial.given[f"state {key}"] = np.asarray(kept, dtype=like.dtype)
        if dtype == "float32":
            trial.given = {k: single(v) for k, v in trial.given.items()}
            trial.warm = [{k: single(v) for k, v in w.items()} for w in trial.warm]
        return trial

    trials = [complete(trial) for trial in trials]
    pairs = layers.pair(code, reference, taps, result.notes)
    fit_cotangents(code, reference, trials, result)
    share_masks(code, reference, trials, result)
    for trial in list(trials):
        try:
            run_trial(code, reference, trial, pairs, dtype)
        except Uncomparable:
            raise
        except Exception as error:
            if trial is trials[0]:
                raise
            result.notes.append(f"not compared, torch raised: {trial.name}: {error}")
            trials.remove(trial)
    collect(code, reference, trials, pairs, result)
    check_contract(code, reference, trials, result)
    if any(g.label == "contract forward" for g in result.gaps):
        told = turned(code, trials[0])
        if told:
            at = next(i for i, c in enumerate(result.causes) if c.label == "contract forward")
            result.causes[at] = replace(result.causes[at], text=told)
    if any(t.failed for t in trials) and not _by_layer(
        code, reference, trials, pairs, result, seed
    ):
        aim, others = Spec.of(target) if target is not None else None, list[Trial]()
        for regime in ("unit", BELOW):
            more = elsewhere(specs, reference, seed, flat, chosen[0], aim, regime)
            others += _first_run(code, reference, map(complete, more), pairs, dtype)
        found = diagnose(code, reference, trials, mistakes, others)
        result.causes += found.causes
        result.unexplained, result.passed_on = found.unexplained, found.passed_on
        result.evidence += found.evidence
    _regime_notes(trials, result)
    if not result.places and not result.gaps:
        text = "nothing was compared: the two sides gave no output in common"
        result.gaps.append(Gap("contract output", trials[0].name, text))
    first = trials[0]
    theirs = [k for k in first.reference if k.startswith("forward output")]
    if len(theirs) > (given := sum(k in first.user.found for k in theirs)) > 0:
        result.notes.append(f"torch gives {len(theirs)} outputs, yours {given}: those are compared")
    return result


def _first_run(
    code: OwnCode,
    reference: Reference,
    others: Iterable[Trial],
    pairs: Mapping[str, str],
    dtype: str,
) -> list[Trial]:
    """The first of these trials that the user's code takes."""
    for trial in others:
        with contextlib.suppress(Exception):
            start_from_one(code, trial)
            run_trial(code, reference, trial, pairs, dtype)
            if trial.user.found and not trial.user.problems and "mask" not in trial.given:
                return [trial]
    return []


def _connect(
    code: OwnCode, reference: Reference, params: Mapping[str, Any] | None, result: Comparison
) -> tuple[set[str], set[str]]:
    """Map the parameters; returns the keys that one number stands for, and those held at 0."""
    keys = {k: v.shape for k, v in reference.state.items()}
    counters = [k for k in keys if k.endswith("num_batches_tracked")]
    buffers = [k for k in keys if k not in reference.parameters]
    slots = code.slots(keys)
    found = connect(slots, keys, params, counters)
    code.links = found.links
    found.only_torch = _tie_the_last(code, reference, found.only_torch, result)
    code.buffers = frozenset(buffers)
    result.notes += found.notes
    zeroed = set()
    for key in found.only_torch:
        if key in buffers:
            result.notes.append(f"{key}: yours keeps nothing of the kind; not compared")
            continue
        last = key.rsplit(".", 1)[-1]
        default = reference.state[key]
        if default.size and np.ptp(default) == 0:
            result.notes.append(
                f"{key}: yours has no counterpart; torch's is held at its default, "
                f"{float(default.flat[0]):g}"
            )
        elif "bias" in last:
            zeroed.add(key)
            result.notes.append(f"{key}: yours has no counterpart; torch's is held at 0")
        else:
            have = ", ".join(f"{k} {v}" for k, v in slots.items()) or "no parameters"
            like = [k for k, v in slots.items() if k.endswith(last) and v == keys[key]]
            once = f". Does one layer stand in two places? Then {like[0]} is both's" if like else ""
            raise Uncomparable(
                f"{key} {keys[key]} of torch has no counterpart: {code.name} has {have}; say which "
                f"with params={{'name': {key!r}}}{_wrapping(code)}{once}"
            )
    if found.only_numpy and keys:
        result.notes.append(f"not mapped to anything of torch's: {', '.join(found.only_numpy)}")
    tied = {link.slot for link in code.links}
    wanting = [p.name for p in code.extra if p.default is p.empty and p.name not in tied]
    if code.is_function and wanting:
        raise Uncomparable(
            f"{code.name} also wants {', '.join(wanting)}: give more inputs, "
            f"or forward_kwargs={{...}}"
        )
    return {link.key for link in found.links if link.scalar}, zeroed


def _wrapping(code: OwnCode) -> str:
    """How to hand over a function whose parameters come in one argument that is no flat dict."""
    one = next((n for n in code.input_names + [p.name for p in code.extra] if n in BAGS), "")
    if not code.is_function or code.bag or not one:
        return ""
    return (
        f". {one} is taken for an array: if it holds all parameters, wrap {code.name} so that each "
        f"has a name, lambda x, W, b: {code.name}(...)"
    )


def _tie_the_last(
    code: OwnCode, reference: Reference, left: list[str], result: Comparison
) -> list[str]:
    """One argument that a function still wants is the one parameter that torch still has."""
    linked = {link.slot for link in code.links}
    free = [p.name for p in code.extra if p.default is p.empty and p.name not in linked]
    if not code.is_function or len(free) != 1 or left not in ([k] for k in reference.parameters):
        return left
    keys = {left[0]: reference.state[left[0]].shape}
    code.links = [*code.links, *connect({free[0]: None}, keys, {free[0]: left[0]}, []).links]
    result.notes.append(f"{free[0]} is taken to be {left[0]}: there is no other for either")
    return []


def _mode_matters(reference: Reference) -> bool:
    if reference.module is None:
        return False
    kinds = (
        torch.nn.modules.batchnorm._NormBase,
        torch.nn.modules.dropout._DropoutNd,
        torch.nn.RReLU,
    )
    own = [m for m in reference.module.modules() if not type(m).__module__.startswith("torch.nn")]
    return any(isinstance(m, kinds) for m in reference.module.modules()) or bool(own)


def _by_layer(
    code: OwnCode,
    reference: Reference,
    trials: Sequence[Trial],
    pairs: Mapping[str, str],
    result: Comparison,
    seed: int,
) -> bool:
    """Compare each sub-layer that introduced a difference with its own counterpart."""
    if not pairs:
        return False
    told = layers.out_of_order(code, trials[0], pairs)
    if told and not any(one.origin == "introduced here" for one in result.gaps):
        labels = tuple(g.label for g in result.gaps if not g.label.startswith("contract"))
        if labels:
            result.causes.insert(0, Cause(labels[0], told, "probe", 0.0, labels))
            return True
    known = declared_only(code, reference, trials)
    if known is not None:
        suspect, residual = known
        labels = tuple(g.label for g in result.gaps if not g.label.startswith("contract"))
        worst = max(residual.values())
        result.causes.append(Cause(labels[0], suspect.text, suspect.source, worst, labels))
        return True
    mine = {path: name for name, path in pairs.items()}
    bad: dict[str, list[Gap]] = {}
    others = []
    for one in result.gaps:
        path = one.label.removeprefix("tap gradient ").removeprefix("tap ")
        if one.label.startswith("gradient "):
            path = one.label.removeprefix("gradient ").rpartition(".")[0]
        if path in mine and one.origin != "passed on":
            bad.setdefault(path, []).append(one)
        elif not one.label.startswith("contract"):
            others.append(one.label)
    explained = False
    for path, gaps in list(bad.items())[:4]:
        trial = next((t for t in trials if gaps[0].label in t.failed), trials[0])
        handed = trial.reference.get(f"tap {path} input")
        if handed is None:
            continue
        layer = layers.sublayers(code.fresh(seed))[mine[path]]
        params = {
            link.slot.removeprefix(mine[path] + "."): link.key.removeprefix(path + ".")
            + (".T" if link.axes == (1, 0) else "")
            for link in code.links
            if link.slot.startswith(mine[path] + ".")
        }
        module = reference.module.get_submodule(path)  # type: ignore[union-attr]
        try:
            inner = compare(layer, module, inputs=[handed], params=params, seed=seed)
        except Exception:
            continue
        if inner:  # right by itself: what it was handed was wrong
            result.passed_on += [g.label for g in gaps]
            continue
        labels = tuple(g.label for g in gaps)
        name = f"{mine[path]} (torch's {path})"
        for cause in inner.causes:
            text = f"in {name}, {cause.label}: {cause.text}"
            result.causes.append(replace(cause, label=labels[0], text=text, explains=labels))
            explained = True
        result.evidence += [f"in {name}: {line}" for line in inner.evidence]
        if not inner.causes:
            result.unexplained += labels
            explained = explained or len(bad) > 1
    if explained:
        result.passed_on += others
    return explained


def _regime_notes(trials: Sequence[Trial], result: Comparison) -> None:
    bad = [t for t in trials if t.failed]
    if bad and not any(t.plain for t in bad) and result.gaps:
        fine = ", ".join(dict.fromkeys(t.regime for t in trials if not t.failed))
        wrong = ", ".join(dict.fromkeys(t.regime if not t.warm else "after training" for t in bad))
        result.evidence.insert(0, f"agrees on {fine} numbers; differs only on {wrong}")
    unclear = sorted({label for t in trials for label in t.unclear})
    if unclear:
        result.notes.append(
            f"too ill-conditioned to judge in some trials: {', '.join(unclear[:4])}"
        )
