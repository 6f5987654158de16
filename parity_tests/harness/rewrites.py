"""Right code written otherwise, for any case: none of it may be called wrong.

A rewrite that belongs to one technique is declared with its case (`Case.rewrites`). The ones here
need no knowledge of it: the samples in another order, and so every sum over them; numbers that lie
column by column, where nothing is drawn (masks follow the order of memory, here as in torch); all
computed in float64 and rounded to float32 at the end; BLAS and torch with two
threads; other seeds.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from parity_tests.harness.budget import Arrays, Deviation, hold
from parity_tests.harness.stand_ins import Bench, Compared, Place

if TYPE_CHECKING:
    from parity_tests.harness.case import Settings

Ours = Callable[[Any, Arrays], Arrays]
SEEDS = 1, 2


def rewrites(bench: Bench) -> Iterator[tuple[str, Callable[[], str]]]:
    """Each rewrite by name, and what says where it is rejected; nothing where it passes."""
    case = bench.case
    for name in case.rewrites:
        yield name, functools.partial(_declared, bench, name)
    for name, change, dtype in (
        ("samples in another order", _reordered, "float64"),
        ("column by column in memory", _by_columns, "float64"),
        ("computed in float64", _in_float64, "float32"),
    ):
        if any(change(p) is not None for p in bench.places()):
            yield name, functools.partial(_changed, bench, change, dtype)
    yield "two threads", functools.partial(_two_threads, bench)
    for seed in SEEDS:
        yield f"seed {seed}", functools.partial(_another_seed, bench, seed)


def _declared(bench: Bench, name: str) -> str:
    rejected = bench.rejected(name)
    return "" if rejected is None else _first(*rejected)


def _changed(bench: Bench, change: Callable[[Place], Ours | None], dtype: str) -> str:
    for place in bench.places():
        ours = change(place)
        if ours is None:
            continue
        assert isinstance(place, Compared)
        other = dataclasses.replace(place, ours=ours)
        if dtype == "float64":
            other.__dict__["known"] = place.known
            deviations = other.deviations(bench.case)
        else:
            deviations = other.compare(bench.case, dtype)
        if not all(d.passed for d in deviations):
            return _first(place, deviations)
    return ""


def _another_seed(bench: Bench, seed: int) -> str:
    settings: Settings = dataclasses.replace(bench.settings, seed=bench.settings.seed + seed)
    return _all_pass(bench, bench.case.places(settings))


def _two_threads(bench: Bench) -> str:
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with threadpool_limits(2):
            return _all_pass(bench, bench.places())
    finally:
        torch.set_num_threads(before)


def _all_pass(bench: Bench, places: Iterator[Place]) -> str:
    for place in places:
        deviations = place.deviations(bench.case)
        if not all(d.passed for d in deviations):
            return _first(place, deviations)
    return ""


def _first(place: Place, deviations: list[Deviation]) -> str:
    return f"{place.name}: {next(d for d in deviations if not d.passed)}"


def _reordered(place: Place) -> Ours | None:
    x = place.given.get("input 0") if isinstance(place, Compared) else None
    if x is None or x.ndim < 2 or len(x) < 2:
        return None
    assert isinstance(place, Compared)
    ours, n = place.ours, len(x)
    order = np.random.default_rng(n).permutation(n)

    def taken(arrays: Arrays, order: Any) -> Arrays:
        follow = "input", "cotangent", "forward output", "gradient input"
        rows = {k for k, v in arrays.items() if k.startswith(follow) and v.shape[:1] == (n,)}
        return {k: v[order] if k in rows else v for k, v in arrays.items()}

    back = np.argsort(order)
    with np.errstate(all="ignore"):
        theirs = taken(place.theirs(taken(place.given, order)), back)
    if not all(d.passed for d in hold(theirs, place.known, "float64")):
        return None  # the place of a sample matters here, to torch as well
    return lambda case, given: taken(ours(case, taken(given, order)), back)


def _by_columns(place: Place) -> Ours | None:
    if not isinstance(place, Compared) or "input 0" not in place.given or _draws(place):
        return None
    ours = place.ours

    def laid_out(case: Any, given: Arrays) -> Arrays:
        follow = "input", "cotangent"
        return ours(
            case,
            {k: np.asarray(v, order="F") if k.startswith(follow) else v for k, v in given.items()},
        )

    return laid_out


def _draws(place: Compared) -> bool:
    """Whether torch draws here: a mask lies in memory as what it is for, so that order counts."""
    import torch

    stream = torch.default_generator
    stream.manual_seed(place.seed)
    with np.errstate(all="ignore"):
        place.theirs(place.given)
    untouched = torch.Generator().manual_seed(stream.initial_seed())
    return not torch.equal(stream.get_state(), untouched.get_state())


def _in_float64(place: Place) -> Ours | None:
    if not isinstance(place, Compared) or place.by_step:
        return None
    ours = place.ours

    def wide(case: Any, given: Arrays) -> Arrays:
        return _cast(ours(case, _cast(given, "float64")), "float32")

    return wide


def _cast(arrays: Arrays, dtype: str) -> Arrays:
    with np.errstate(over="ignore"):
        return {k: v.astype(dtype) if v.dtype.kind == "f" else v for k, v in arrays.items()}
