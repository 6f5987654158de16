"""A run in a file that both sides read: weights, optimizer, schedule, generator, and plain values.

The file is in the safetensors format (https://github.com/huggingface/safetensors): a length, a JSON
header that says what stands where, and bare numbers. Nothing in it can be run, so a foreign file is
refused or read, never executed, which a pickle cannot promise. What is not an array (the names of
groups, betas, the count of epochs) stands as JSON text in the header.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from numpy_impl.module import Array

__all__ = ["load_checkpoint", "save_checkpoint"]

FORMAT = "written-twice checkpoint 1"
PLAIN = bool, int, float, str, type(None)


def save_checkpoint(path: str | os.PathLike[str], /, **parts: Any) -> None:
    """Write the state of every part to one file, whole or not at all.

        save_checkpoint("run.safetensors", model=model, optimizer=optimizer, scheduler=scheduler,
                        generator=generator, epoch=3)

    A part with `state_dict` gives that, a generator its `get_state`. All else is a value: numbers,
    text, None, arrays, and lists, tuples and dicts of these. An existing file is replaced in one
    step, so a crash or a full disk leaves the old one.

    Raises:
        TypeError: a part holds something that a checkpoint cannot, and where.
        ValueError: no parts.
        OSError: the file cannot be written.
    """
    from safetensors.numpy import save  # here, so that training without a file needs no safetensors

    if not parts:
        raise ValueError("save_checkpoint wants at least one part, as in model=model")
    arrays: dict[str, Array] = {}
    tree = {name: _pack(_state(part), name, arrays) for name, part in parts.items()}
    _replace(Path(path), save(arrays, {"format": FORMAT, "tree": json.dumps(tree)}))


def load_checkpoint(path: str | os.PathLike[str], /, **parts: Any) -> dict[str, Any]:
    """Put the states in a file back into the parts of the same names; returns all other parts.

        rest = load_checkpoint("run.safetensors", model=model, optimizer=optimizer)
        epoch = rest["epoch"]

    It does not matter which side wrote the file. Build the parts as they were built for the run
    that was saved; without any, the states themselves are returned. If one part refuses its state,
    those before it are put back as they were.

    Raises:
        ValueError: the file is not a checkpoint, is damaged, or has no part of that name; or what
            the part itself raises.
        OSError: the file cannot be read.
    """
    states = _read(Path(path))
    if missing := [name for name in parts if name not in states]:
        raise ValueError(
            f"{path} has no {', '.join(missing)}: it holds {', '.join(states) or 'nothing'}"
        )
    undo: list[Callable[[], Any]] = []
    try:
        for name, part in parts.items():
            load, before = _loader(part, name), copy.deepcopy(_state(part))
            undo.append(lambda load=load, before=before: load(before))  # type: ignore[misc]
            _require_alike(name, states[name], before)
            load(states.pop(name))
    except BaseException:
        for put_back in reversed(undo):
            put_back()
        raise
    return states


def _state(part: Any) -> Any:
    for method in ("state_dict", "get_state"):
        if hasattr(part, method):
            return getattr(part, method)()
    return part


def _loader(part: Any, name: str) -> Callable[[Any], Any]:
    for method in ("load_state_dict", "set_state"):
        if hasattr(part, method):
            return getattr(part, method)
    raise TypeError(
        f"{name} must have load_state_dict or set_state to be loaded into, got a "
        f"{type(part).__name__}; leave it out, and it is among what is returned"
    )


def _require_alike(name: str, saved: Any, own: Any) -> None:
    """ValueError if a state is of another kind of part: schedules take in any keys in silence."""
    if not isinstance(own, Mapping):
        return
    if not isinstance(saved, Mapping):
        raise ValueError(f"{name} in the file is no state_dict but a {type(saved).__name__}")
    lacks, foreign = (
        ", ".join(sorted(map(str, keys))) for keys in (own.keys() - saved, saved.keys() - own)
    )
    if lacks or foreign:
        raise ValueError(
            f"{name} in the file is of another kind: it lacks {lacks or 'nothing'} and has "
            f"{foreign or 'nothing'} besides"
        )


def _pack(value: Any, where: str, arrays: dict[str, Array]) -> Any:
    """The value as JSON can hold it, one key for its kind; arrays go by name among the arrays."""
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype.kind not in "fiub" or value.dtype.itemsize > 8:
            raise TypeError(f"{where} is an array of {value.dtype}, which a checkpoint cannot hold")
        while where in arrays:  # a key with a dot in it can spell the way to another
            where += "_"
        arrays[where] = np.array(value, order="C")
        return {"array": where}
    if isinstance(value, list | tuple):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {kind: [_pack(v, f"{where}.{i}", arrays) for i, v in enumerate(value)]}
    if isinstance(value, Mapping):
        for key in value:
            if type(key) not in (str, int):
                raise TypeError(f"{where} has the key {key!r}: wanted text or whole numbers")
        return {"dict": [[k, _pack(v, f"{where}.{k}", arrays)] for k, v in value.items()]}
    raise TypeError(f"{where} is a {type(value).__name__}, which a checkpoint cannot hold")


def _unpack(packed: Any, arrays: Mapping[str, Array]) -> Any:
    """What `_pack` made this of; where it did not, almost any error."""
    if isinstance(packed, PLAIN):
        return packed
    ((kind, content),) = packed.items()
    if kind == "array":
        return arrays[content]
    if kind == "dict":
        return {key: _unpack(value, arrays) for key, value in content}
    return {"list": list, "tuple": tuple}[kind](_unpack(value, arrays) for value in content)


def _read(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError, safe_open

    with open(path, "rb"):  # a missing or forbidden file says so in the system's own words
        pass
    try:
        with safe_open(path, "np") as file:
            about = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, TypeError) as error:  # TypeError: a dtype that NumPy lacks
        raise ValueError(f"{path} is not a checkpoint, or is damaged: {error}") from error
    if about.get("format") != FORMAT:
        found = about.get("format", "no format")
        raise ValueError(f"{path} is not a checkpoint: wanted {FORMAT!r}, found {found!r}")
    try:
        tree = json.loads(about["tree"])
        return {name: _unpack(packed, arrays) for name, packed in tree.items()}
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {error!r} in what its header says") from error


def _replace(path: Path, content: bytes) -> None:
    """Write beside the file, then take its place: a reader sees the old one or the new one."""
    path = path.resolve()  # through a link, as open() goes
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with open(beside, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        with contextlib.suppress(OSError):  # there only if it could not take the place
            os.unlink(beside)
