"""Whether two callables can be called alike: same argument names, defaults and order."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter, Signature
from typing import Any

NUMPY_ONLY = {
    "dtype": "arrays have no global default dtype",
    "generator": "every draw can be handed its stream",
    "mask": "every draw can be handed its noise",
}
TORCH_ONLY = {
    "device": "there is one device",
    "out": "results are always new arrays",
    "inplace": "backward reads the input, so nothing overwrites it",
    "size_average": "deprecated since torch 0.4, reduction replaces it",
    "reduce": "deprecated since torch 0.4, reduction replaces it",
    "foreach": "chooses a kernel, not a result",
    "fused": "chooses a kernel, not a result",
    "capturable": "for CUDA graphs",
    "differentiable": "for autograd through the optimizer",
    "_stacklevel": "of a warning that torch gives",
    "pin_memory": "for copies to a GPU",
    "pin_memory_device": "for copies to a GPU",
    "num_workers": "batches are slices of arrays, there is nothing to wait for",
    "prefetch_factor": "belongs to num_workers",
    "persistent_workers": "belongs to num_workers",
    "multiprocessing_context": "belongs to num_workers",
    "worker_init_fn": "belongs to num_workers",
    "timeout": "belongs to num_workers",
    "in_order": "belongs to num_workers",
    "sampler": "shuffle and drop_last say which rows a batch has",
    "batch_sampler": "shuffle and drop_last say which rows a batch has",
    "collate_fn": "a batch of arrays is a slice, there is nothing to put together",
}
DATA = {"x", "input", "tensor"}
"""What the first argument may be called on either side, where it has no default."""


def incompatibilities(ours: Any, theirs: Any) -> list[str]:
    """What keeps a call of `ours` from meaning the same to `theirs`, in words; none if nothing."""
    a, b = parameters(ours), parameters(theirs)
    if a is None or b is None:
        return [] if a is b else [f"no readable signature: {ours if a is None else theirs!r}"]
    if a and b and a[0].name in DATA and b[0].name in DATA and a[0].default is b[0].default:
        a, b = a[1:], b[1:]
    known = {p.name: p for p in b if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    open_ended = len(known) < len(b)
    a = [p for p in a if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    names, found = {p.name for p in a}, []
    for p in a:
        other = known.get(p.name)
        if other is None:
            if p.name in NUMPY_ONLY and p.default is not p.empty:
                continue
            if not open_ended:
                found.append(f"{p.name}: torch has no such argument")
        elif p.name in NUMPY_ONLY:
            continue
        elif not _same(p.default, other.default):
            found.append(f"{p.name}: default {_text(p.default)}, torch {_text(other.default)}")
        else:
            found += _placed(p, other, names, list(known.values()))
    lacking = [n for n in known if n not in names and n not in NUMPY_ONLY | TORCH_ONLY]
    found += [f"{n}: torch has it, NumPy does not" for n in lacking]
    order = [p.name for p in a if p.name in known and p.name not in NUMPY_ONLY]
    if order != [n for n in known if n in order]:
        found.append(f"order {order}, torch {[n for n in known if n in order]}")
    return found


def _placed(p: Parameter, other: Parameter, names: set[str], theirs: list[Parameter]) -> list[str]:
    """Given by position, the two mean the same, or NumPy refuses what torch reads otherwise."""
    if other.kind is other.KEYWORD_ONLY:
        return []
    skipped = [q.name for q in theirs[: theirs.index(other)] if q.name not in names | DATA]
    if p.kind is p.KEYWORD_ONLY and not skipped:
        return [f"{p.name}: keyword only, in torch it can be given by position"]
    if p.kind is not p.KEYWORD_ONLY and skipped:
        return [f"{p.name}: must be keyword only, by position torch has {skipped[0]} there"]
    return []


def parameters(target: Any) -> list[Parameter] | None:
    """The arguments without self; of a class, those of its constructor. None if unreadable."""
    try:
        if inspect.isclass(target):
            makes: Callable[..., Any] = vars(target).get("__init__") or target.__init__
            if makes is object.__init__:
                makes = target.__new__
                if makes is object.__new__:
                    return []
            return list(inspect.signature(makes).parameters.values())[1:]
        return list(inspect.signature(target).parameters.values())
    except ValueError:
        return _from_docstring(target)


def _from_docstring(target: Any) -> list[Parameter] | None:
    """Built-ins write theirs in the first line: sigmoid(input, *, out=None) -> Tensor."""
    line = (inspect.getdoc(target) or "").split("\n")[0]
    written = re.match(r"\w+\((.*)\)\s*(->.*)?$", line)
    if not written:
        return None
    scope: dict[str, Any] = {}
    exec(f"def written({written[1]}): pass", scope)
    return list(Signature.from_callable(scope["written"]).parameters.values())


def _same(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if callable(a) and callable(b):  # np.mean and torch.mean
        return getattr(a, "__name__", a) == getattr(b, "__name__", b)
    return type(a) is type(b) and bool(a == b) or (_number(a) and _number(b) and a == b)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(default: Any) -> str:
    return "required" if default is Parameter.empty else repr(default)


def backward_arguments(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    y: Any,
    inputs: Sequence[Any],
    config: Mapping[str, Any],
) -> dict[str, Any]:
    """What a backward is handed beside dy, by the names that it asks for.

    `y` or `output` is what the forward returned, the names of the forward's inputs are those inputs
    (`x` stands for the first), and the rest comes from the configuration.
    """
    takes = inspect.signature(forward).parameters
    known = {"y": y, "output": y, "x": inputs[0], **dict(zip(takes, inputs)), **config}
    _, *names = inspect.signature(backward).parameters
    return {name: known[name] for name in names if name in known}
