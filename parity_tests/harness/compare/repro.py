"""A script that runs a comparison again."""

from __future__ import annotations

import base64
import inspect
import pickle
import sys
import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

HEADER = '''"""Runs a comparison again: python this_file.py"""

import base64
import importlib.util
import pickle

import numpy as np
import torch

from parity_tests import compare


def load(path, name):
    spec = importlib.util.spec_from_file_location("mine", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)

'''
PICKLED = 50_000


def script(given: Mapping[str, Any], mine: Any, theirs: Any) -> str:
    """The text of the script; what cannot be written down is left to fill in, and says so."""
    from parity_tests.harness.compare.own_code import OwnCode

    mine = mine.mine if isinstance(mine, OwnCode) else mine
    lines = [HEADER, *_thing("mine", mine), *_thing("theirs", theirs), ""]
    arguments = []
    for name, value in given.items():
        default = _default(name)
        if name in ("backward", "loss") and value is not None:
            lines += _thing(name, value)
            arguments.append(f"{name}={name}")
        elif not _same(value, default):
            arguments.append(f"{name}={_literal(value)}")
    lines.append(f"result = compare(mine, theirs{''.join(', ' + a for a in arguments)})")
    lines.append("print(result.text())")
    return "\n".join(lines) + "\n"


def _default(name: str) -> Any:
    from parity_tests.harness.compare.entry import compare

    return inspect.signature(compare).parameters[name].default


def _same(a: Any, b: Any) -> bool:
    try:
        return bool(type(a) is type(b) and a == b) or (a == {} and b is None)
    except ValueError:
        return False


def _thing(name: str, value: Any) -> list[str]:
    if inspect.isclass(value) or inspect.isroutine(value):
        module, qualified = getattr(value, "__module__", None) or "", value.__qualname__
        if module.startswith("torch"):
            public = f"torch.nn.{value.__name__}"
            for path in (
                public,
                f"torch.nn.functional.{value.__name__}",
                f"torch.optim.{value.__name__}",
                f"torch.optim.lr_scheduler.{value.__name__}",
                f"torch.{value.__name__}",
            ):
                if _find(path) is value:
                    return [f"{name} = {path}"]
        if "<" not in qualified and "." not in qualified and module in sys.modules:
            loaded = sys.modules[module]
            file = getattr(loaded, "__file__", None)
            if module != "__main__" and "." in module and getattr(loaded, "__spec__", None):
                return [f"from {module} import {qualified} as {name}"]
            if file:
                return [f"{name} = load({file!r}, {qualified!r})"]
        try:
            source = textwrap.dedent(inspect.getsource(value))
        except (OSError, TypeError):
            return [f"{name} = ...  # {value!r}: put it here"]
        if source.startswith(("def ", "class ", "@")):
            return [source, f"{name} = {value.__name__}"]
        return [f"{name} = ...  # {source.strip()}"]
    try:
        data = pickle.dumps(value)
    except Exception:
        data = b""
    if 0 < len(data) <= PICKLED and "<locals>" not in repr(type(value)):
        text = base64.b64encode(data).decode()
        return [
            f"{name} = pickle.loads(base64.b64decode(  # {type(value).__name__}",
            f"    {text!r}",
            "))",
        ]
    return [f"{name} = ...  # the {type(value).__name__} that was compared: put it here"]


def _find(path: str) -> Any:
    at: Any = torch
    for part in path.split(".")[1:]:
        at = getattr(at, part, None)
    return at


def _literal(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        value = value.detach().numpy()
    if isinstance(value, np.ndarray):
        return f"np.array({value.tolist()!r}, dtype=np.{value.dtype})"
    if isinstance(value, list | tuple):
        inner = ", ".join(_literal(v) for v in value)
        return (
            f"({inner}{',' if len(value) == 1 else ''})"
            if isinstance(value, tuple)
            else f"[{inner}]"
        )
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k!r}: {_literal(v)}" for k, v in value.items()) + "}"
    return repr(value)
