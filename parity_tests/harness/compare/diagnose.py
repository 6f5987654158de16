"""Why two sides differ: the suspicion or the fit that gives the user's own numbers, or "unknown".

A cause is named only if it reproduces what the user's code computed, to rounding, in every trial of
ordinary numbers (at least three draws, one of another size). Two mistakes are separated where each
shows in a place of its own: what the first does not explain is held against the first, not
against the reference.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from parity_tests.harness.compare import (
    batch_suspects,
    inner_suspects,
    kin_suspects,
    norm_suspects,
)
from parity_tests.harness.compare import suspects as suspicion
from parity_tests.harness.compare.cause import Cause, Diagnosis
from parity_tests.harness.compare.context import sample, sizes
from parity_tests.harness.compare.declared import declared, stand_in
from parity_tests.harness.compare.evidence import by_probes, by_size, own_gradients, what_is_seen
from parity_tests.harness.compare.explain import IN_FULL
from parity_tests.harness.compare.fits import fits
from parity_tests.harness.compare.locate import AFTER, order
from parity_tests.harness.compare.own_code import OwnCode
from parity_tests.harness.compare.probes import dependence
from parity_tests.harness.compare.reference import Reference
from parity_tests.harness.compare.sample import Fit, Sample
from parity_tests.harness.compare.suspects import Suspect
from parity_tests.harness.compare.trials import Trial
from parity_tests.harness.mistake import Mistake

Array = np.ndarray[Any, np.dtype[Any]]


SECONDS = 1.5
"""How long suspects are heard, in time of this process: a busy machine changes no answer."""


AWAY = 10.0
"""Budgets that a suspect must be from the reference, to be at work at all."""


MORE = 25  # suspects that are still heard once one explains everything


@dataclass
class _Tried:
    """A suspect, with how near it came in each place over all trials.

    `here` is that without the trials of other shapes.
    """

    suspect: Suspect
    units: dict[str, float]
    residual: dict[str, float]
    broken: list[str]
    values: dict[int, Mapping[str, Array]]
    here: dict[str, float] = field(default_factory=dict)

    def explains(self, labels: Iterable[str]) -> list[str]:
        return [k for k in labels if self.units.get(k, math.inf) <= 1]


def diagnose(
    code: OwnCode,
    reference: Reference,
    trials: Sequence[Trial],
    extra: Mapping[str, Any] | None = None,
    elsewhere: Sequence[Trial] = (),
) -> Diagnosis:
    """Find the causes of what failed: first on ordinary numbers, then of what only others show.

    `elsewhere` are trials of other shapes. They are reported nowhere, but a cause must give the
    user's numbers there, too: in a small input some other change of the reference may do as well.
    """
    whole = Diagnosis()
    first = [t for t in trials if t.plain or t.warm]
    common = {k for t in first for k in t.failed}
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if common:
            bad = [t for t in first if t.failed]
            _diagnose(whole, code, reference, trials, bad, common, extra, elsewhere)
        special = {k for t in trials for k in t.failed} - common
        if special:
            bad = [t for t in trials if special & set(t.failed)]
            _diagnose(whole, code, reference, trials, bad, special, extra, elsewhere)
    return whole


def declared_only(
    code: OwnCode, reference: Reference, trials: Sequence[Trial]
) -> tuple[Suspect, dict[str, float]] | None:
    """A known mistake of the whole model that explains all that failed in it, taps apart."""
    pool = list(declared(reference, code))
    plain = [t for t in trials if (t.plain or t.warm) and t.user.found]
    failing = sorted({k for t in plain for k in t.failed if not k.startswith("tap")}, key=order)
    if not pool or not failing:
        return None
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = _best(pool, plain, failing, failing[0], [], time.thread_time())
    if found is None or found.broken or len(found.explains(failing)) < len(failing):
        return None
    return found.suspect, found.residual


def _diagnose(
    result: Diagnosis,
    code: OwnCode,
    reference: Reference,
    trials: Sequence[Trial],
    decisive: list[Trial],
    labels: set[str],
    extra: Mapping[str, Any] | None,
    elsewhere: Sequence[Trial],
) -> None:
    plain = [t for t in trials if t.plain and t.user.found]
    plain = [t for t in decisive if t not in plain][:4] + plain
    if decisive[0].plain:
        plain.sort(key=lambda t: trials.index(t))
    plain += elsewhere
    ranks = {k: i for i, k in enumerate(dict.fromkeys(k for t in trials for k in t.reference))}
    failing = sorted(labels, key=lambda k: (order(k), ranks.get(k, 0)))
    own_causes = len(result.causes)

    pool = [
        *declared(reference, code),
        *_extra(code, reference, extra or {}),
        *suspicion.generic(reference, decisive[0]),
    ]
    base: dict[int, Mapping[str, Array]] = {}
    left = list(failing)
    pool += [
        *norm_suspects.norms(reference, decisive[0]),
        *batch_suspects.samples(reference, decisive[0]),
        *batch_suspects.scores(reference),
        *kin_suspects.kin(reference, decisive[0]),
        *kin_suspects.exchanged(reference),
        *inner_suspects.inside(reference),
    ]
    left = by_probes(result, code, reference, decisive[0], left)
    if not left:
        return
    started = time.thread_time()  # only now: what the cases import must not cost a suspect its turn
    tried: list[_Tried] = []
    found = _best(pool, plain, failing, left[0], tried, started)
    if found is None and not (decisive[0].plain or decisive[0].warm):
        left = by_size(result, code, decisive[0], left, trials)
        if not left:
            return
    fit, others = _fit(code, reference, plain, left[0], base)
    if found is None and not (fit and fit.exact and fit.complete):
        label = left[0]
        users = next((t for t in decisive if label in t.failed), decisive[0])
        numbers = [sizes(reference, code, t) for t in [users, *plain] if label in t.user.found]
        confirming = [t for t in elsewhere if label in t.user.found]
        more = list(suspicion.tuned(reference, users, label, numbers, confirming))
        found = _best(more, plain, failing, label, tried, started)
    if found is None and fit is None and left[0].startswith("gradient"):
        found = _best(pool, plain, failing, left[0], tried, started, alone=True)
        if found is not None:
            text = f"in backward only: {found.suspect.text}"
            found.suspect = replace(found.suspect, text=text)
    if found is None and fit is None:
        found = _pairs(pool, plain, failing, left[0], tried, started, reference)
    if (
        found is not None
        and fit is not None
        and fit.cost <= 1
        and len(found.explains(failing)) <= 1
        and found.suspect.source != "mistake"
        and len(failing) > 1
    ):
        found = None  # a plain factor says it better than a far-fetched change that does no more
    if found is not None:
        explained = found.explains(failing)
        rivals = sorted(
            (t for t in tried if t is not found and t.suspect.name != found.suspect.name),
            key=lambda t: (
                t.units.get(left[0], math.inf) > 1 or bool(t.broken),
                t.residual.get(left[0], math.inf),
            ),
        )
        equal = [t for t in rivals if set(t.explains(failing)) >= set(explained) and not t.broken]
        rest = [t for t in rivals if t not in equal]
        also = [t.suspect.text for t in equal[:3]]
        if fit is not None and fit.exact and fit.complete:
            also.insert(0, fit.text)
        runner = min(
            [
                r
                for r in [
                    *((t.residual.get(left[0], math.inf), t.suspect.name) for t in rest),
                    *((f.residual, f.text) for f in others if not f.exact),
                ]
                if r[0] > 1e-11
            ],
            default=(math.inf, ""),
        )
        result.causes.append(
            Cause(
                left[0],
                found.suspect.text,
                found.suspect.source,
                found.residual[left[0]],
                tuple(explained),
                runner[1],
                runner[0],
                tuple(also),
            )
        )
        base = found.values
        left = [k for k in left if k not in explained]
    first = True
    slopes = own_gradients(code, decisive[0], failing)
    while left:
        label = left.pop(0)
        fit, others = _fit(code, reference, plain, label, base)
        nearest = [f for f in others if f is not fit and not f.exact]
        near = min(
            [
                r
                for r in [
                    *((f.residual, f.text) for f in nearest),
                    *((t.residual.get(label, math.inf), t.suspect.name) for t in tried),
                ]
                if r[0] > 1e-11
            ],
            default=(math.inf, ""),
        )
        upstream = bool(result.causes or result.unexplained) and any(
            k.startswith(("forward", "tap")) and not k.startswith("tap gradient") for k in failing
        )
        if label == AFTER and any(k.startswith("buffer") for k in failing):
            result.passed_on.append(label)
            continue
        if upstream and label.startswith("gradient") and slopes.get(label, (False,))[0]:
            result.passed_on.append(label)
            continue
        if fit is not None and fit.exact and fit.complete:
            same = [c for c in result.causes if c.text == fit.text]
            if same:
                at = result.causes.index(same[0])
                result.causes[at] = replace(same[0], explains=(*same[0].explains, label))
            else:
                result.causes.append(
                    Cause(label, fit.text, fit.kind, fit.residual, (label,), near[1], near[0])
                )
        else:
            alone_here = (
                _best(pool, plain, failing, label, [], started, alone=True) if not base else None
            )
            if alone_here is not None and not first:
                result.causes.append(
                    Cause(
                        label,
                        alone_here.suspect.text,
                        alone_here.suspect.source,
                        alone_here.residual[label],
                        (label,),
                        near[1],
                        near[0],
                    )
                )
            else:
                result.unexplained.append(label)
                if len(result.unexplained) > IN_FULL:
                    continue
                result.evidence += [
                    f"{label}: {line}"
                    for line in what_is_seen(
                        code, reference, plain, trials, label, base, others, near
                    )
                ]
        first = False
    rank = {k: i for i, k in enumerate(failing)}
    result.causes[own_causes:] = sorted(
        result.causes[own_causes:], key=lambda c: rank.get(c.label, 0)
    )
    wrong = [k for k, found in slopes.items() if not found[0] and k in result.unexplained]
    for label in wrong[:IN_FULL]:
        if label in failing:
            _, slope, ours = slopes[label]
            result.evidence.append(
                f"{label}: yours is not the slope of your own forward, which "
                f"is {slope:.6g} along a "
                f"random direction by central differences, {ours:.6g} by your backward"
            )
    for label in result.unexplained[:1]:
        by_accident = [t.suspect.text for t in tried if t.here.get(label, math.inf) <= 1]
        result.evidence += [
            f"{label}: in these shapes {text}, but not in others: an accident, or yours has a size "
            "written into it"
            for text in by_accident[:1]
        ]
    if any(k.startswith("forward") for k in result.unexplained):
        result.evidence += dependence(code, reference, decisive[0])


def _extra(code: OwnCode, reference: Reference, extra: Mapping[str, Any]) -> list[Suspect]:
    """Mistakes handed over with the call: NumPy stand-ins, or changed torch references."""
    found = []
    for name, mistake in extra.items():
        if isinstance(mistake, Suspect):
            found.append(mistake)
            continue
        other = OwnCode(mistake, code.args, code.kwargs, inputs=code.inputs)
        other.links, other.buffers = code.links, code.buffers
        found.append(stand_in(name, Mistake.of(mistake), other))
    return found


def _best(
    pool: Iterable[Suspect],
    trials: Sequence[Trial],
    failing: Sequence[str],
    first: str,
    tried: list[_Tried],
    started: float,
    alone: bool = False,
) -> _Tried | None:
    """The suspect that explains the first failing place, and of those the most."""
    good: list[_Tried] = []
    after = 0
    opening = next((t for t in trials if first in t.failed), None)
    if opening is None:
        return None
    for suspect in pool:
        if time.thread_time() - started > SECONDS or after > MORE:
            break
        after += any(len(t.explains(failing)) == len(failing) for t in good)
        forward_only = (
            first.startswith(("forward", "tap ", "activation")) and "gradient" not in first
        )
        screened = _run(suspect, opening, not forward_only)
        if screened is None or first not in screened or not _at_work(screened, opening, first):
            continue
        s = Sample(opening.user.found[first], screened[first], opening.allowed.get(first, 0.0))
        near, far = s.compare(s.reference, suspect.source == "mistake")
        if near > 1:
            if suspect.source != suspicion.SOLVED:
                tried.append(_Tried(suspect, {}, {first: far}, [], {}))
            continue
        whole = _try(suspect, trials, failing)
        tried.append(whole)
        if whole.units.get(first, math.inf) <= 1 and (alone or not whole.broken):
            good.append(whole)
        elif whole.units.get(first, math.inf) <= 1 and _only_later(whole, failing):
            good.append(whole)
    good.sort(
        key=lambda t: (
            -len(t.explains(failing)),
            len(t.broken),
            t.suspect.cost,
            t.residual.get(first, 0.0) > 1e-12,
        )
    )
    return good[0] if good else None


def _at_work(screened: Mapping[str, Array], trial: Trial, label: str) -> bool:
    """Whether a suspect leaves the reference at all, by more than chance does.

    One that does not is right in this configuration, and would only share the user's rounding.
    """
    there, right = np.asarray(screened[label]), np.asarray(trial.reference[label])
    if there.shape != right.shape:
        return True
    gap = np.abs(there.astype(np.float64) - right.astype(np.float64))
    near = gap <= AWAY * trial.allowed.get(label, 0.0)
    return not bool(np.all(near | (there == right) | (np.isnan(there) & np.isnan(right))))


def _only_later(whole: _Tried, failing: Sequence[str]) -> bool:
    """Whether what it breaks lies behind the forward: there a second mistake may sit."""
    return not any(k.startswith(("forward", "activation", "loss")) for k in whole.broken)


def _run(suspect: Suspect, trial: Trial, backward: bool) -> Mapping[str, Array] | None:
    try:
        with np.errstate(all="ignore"):
            return suspect.run(trial, backward)
    except Exception:  # options that do not go together, shapes that do not fit
        return None


def _try(suspect: Suspect, trials: Sequence[Trial], failing: Sequence[str]) -> _Tried:
    units: dict[str, float] = {}
    here: dict[str, float] = {}
    residual: dict[str, float] = {}
    broken: list[str] = []
    values: dict[int, Mapping[str, Array]] = {}
    for trial in trials:
        found = _run(suspect, trial, True)
        values[id(trial)] = found or {}
        for label in trial.reference:
            if label not in trial.user.found or label in trial.unclear:
                continue
            if found is not None and label.startswith("tap") and label not in found:
                continue  # a stand-in does not tell what goes on inside
            if found is None or label not in found:
                near, far = math.inf, math.inf
            else:
                s = Sample(trial.user.found[label], found[label], trial.allowed.get(label, 0.0))
                near, far = s.compare(s.reference, suspect.source == "mistake")
            if label in failing:
                units[label] = max(units.get(label, 0.0), near)
                if not trial.confirms:
                    here[label] = max(here.get(label, 0.0), near)
                residual[label] = max(residual.get(label, 0.0), far)
            elif near > 1 and label not in broken:
                broken.append(label)
    return _Tried(suspect, units, residual, broken, values, here)


def _pairs(
    pool: Sequence[Suspect],
    trials: Sequence[Trial],
    failing: Sequence[str],
    first: str,
    tried: list[_Tried],
    started: float,
    reference: Reference,
) -> _Tried | None:
    """Two changes of the reference at once."""
    simple = [s for s in pool if s.change is not None and s.cost <= 1.2][:40]
    pairs = []
    for i, a in enumerate(simple):
        for b in simple[i + 1 :]:
            assert a.change is not None and b.change is not None
            if set(a.change.config) & set(b.change.config) or set(a.change.state) & set(
                b.change.state
            ):
                continue
            pairs.append(
                suspicion.changed(
                    reference,
                    f"{a.name} and {b.name}",
                    f"{a.text}; and {b.text}",
                    a.change | b.change,
                    a.cost + b.cost,
                )
            )
    return _best(
        pairs, trials, failing, first, tried, max(started, time.thread_time() - SECONDS + 0.4)
    )


def _fit(
    code: OwnCode,
    reference: Reference,
    trials: Sequence[Trial],
    label: str,
    base: Mapping[int, Mapping[str, Array]],
) -> tuple[Fit | None, list[Fit]]:
    used = [t for t in trials if label in t.user.found and label in t.reference]
    mode = next((t.mode for t in used if label in t.failed), None)
    used = [t for t in used if t.mode == mode]
    samples = []
    for t in used:
        instead = base.get(id(t))
        if instead is not None and label not in instead:
            instead = None
        samples.append(sample(reference, code, t, label, instead))
    if len({s.user.ndim for s in samples}) > 1 or not samples:
        return None, []
    found = fits(samples)
    exact = next((f for f in found if f.exact and f.complete), None)
    return exact, found
