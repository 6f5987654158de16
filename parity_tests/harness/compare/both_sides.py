"""Both sides run on the trials, and what differs, in the order of computation."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from parity_tests.harness.budget import SECOND_LOOK, Deviation, by_chance
from parity_tests.harness.compare import layers
from parity_tests.harness.compare.cause import Cause
from parity_tests.harness.compare.explain import Comparison
from parity_tests.harness.compare.locate import Gap, Nearby, distances, gap, measure, order, renamed
from parity_tests.harness.compare.mapping import Uncomparable
from parity_tests.harness.compare.own_code import OwnCode
from parity_tests.harness.compare.own_names import Ran
from parity_tests.harness.compare.reference import Reference
from parity_tests.harness.compare.trials import Trial
from parity_tests.harness.rounding import rounded_layers

Array = np.ndarray[Any, np.dtype[Any]]


NEAR_MISS = 10.0
"""Budgets up to which a trial is looked at again."""


def single(x: Array) -> Array:
    """float64 as float32, anything else as it is."""
    return x.astype(np.float32) if x.dtype == np.float64 else x


def fit_cotangents(
    code: OwnCode, reference: Reference, trials: Sequence[Trial], result: Comparison
) -> None:
    """A backward that is handed no gradient starts from 1, so torch must, too."""
    first = trials[0]
    ran = code.run(first.given, first.mode, first.seed, first.set_buffers)
    code.first = ran
    if ran.problems and ran.problems[0][0] == "forward" and code.is_function:
        ran = _try_transposed(code, first, ran, result)
    code.activations = layers.activations(ran.raw, first, reference)
    if code.has_backward and not code.takes_cotangent and "target" not in first.given:
        y = ran.found.get("forward output")
        if y is not None and y.size > 1:
            raise Uncomparable(
                f"{code.name}'s backward is handed no gradient and no target, but the output has "
                f"shape {y.shape}: say which loss it differentiates, loss=torch.nn.MSELoss()"
            )
        for trial in trials:
            start_from_one(code, trial)
    if not code.has_backward:
        result.notes.append("yours has no backward: gradients are not compared")


def start_from_one(code: OwnCode, trial: Trial) -> None:
    """Ones for the gradient from above, where the user's backward is handed none."""
    if code.has_backward and not code.takes_cotangent:
        for key in [k for k in trial.given if k.startswith("cotangent")]:
            trial.given[key] = np.ones_like(trial.given[key])


def _try_transposed(code: OwnCode, first: Trial, ran: Ran, result: Comparison) -> Ran:
    """A function tells no shapes: if torch's layout raises, see whether (in, out) does not."""
    kept = code.links
    code.links = [
        replace(link, axes=(1, 0), shape=link.key_shape[::-1])
        if len(link.key_shape) == 2 and link.how != "given"
        else link
        for link in kept
    ]
    again = code.run(first.given, first.mode, first.seed, first.set_buffers)
    if code.links == kept or any(where == "forward" for where, _ in again.problems):
        code.links = kept
        return ran
    result.notes += [
        f"{link.slot} is taken transposed, {link.shape} for {link.key} "
        f"{link.key_shape}: torch's layout "
        "raises in your forward"
        for link, old in zip(code.links, kept)
        if link != old
    ]
    return again


def share_masks(
    code: OwnCode, reference: Reference, trials: list[Trial], result: Comparison
) -> None:
    """Where both sides drop at random, hold torch to the elements that yours dropped."""
    first = trials[0]
    a = code.run(first.given, first.mode, 1, first.set_buffers, False).found.get("forward output")
    b = code.run(first.given, first.mode, 2, first.set_buffers, False).found.get("forward output")
    if a is None or b is None or a.shape != b.shape or np.array_equal(a, b, equal_nan=True):
        return
    theirs = reference.run(first.given, first.mode, 1, backward=False)["forward output"]
    if np.array_equal(a != 0, theirs != 0):
        return  # the same numbers are drawn on both sides
    alone = reference.module if reference.module is not None else reference.theirs
    is_dropout = isinstance(alone, torch.nn.Dropout) or alone is torch.nn.functional.dropout
    if not is_dropout:
        result.notes.append(
            "your forward draws random numbers of its own; hand over the "
            "noise, or compare in eval mode"
        )
        return
    p = float(reference.config().get("p", 0.5))
    kept, count, by_chance = 0, 0, 1.0
    for trial in list(trials):
        if trial.regime not in ("unit", "given"):
            trials.remove(trial)
            continue
        y = code.run(trial.given, trial.mode, trial.seed, trial.set_buffers, False).found
        mask = (y["forward output"] != 0) | (trial.given["input 0"] == 0)
        trial.given["mask"] = mask
        if trial.mode != "train":
            continue  # torch drops nothing then, and only a suspicion may
        kept, count = kept + int(mask.sum()), count + mask.size
        if mask.ndim > 1 and len(mask) > 1 and (mask == mask[:1]).all():
            by_chance *= (p ** len(mask) + (1 - p) ** len(mask)) ** (mask.size // len(mask))
    result.notes.append("torch drops the very elements that yours dropped")
    if by_chance < 1e-6:
        text = "one mask is drawn for the whole batch: every sample loses the same elements"
        result.gaps.append(Gap("forward mask", trials[0].name, text))
        result.causes.append(Cause("forward mask", text, "contract", 0.0, ("forward mask",)))
    spread = 5 * np.sqrt(max(p * (1 - p), 1e-12) / max(count, 1)) + 1e-9
    share = kept / max(count, 1)
    if abs(share - (1 - p)) > spread:
        label = "forward mask"
        hint = f"yours keeps {share:.3f} of {count} elements; the reference keeps {1 - p:g}"
        result.gaps.append(Gap(label, trials[0].name, hint))
        if abs(share - p) < spread:
            result.causes.append(
                Cause(
                    label,
                    f"p is taken as the probability to keep: {hint}",
                    "contract",
                    0.0,
                    (label,),
                )
            )


def run_trial(
    code: OwnCode, reference: Reference, trial: Trial, pairs: Mapping[str, str], dtype: str
) -> None:
    """Run both sides on one trial, the reference also an ulp away, and hold it to its budget."""
    with layers.listening(code, pairs) as instance:
        trial.user = code.run(
            trial.given,
            trial.mode,
            trial.seed,
            trial.set_buffers,
            True,
            trial.warm,
            instance(trial.seed),
        )
        trial.user.found = renamed(trial, trial.user.found | instance.heard())
    y = trial.user.found.get("forward output")
    if "mask" in trial.given and y is not None:  # drawn anew, where the generator is its own
        trial.given["mask"] = (y != 0) | (trial.given["input 0"] == 0)
    near = Nearby(seed=trial.seed)
    noise: list[dict[str, Array]] = []

    def theirs(given: Mapping[str, Array], warm: Any) -> dict[str, Array]:
        taps = [*pairs.values(), *code.activations]
        return renamed(
            trial,
            reference.run(given, trial.mode, trial.seed, trial.set_buffers, warm, taps=taps),
        )

    def wide(given: Mapping[str, Array]) -> dict[str, Array]:
        return {k: v.astype(np.float64) if v.dtype == np.float32 else v for k, v in given.items()}

    with np.errstate(all="ignore"):
        trial.reference = theirs(wide(trial.given), [wide(w) for w in trial.warm])
        if dtype == "float32":
            noise.append(distances(theirs(trial.given, trial.warm), trial.reference))

    def look(times: int) -> list[Deviation]:
        for _ in range(times):
            given, warm = near.moved(trial.given), [near.moved(w) for w in trial.warm]
            with np.errstate(all="ignore"):
                if dtype == "float32":
                    truth = theirs(wide(given), [wide(w) for w in warm])
                    noise.append(distances(theirs(given, warm), truth))
                else:
                    with _otherwise_rounded(reference, near.rng):
                        noise.append(distances(theirs(given, warm), trial.reference))
        trial.noise = {k: [n[k] for n in noise if k in n] for k in trial.reference}
        return measure(trial, dtype)

    found = look(near.times)
    near_miss = any(1 < d.units <= NEAR_MISS and by_chance([d]) for d in found)
    trial.margin = _margin(look(SECOND_LOOK) if near_miss else found)


def _otherwise_rounded(reference: Reference, rng: np.random.Generator) -> Any:
    """Where several layers follow each other, each is allowed a rounding of its own."""
    layers = [] if reference.module is None else list(reference.module.modules())
    several = sum(not list(m.children()) for m in layers) > 1
    return rounded_layers(rng) if several else contextlib.nullcontext()


def _margin(deviations: Sequence[Any]) -> float:
    worst = max((d.units for d in deviations), default=0.0)
    return 1 / worst if worst else float("inf")


def collect(
    code: OwnCode,
    reference: Reference,
    trials: Sequence[Trial],
    pairs: Mapping[str, str],
    result: Comparison,
) -> None:
    """Turn what failed into gaps in the order of computation."""
    result.trials = len(trials)
    result.margin = min((t.margin for t in trials if not t.failed), default=float("inf"))
    labels = list(dict.fromkeys(k for t in trials for k in t.reference))
    ranks = {k: i for i, k in enumerate(labels)}
    places = [k for k in labels if any(k in t.user.found for t in trials)]
    result.places = sorted(places, key=lambda k: (order(k), ranks[k]))
    missing = {
        n.removeprefix("missing gradient ")
        for t in trials
        for n in t.user.notes
        if n.startswith("missing gradient")
    }
    result.notes += [
        n for t in trials for n in t.user.notes if not n.startswith(("missing gradient", "buffer"))
    ]
    seen: dict[str, Gap] = {}
    for trial in trials:
        for where, problem in trial.user.problems:
            if where == "backward" and trial.mode == "eval":
                result.notes.append(f"not compared in eval mode, your backward raised {problem}")
                continue
            label = where if where.startswith("gradient") else f"contract {where}"
            if label not in seen:
                text = problem if where.startswith("gradient") else f"{where} raised {problem}"
                seen[label] = Gap(label, trial.name, text)
                if not where.startswith("gradient"):
                    result.causes.append(Cause(label, text, "contract", 0.0, (label,)))
        for label in trial.failed:
            if label not in seen or not seen[label].label == label:
                seen.setdefault(label, gap(trial, label))
    origins = layers.origins(code, trials, pairs, [k for k in seen if k.startswith("tap")])
    for label, text in origins.items():
        seen[label] = replace(seen[label], origin=text)
    have = [k for k in reference.parameters if f"gradient {k}" in places]
    for key in sorted(missing):
        if have or any(k.startswith("gradient") for k in places):
            label = f"gradient {key}"
            slot = next(link.slot for link in code.links if link.key == key)
            text = (
                f"after backward no gradient of {slot} is found (looked for d{slot}, grad_{slot}, "
                f"grads[...], .grad, and in what backward returns); "
                f"grads={{{slot!r}: '...'}} says where"
            )
            seen[label] = Gap(label, trials[0].name, text)
            result.causes.append(Cause(label, text, "contract", 0.0, (label,)))
    common = {k for t in trials if t.plain or t.warm for k in t.failed}
    result.gaps += sorted(
        seen.values(),
        key=lambda g: (
            g.label in special_only(trials, common),
            order(g.label),
            ranks.get(g.label, 0),
        ),
    )


def special_only(trials: Sequence[Trial], common: set[str]) -> set[str]:
    """Labels that fail on special numbers only: reported after those that fail on ordinary ones."""
    return {k for t in trials for k in t.failed} - common
