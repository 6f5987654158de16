"""Which array of the NumPy code is which parameter or buffer of the torch module.

By what the caller says, by name, or by shape where only one answer is possible. Two possible
answers are an error that lists them. A layout that differs (transposed, a row where torch has a
vector, gates in another order) is applied only if the shapes leave no choice or the caller says
so, and is always reported.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Shape = tuple[int, ...]


class Uncomparable(ValueError):
    """The two sides cannot be brought together as called; the message says what is wanted."""


ROLES: dict[str, set[str]] = {
    "weight": set(
        "weight weights w kernel kernels gamma g scale theta filter filters table".split()
    )
    | set("embedding embeddings coef slope coefficients".split()),
    "bias": set("bias biases b beta shift offset intercept".split()),
    "running_mean": set("running_mean moving_mean mean running_mu mu run_mean ema_mean".split()),
    "running_var": set("running_var moving_var moving_variance var running_variance".split())
    | set("run_var ema_var variance".split()),
    "weight_ih_l0": set("weight_ih w_ih wx w_x wxh w_xh wih kernel".split()),
    "weight_hh_l0": set("weight_hh w_hh wh w_h whh u recurrent_kernel".split()),
    "bias_ih_l0": set("bias_ih b_ih bx b_x bih b bias".split()),
    "bias_hh_l0": set("bias_hh b_hh bh b_h bhh recurrent_bias".split()),
    "in_proj_weight": set("wqkv w_qkv qkv_weight qkv".split()),
    "in_proj_bias": set("bqkv b_qkv qkv_bias".split()),
    "out_proj.weight": set("wo w_o w_out wout out_weight".split()),
    "out_proj.bias": set("bo b_o b_out bout out_bias".split()),
}
"""What people call each kind of parameter, by torch's name for it."""


@dataclass(frozen=True)
class Link:
    """One NumPy array and the torch key it stands for, with the way from one layout to the other.

    `axes` carries torch's array over (`np.transpose(x, axes)`), `blocks` then reorders that many
    equal blocks along axis 0 of torch's array, `shape` is the NumPy one, `scalar` marks a single
    number that stands for a whole vector.
    """

    slot: str
    key: str
    how: str
    shape: Shape = ()
    axes: tuple[int, ...] | None = None
    blocks: tuple[int, ...] | None = None
    scalar: bool = False
    key_shape: Shape = ()

    def to_slot(self, x: Array) -> Array:
        """A torch value as the NumPy side keeps it."""
        if self.scalar:
            return np.asarray(x).reshape(-1)[0]
        x = _take_blocks(x, self.blocks) if self.blocks else x
        x = x.transpose(self.axes) if self.axes else x
        return np.array(x.reshape(self.shape), order="C")

    def to_key(self, x: Array) -> Array:
        """A NumPy value (or gradient) as torch keeps it."""
        x = np.asarray(x)
        if self.scalar:
            return x
        if self.axes:
            x = np.asarray(x).transpose(np.argsort(self.axes))
        if self.blocks:
            x = _take_blocks(x, tuple(int(i) for i in np.argsort(self.blocks)))
        return x.reshape(self.key_shape)

    def notes(self, shape: Shape) -> Iterable[str]:
        """What the reader must know of the layout."""
        if self.scalar:
            yield f"{self.slot} is one number; {self.key} has shape {shape}, filled with it"
        elif self.axes == (1, 0):
            yield f"{self.slot} is stored transposed: {self.shape} for {self.key} {shape}"
        elif self.axes:
            yield (
                f"{self.slot} {self.shape} is {self.key} {shape} with axes in the order {self.axes}"
            )
        elif self.shape != shape:
            yield f"{self.slot} has shape {self.shape} for {self.key} {shape}"
        if self.blocks:
            yield f"{self.slot} holds the blocks of {self.key} in the order {self.blocks}"


def _take_blocks(x: Array, order: Sequence[int]) -> Array:
    parts = np.split(x, len(order), axis=0)
    return np.concatenate([parts[i] for i in order], axis=0)


@dataclass
class Map:
    """The links found, what stayed without a counterpart on either side, and what to report."""

    links: list[Link] = field(default_factory=list)
    only_numpy: list[str] = field(default_factory=list)
    only_torch: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    free: list[str] = field(default_factory=list)
    """Keys whose square shape does not say whether the NumPy side stores them transposed."""


def tokens(name: str) -> list[str]:
    """A dotted path in pieces: weights[0] and params['W1'] are weights.0 and params.W1."""
    return [t for t in re.split(r"[.\[\]'\"]+", name) if t]


def role(name: str) -> tuple[str, tuple[int, ...], str]:
    """(torch's last word for it, the numbers in the name, what is left), for matching."""
    parts = tokens(name)
    numbers = tuple(int(n) for p in parts for n in re.findall(r"\d+", re.sub(r"_l\d+", "", p)))
    words = [re.sub(r"\d+$", "", p).strip("_").lower() or p for p in parts if not p.isdigit()]
    words = [
        w for w in words if w not in ("params", "parameters", "param", "state", "data", "layers")
    ]
    last = words[-1] if words else ""
    return last, numbers, "_".join(words[:-1])


def _same_role(slot: str, key: str) -> bool:
    word, _, _ = role(slot)
    torch_word = tokens(key)[-1]
    names = ROLES.get(key, ROLES.get(torch_word, set())) | {torch_word.lower()}
    if word in names:
        return True
    # fc1_w, conv_bias: the role is the last piece of the word
    return "_" in word and word.rsplit("_", 1)[1] in names and word not in all_names()


def all_names() -> set[str]:
    """Every word for a parameter."""
    return set().union(*ROLES.values())


def layouts(slot: Shape | None, key: Shape) -> list[tuple[tuple[int, ...] | None, bool]]:
    """Every way of laying torch's shape into the slot's: (axes or None, is it a lone scalar)."""
    if slot is None:
        return [(None, False)]
    if slot == key:
        return [(None, False)]
    if slot == () and np.prod(key, dtype=int) > 1:
        return [(None, True)]
    if packed(slot) == packed(key):
        return [(None, False)]
    if len(slot) == len(key) >= 2:
        found = [
            axes
            for axes in itertools.permutations(range(len(key)))
            if tuple(key[a] for a in axes) == slot
        ]
        return [(axes, False) for axes in found]
    return []


def packed(shape: Shape) -> Shape:
    """A shape without its axes of length 1."""
    return tuple(n for n in shape if n != 1)


def connect(
    slots: Mapping[str, Shape | None],
    keys: Mapping[str, Shape],
    given: Mapping[str, Any] | None = None,
    optional: Iterable[str] = (),
) -> Map:
    """Find the counterpart of every torch key among the NumPy slots.

    Args:
        slots: NumPy names and shapes; None where there is no array yet.
        keys: torch names and shapes.
        given: NumPy name -> torch key, with ".T" for stored transposed, "[2,0,1]" for blocks of
            axis 0 in another order. The rest is found.
        optional: keys that may stay without a counterpart in silence.

    Raises:
        Uncomparable: a name that does not exist, or more than one possible answer.
    """
    result = Map()
    left = dict(slots)
    wanted = dict(keys)
    for name, spec in (given or {}).items():
        given_link = _explicit(name, spec, slots, keys)
        result.links.append(given_link)
        left.pop(given_link.slot, None)
        wanted.pop(given_link.key, None)

    def tie(slot: str, key: str, how: str) -> None:
        ways = layouts(left[slot], wanted[key])
        shape = left[slot]
        if not ways:
            raise Uncomparable(
                f"{slot} {shape} looks like {key} by its name, but torch's has shape {wanted[key]}"
                f"; say which is which: params={{{slot!r}: '...'}}"
            )
        if len(ways) > 1:
            orders = ", ".join(str(axes) for axes, _ in ways)
            raise Uncomparable(
                f"{slot} {shape} can be {key} {wanted[key]} with its axes in the orders {orders}; "
                "compare with sizes that differ, or say which: "
                f"params={{{slot!r}: '{key}{list(ways[0][0] or ())}'}}"
            )
        axes, scalar = ways[0]
        result.links.append(
            Link(
                slot,
                key,
                how,
                wanted[key] if shape is None else shape,
                axes,
                None,
                scalar,
                wanted[key],
            )
        )
        del left[slot], wanted[key]

    # 1. the same name; 2. the same prefix and a word for the same thing
    for key in list(wanted):
        same = [s for s in left if _normal(s) == _normal(key)]
        if len(same) == 1:
            tie(same[0], key, "by name")
    for key in list(wanted):
        prefix = "_".join(tokens(key)[:-1]).lower()
        same = [s for s in left if prefix and _prefix(s) == prefix and _same_role(s, key)]
        if len(same) == 1 and layouts(left[same[0]], wanted[key]):
            tie(same[0], key, "by name")
    # 3. words for the same thing, counted: W1, W2 beside 0.weight, 2.weight
    groups: dict[tuple[str, int], list[str]] = {}
    for key in wanted:
        kind = key if key in ROLES else tokens(key)[-1]
        groups.setdefault((kind, len(packed(wanted[key]))), []).append(key)
    for members in groups.values():
        candidates = [s for s in left if _same_role(s, members[0])]
        fitting = [s for s in candidates if any(layouts(left[s], wanted[k]) for k in members)]
        fitting = [s for s in fitting if left[s] is not None or len(fitting) <= len(members)]
        numbers = [role(s)[1] for s in fitting]
        counted = len(fitting) == 1 or (len(set(numbers)) == len(fitting) and all(numbers))
        if len(fitting) == len(members) and counted:
            ordered = sorted(fitting, key=lambda s: role(s)[1])
            if all(layouts(left[s], wanted[k]) for s, k in zip(ordered, members)):
                for s, k in zip(ordered, members):
                    tie(s, k, "by name")
    # 4. shape, where it leaves one answer
    progress = True
    while progress:
        progress = False
        for key in list(wanted):
            fits = [s for s in left if left[s] not in (None, ()) and layouts(left[s], wanted[key])]
            if not fits or key.endswith("num_batches_tracked"):
                continue
            rivals = [k for k in wanted if layouts(left[fits[0]], wanted[k])]
            if len(fits) == 1 and len(rivals) == 1:
                tie(fits[0], key, "by shape")
                progress = True
    for key in wanted:
        fits = [s for s in left if left[s] not in (None, ()) and layouts(left[s], wanted[key])]
        if fits and key not in optional:
            rivals = sorted({k for s in fits for k in wanted if layouts(left[s], wanted[k])})
            listed = "\n".join(f"  {s} {left[s]}" for s in fits)
            theirs = ", ".join(f"{k} {wanted[k]}" for k in rivals)
            raise Uncomparable(
                f"more than one answer to which array is {theirs}; the candidates are\n{listed}\n"
                f"say which is which, for example params={{{fits[0]!r}: {key!r}}}"
            )
    order = {k: i for i, k in enumerate(keys)}
    result.links.sort(key=lambda one: order[one.key])
    result.only_numpy = [s for s in left if left[s] not in (None, ())]
    result.only_torch = [k for k in wanted if k not in optional]
    _square(result, keys)
    for one in result.links:
        result.notes += one.notes(keys[one.key])
    return result


def _square(result: Map, keys: Mapping[str, Shape]) -> None:
    """A square matrix among transposed ones is taken to be transposed too, and reported."""
    matrices = [one for one in result.links if len(keys[one.key]) == 2 and not one.scalar]
    square = [
        one
        for one in matrices
        if len(set(keys[one.key])) == 1 and one.how != "given" and keys[one.key][0] > 1
    ]
    told = [one for one in matrices if one not in square]
    if square and told and all(one.axes == (1, 0) for one in told):
        for one in square:
            result.links[result.links.index(one)] = Link(
                one.slot,
                one.key,
                one.how + ", transposed like the others",
                one.shape,
                (1, 0),
                key_shape=one.key_shape,
            )
            result.notes.append(f"{one.slot} is square: taken to be transposed, as the others are")
    elif not told:
        result.free = [one.key for one in square]


def _explicit(
    name: str, spec: Any, slots: Mapping[str, Shape | None], keys: Mapping[str, Shape]
) -> Link:
    slot = ".".join(tokens(name))
    if slot not in slots:
        raise Uncomparable(f"params names {name!r}, but the NumPy side has {_list(slots)}")
    match = re.fullmatch(r"(.*?)(\.T)?(\[[\d,\s]*\])?", str(spec).strip())
    assert match
    key, transposed, order = match.groups()
    if key not in keys:
        raise Uncomparable(
            f"params maps {name!r} to {spec!r}, but the torch side has {_list(keys)}"
        )
    shape, theirs = slots[slot], keys[key]
    numbers = tuple(int(i) for i in re.findall(r"\d+", order or ""))
    blocks: tuple[int, ...] | None = None
    axes: tuple[int, ...] | None = tuple(reversed(range(len(theirs)))) if transposed else None
    if numbers:
        if sorted(numbers) != list(range(len(numbers))):
            raise Uncomparable(f"{spec!r}: wanted an order of 0..n-1, got {list(numbers)}")
        if len(numbers) == len(theirs) >= 2 and tuple(theirs[a] for a in numbers) == shape:
            axes = numbers
        elif theirs[0] % len(numbers) == 0:
            blocks = numbers
        else:
            raise Uncomparable(f"{spec!r}: axis 0 of {theirs} has no {len(numbers)} equal blocks")
    laid = tuple(theirs[a] for a in axes) if axes else theirs
    if shape is not None and shape != () and packed(shape) != packed(laid):
        raise Uncomparable(f"params maps {name!r} {shape} to {spec!r}, whose shape is {laid}")
    final = laid if shape is None else shape
    return Link(slot, key, "given", final, axes, blocks, shape == () and laid != (), theirs)


def _normal(name: str) -> str:
    return "_".join(tokens(name)).lower().strip("_")


def _prefix(name: str) -> str:
    parts = tokens(name)
    if len(parts) > 1:
        return "_".join(parts[:-1]).lower()
    return name.rsplit("_", 1)[0].lower() if "_" in name else ""


def _list(shapes: Mapping[str, Shape | None]) -> str:
    return ", ".join(f"{k} {'unset' if s is None else s}" for k, s in shapes.items()) or "none"
