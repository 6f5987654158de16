"""The file: one index in JSON, and the numbers of all arrays, one after the other, by dtype.

It is an npz without pickled objects, and carries a digest of everything in it, so that a file that
was cut short, edited, or is something else is refused in words.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from parity_tests.harness.budget import Deviation, Known, hold
from parity_tests.harness.inputs import Array

FILE = Path(__file__).parents[2] / "golden" / "vectors.npz"
FORMAT = "golden vectors 1"
DTYPES = "float64", "float32", "int64", "bool"
"""The kinds of numbers that the file can hold, and the names of its arrays beside the index."""


class BadFile(Exception):
    """The file is not what it should be; the message says in which way."""


@dataclass(frozen=True)
class Vector:
    """One computation: what it is of, how NumPy does it, what goes in, what came out of torch.

    `moved` is how far one unit in the last place of what goes in moves each result of torch's (one
    number, or one a step), which together with the results' size makes the budget.
    """

    chapter: str
    technique: str
    case: str
    what: str
    blueprint: Mapping[str, Any]
    given: Mapping[str, Array]
    expected: Mapping[str, Array]
    moved: Mapping[str, list[float]]
    by_step: bool = False

    def known(self) -> Known:
        """torch's results, and the noise in them, as every comparison of the suite has them."""
        noise = {}
        for k, x in self.expected.items():
            moved = np.array(self.moved[k])
            shape = (-1, *[1] * (x.ndim - 1)) if self.by_step and x.ndim else ()
            noise[k] = [np.broadcast_to(moved.reshape(shape) if x.size else 0.0, x.shape)]
        return Known(self.expected, noise)

    def hold(self, found: Mapping[str, Array]) -> list[Deviation]:
        """What was computed now against what was recorded."""
        return hold(found, self.known(), "float64", self.by_step)


@dataclass(frozen=True)
class Golden:
    """All vectors, what made them (versions, platform, date), and why the rest has none."""

    made: Mapping[str, str]
    vectors: Sequence[Vector]
    left_out: Mapping[str, str]


def save(golden: Golden, path: Path) -> None:
    """Write the file; an older one stays as it is until the new one is whole."""
    store: dict[str, list[Array]] = {dtype: [] for dtype in DTYPES}
    ends = dict.fromkeys(DTYPES, 0)

    def put(arrays: Mapping[str, Array]) -> dict[str, Any]:
        placed = {}
        for name, x in arrays.items():
            dtype = str(x.dtype)
            placed[name] = [dtype, ends[dtype], list(x.shape)]
            store[dtype].append(np.ravel(x))
            ends[dtype] += x.size
        return placed

    entries = [
        {**vars(v), "given": put(v.given), "expected": put(v.expected)} for v in golden.vectors
    ]
    flat = {k: np.concatenate([np.zeros(0, k), *xs]) for k, xs in store.items()}
    index = {"made": golden.made, "left out": golden.left_out, "vectors": entries}
    text = json.dumps(index, separators=(",", ":"))
    about = json.dumps({"format": FORMAT, "sha256": _digest(text, flat)})
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, about=about, index=text, **flat)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(buffer.getvalue())
    os.replace(part, path)


def load(path: Path = FILE) -> Golden:
    """Read the file; BadFile says what is wrong with one that cannot be used."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as held:
            parts = {name: held[name] for name in held.files}
    except FileNotFoundError:
        raise BadFile(f"there is no file {path}") from None
    except IsADirectoryError:
        raise BadFile(f"{path} is a folder, wanted a file of golden vectors") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zipfile.LargeZipFile) as error:
        raise BadFile(f"{path} cannot be read, it is cut short or no npz: {error}") from None
    except (AttributeError, TypeError):  # a lone array: np.load gives no archive
        raise BadFile(f"{path} holds no golden vectors") from None
    lacking = [name for name in ("about", "index", *DTYPES) if name not in parts]
    if lacking:
        raise BadFile(f"{path} holds no golden vectors: it has no {', '.join(lacking)}")
    try:
        about, text = json.loads(str(parts["about"])), str(parts["index"])
        if about["format"] != FORMAT:
            raise BadFile(f"{path} is of the format {about['format']!r}, wanted {FORMAT!r}")
        flat = {k: parts[k] for k in DTYPES}
        if about["sha256"] != _digest(text, flat):
            raise BadFile(f"{path} was changed after it was written: its digest does not fit")
        index = json.loads(text)
        return Golden(
            index["made"], [_vector(e, flat) for e in index["vectors"]], index["left out"]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadFile(f"{path} is not laid out as {FORMAT!r} is: {error!r}") from None


def _vector(entry: dict[str, Any], flat: Mapping[str, Array]) -> Vector:
    def take(placed: Mapping[str, Any]) -> dict[str, Array]:
        found = {}
        for name, (dtype, start, shape) in placed.items():
            x = flat[dtype][start : start + math.prod(shape)]
            found[name] = x.reshape(shape).copy()
        return found

    return Vector(**{**entry, "given": take(entry["given"]), "expected": take(entry["expected"])})


def _digest(index: str, flat: Mapping[str, Array]) -> str:
    found = hashlib.sha256(index.encode())
    for name in DTYPES:
        x = np.ascontiguousarray(flat[name])
        found.update(f"{name} {x.dtype.str} {x.shape}".encode())
        found.update(x.astype(x.dtype.newbyteorder("<")).tobytes())
    return found.hexdigest()
