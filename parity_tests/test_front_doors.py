"""Who may import whom, and that the front doors lead to what torch has at the same place."""

import ast
import functools
import importlib
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from numpy_impl import nn, optim

ROOT = Path(__file__).resolve().parent.parent
IMPORTS = {
    "numpy_impl": {"numpy_impl", "numpy", "tqdm", "matplotlib", "safetensors"},
    "torch_impl": {"torch_impl", "torch", "numpy", "tqdm", "matplotlib", "safetensors"},
}
DOORS = {"nn": (nn, torch.nn), "optim": (optim, torch.optim)}
ELSEWHERE_IN_TORCH = {
    "nn.no_grad": "torch.no_grad",
    "nn.is_grad_enabled": "torch.is_grad_enabled",
}
"""Names of the front doors that torch keeps at another place."""
OURS_ALONE = {
    "nn.init.init_weights": "a recipe: He's or Xavier's rule for a whole model, by activation",
    "nn.utils.clipped_step": "a recipe: clip by the global norm, then step",
    "optim.lr_scheduler.InverseTimeLR": "the guide's schedule, which torch leaves to LambdaLR",
    "optim.lr_scheduler.warmup_then": "a recipe: LinearLR, then a schedule, by SequentialLR",
}
"""Names that torch does not have, and why they stand beside its own."""


# ---- who imports whom ---------------------------------------------------------------------------


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Every package that a file names in an import, wherever in the file, with its line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.lineno, (node.module or "").split(".")[0]
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in ("import_module", "__import__"):
                yield node.lineno, str(node.args[0].value).split(".")[0]


@pytest.mark.parametrize("side", IMPORTS)
def test_a_side_imports_what_it_may(side: str) -> None:
    allowed = IMPORTS[side] | sys.stdlib_module_names
    found = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in sorted((ROOT / side).rglob("*.py"))
        for line, name in imports(path)
        if name not in allowed
    ]
    assert not found, "\n".join(found)


TRAIN_WITHOUT_TORCH = """
import sys
for name in ("torch", "torch_impl", "parity_tests", "examples"):
    sys.modules[name] = None  # an import of it raises
import importlib, pkgutil
import numpy as np
import numpy_impl
from numpy_impl import nn, optim
for found in pkgutil.walk_packages(numpy_impl.__path__, "numpy_impl."):
    importlib.import_module(found.name)
numpy_impl.manual_seed(0)
rng = np.random.default_rng(0)
x = rng.standard_normal((64, 4)).astype(np.float32)
y = (x[:, 0] > 0).astype(np.int64)
model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
optimizer, criterion = optim.AdamW(model.parameters(), lr=1e-2), nn.CrossEntropyLoss()
for _ in range(60):
    loss = criterion(model(x), y)
    model.backward(criterion.backward())
    optimizer.step()
    optimizer.zero_grad()
with nn.no_grad():
    right = float((model(x).argmax(axis=1) == y).mean())
assert right > 0.9, right
"""


def test_the_numpy_side_imports_and_trains_where_torch_is_not_installed() -> None:
    done = subprocess.run(
        [sys.executable, "-c", TRAIN_WITHOUT_TORCH], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


# ---- the front doors ----------------------------------------------------------------------------


def behind(door: str, ours: ModuleType, theirs: ModuleType) -> Iterator[str]:
    """Names that a door lists and torch does not have there."""
    for name in ours.__all__:
        path, twin = f"{door}.{name}", getattr(theirs, name, None)
        forward = name.removesuffix("_backward")
        if not hasattr(ours, name):
            yield f"{path} is listed and does not exist"
        elif isinstance(getattr(ours, name), ModuleType):
            if not isinstance(twin, ModuleType):
                yield f"torch.{path} is no module"
            else:
                yield from behind(path, getattr(ours, name), twin)
        elif forward != name:
            if forward not in ours.__all__:
                yield f"{path} has no {forward} beside it"
        elif twin is None and path not in ELSEWHERE_IN_TORCH | OURS_ALONE:
            yield f"torch.{path} does not exist"


@pytest.mark.parametrize("door", DOORS)
def test_a_front_door_leads_to_what_torch_has_there(door: str) -> None:
    found = list(behind(door, *DOORS[door]))
    assert not found, "\n".join(found)


def test_what_torch_keeps_elsewhere_is_there() -> None:
    for path in ELSEWHERE_IN_TORCH.values():
        functools.reduce(getattr, path.split(".")[1:], torch)


def test_every_layer_and_optimizer_that_torch_has_is_behind_its_door() -> None:
    found = []
    chapters = {"layers": nn, "losses": nn, "normalization": nn, "optimization": optim}
    for chapter, door in chapters.items():
        theirs = importlib.import_module(f"torch_impl.{chapter}")
        for name in theirs.__all__:
            named = getattr(theirs, name)
            where = getattr(named, "__module__", "")
            shipped = where.startswith(("torch.nn.modules", "torch.optim")) and inspect.isclass(
                named
            )
            places = [door, getattr(door, "lr_scheduler", None)]
            if shipped and not any(hasattr(place, name) for place in places):
                found.append(f"{door.__name__} lacks {name} of {chapter}")
    assert not found, "\n".join(found)
