"""A run stopped on one side goes on where it was on the other, and bad files are refused."""

import json
import math
import os
import re
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from safetensors.numpy import save_file

from examples.datasets import load_splits
from numpy_impl import nn, optim
from numpy_impl.random import Generator, default_generator
from numpy_impl.training import checkpoint as ours
from parity_tests.harness import RuleCase
from parity_tests.harness.bridge import to_numpy, to_torch
from parity_tests.harness.mistake import Mistake
from parity_tests.harness.refusal import REFUSALS, raises
from torch_impl.training import checkpoint as theirs


class Side:
    """One side's half of a run: the digits, batch norm, dropout, AdamW in two groups, a warm-up."""

    def __init__(self, which: str) -> None:
        self.numpy = which == "numpy"
        self.nn: Any = nn if self.numpy else torch.nn
        self.optim: Any = optim if self.numpy else torch.optim
        # no bias in front of the norm: its gradient is rounding, which Adam would blow up
        linear = self.nn.Linear(64, 16, bias=False)
        layers = linear, self.nn.BatchNorm1d(16), self.nn.ReLU(), self.nn.Dropout(0.3)
        self.model = self.nn.Sequential(*layers, self.nn.Linear(16, 10)).double()
        *norm, last = list(self.model.parameters())
        groups = [{"params": norm}, {"params": [last], "lr": 0.02, "weight_decay": 0.0}]
        self.optimizer = self.optim.AdamW(groups, lr=0.01, amsgrad=True)
        schedule = self.optim.lr_scheduler
        parts = (
            schedule.LinearLR(self.optimizer, 0.1, total_iters=3),
            schedule.ExponentialLR(self.optimizer, 0.9),
        )
        self.scheduler = schedule.SequentialLR(self.optimizer, list(parts), [3])
        self.generator = default_generator if self.numpy else torch.default_generator

    @property
    def parts(self) -> dict[str, Any]:
        names = "model", "optimizer", "scheduler", "generator"
        return {name: getattr(self, name) for name in names}

    def step(self, x: Any, y: Any) -> float:
        """One step; its batch and its dropout mask come from the generator."""
        rows: Any = default_generator.randperm(len(x)) if self.numpy else torch.randperm(len(x))
        x, y = (x, y) if self.numpy else (to_torch(x), to_torch(y))
        rows, criterion = rows[:32], self.nn.CrossEntropyLoss()
        self.optimizer.zero_grad()
        loss = criterion(self.model(x[rows]), y[rows])
        if self.numpy:
            self.model.backward(criterion.backward())
        else:
            loss.backward()
        self.optimizer.step()
        self.scheduler.step()
        return loss.item()

    def everything(self) -> dict[str, Any]:
        """All numbers of its state, flat."""
        found = {f"model {k}": to_numpy(v) for k, v in self.model.state_dict().items()}
        for i, state in self.optimizer.state_dict()["state"].items():
            found |= {f"state {i} {k}": to_numpy(v) for k, v in state.items()}
        found["rates"] = np.array([group["lr"] for group in self.optimizer.param_groups])
        found["epoch"] = np.array(self.scheduler.last_epoch)
        return found


def data() -> tuple[Any, Any]:
    """Two hundred digits as rows, and what they are."""
    splits = load_splits()
    return splits.x_train[:200].reshape(-1, 64).astype(np.float64), splits.y_train[:200]


def near(a: Any, b: Any) -> bool:
    """Equal to rounding: the runs are a dozen steps long."""
    return a.keys() == b.keys() and all(np.allclose(a[k], b[k], rtol=1e-11, atol=1e-13) for k in a)


def without_moments(path: Any, /, **parts: Any) -> None:
    """Every optimizer as if it had not stepped."""
    states = {
        k: {**v.state_dict(), "state": {}} if hasattr(v, "param_groups") else v
        for k, v in parts.items()
    }
    ours.save_checkpoint(path, **states)


def without_generator(path: Any, /, **parts: Any) -> None:
    """A generator as it is when new."""
    fresh = Generator().manual_seed(0)
    ours.save_checkpoint(path, **{k: fresh if k == "generator" else v for k, v in parts.items()})


def through_float32(path: Any, /, **parts: Any) -> None:
    """Arrays of float64 with the digits of float32."""
    ours.save_checkpoint(path, **{k: _rounded(ours._state(v)) for k, v in parts.items()})


def _rounded(tree: Any) -> Any:
    if isinstance(tree, np.ndarray) and tree.dtype == np.float64:
        return tree.astype(np.float32).astype(np.float64)
    if isinstance(tree, dict):
        return {k: _rounded(v) for k, v in tree.items()}
    return tree


def in_place(path: Any, /, **parts: Any) -> None:
    """Straight over the old file."""
    with patch.object(ours, "_replace", lambda target, content: target.write_bytes(content)):
        ours.save_checkpoint(path, **parts)


def lists_for_tuples(path: Any, /, **parts: Any) -> None:
    """Every tuple as a list."""
    ours.save_checkpoint(path, **{k: _listed(ours._state(v)) for k, v in parts.items()})


def _listed(tree: Any) -> Any:
    if isinstance(tree, list | tuple):
        return [_listed(v) for v in tree]
    return {k: _listed(v) for k, v in tree.items()} if isinstance(tree, dict) else tree


class TestSaveCheckpoint(RuleCase):
    numpy, torch = ours.save_checkpoint, theirs.save_checkpoint
    covers = (ours.load_checkpoint,)
    mistakes = {
        "the optimizer's state left out": Mistake(
            without_moments,
            "Scripts that save the weights alone, torch's first tutorial among them.",
            "Adam's means start at zero again: the next steps are long and the loss jumps.",
        ),
        "the generator left out": Mistake(
            without_generator,
            "Most checkpoints hold no random state.",
            "Shuffles and dropout masks after the break are others than of an unbroken run.",
        ),
        "rounded to float32": Mistake(
            through_float32,
            "Whoever writes arrays as text or casts them to save room.",
            "The run goes on from weights half of whose digits are gone.",
        ),
        "written in place": Mistake(
            in_place,
            "open(path, 'wb') and write, as in most scripts.",
            "A crash while it writes leaves neither the new checkpoint nor the old one.",
        ),
        "tuples become lists": Mistake(
            lists_for_tuples,
            "Whoever puts the state through JSON as it is.",
            "Adam's betas come back as a list, and == with a tuple fails from then on.",
        ),
    }

    def ios(self) -> tuple[Any, Any]:
        """Both sides' functions, this case's `numpy` among them."""
        mine = SimpleNamespace(
            save_checkpoint=type(self).numpy, load_checkpoint=ours.load_checkpoint
        )
        return mine, theirs

    def io(self, side: Side) -> Any:
        return self.ios()[not side.numpy]

    def check_a_run_goes_on_as_if_unbroken_whichever_side_takes_over(self, log, rng):
        x, y = data()
        whole = Side("numpy")
        start = _copied(whole.model.state_dict())
        default_generator.manual_seed(11)
        losses = [whole.step(x, y) for _ in range(12)]
        for route in ("numpy torch", "torch numpy", "numpy numpy", "torch torch"):
            first, second = map(Side, route.split())
            first.model.load_state_dict(start if first.numpy else dict(map(_tensor, start.items())))
            first.generator.manual_seed(11)
            found = [first.step(x, y) for _ in range(5)]
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "run.safetensors"
                self.io(first).save_checkpoint(path, **first.parts, steps=5)
                second.generator.manual_seed(12)
                rest = self.io(second).load_checkpoint(path, **second.parts)
            log.require(rest == {"steps": 5}, f"{route}: left over {rest}")
            log.require(near(first.everything(), second.everything()), f"{route}: other states")
            found += [second.step(x, y) for _ in range(7)]
            log.require(np.allclose(found, losses, rtol=1e-11), f"{route}: {found}, whole {losses}")
            log.require(near(second.everything(), whole.everything()), f"{route}: ends elsewhere")

    def check_values_come_back_as_they_were(self, log, rng):
        values: dict[str, Any] = {
            "none": None,
            "flag": True,
            "count": 2**70,
            "rate": 0.1,
            "worst": [math.inf, -math.inf],
            "text": 'ä "quoted" \x00',
            "nested": {"a": ((1, 2.0), [], {}), 0: {"b": [None]}, "0": 1},
        }
        with tempfile.TemporaryDirectory() as folder:
            for io in self.ios():
                path = os.path.join(folder, "values")
                io.save_checkpoint(path, **values)
                for reader in (ours, theirs):
                    back = reader.load_checkpoint(path)
                    log.require(back == values, f"{back}")
                    log.require(type(back["nested"]["a"]) is tuple, "a tuple came back as a list")

    def check_arrays_keep_dtype_shape_and_bits(self, log, rng):
        arrays = {
            f"{dtype} {shape}": (100 * rng.standard_normal(shape)).astype(dtype)
            for dtype in "f4 f8 i8 i4 u1 ?".split()
            for shape in ((), (0, 3), (2, 3))
        }
        nested = {"a.b": np.array(1.0), "a": {"b": np.array(2.0)}}  # the same way spelt twice
        nested |= {"c.d": np.array(3.0), "c": {"d": np.array(4.0)}}
        nested |= {"listed": [np.array(5.0)], "tupled": (np.array([6.0]),)}
        tangled = {
            "transposed": rng.standard_normal((3, 4)).T,
            "reversed": rng.standard_normal(5)[::-1],
            "spread": np.broadcast_to(rng.standard_normal(3), (2, 3)),
            "NaN": np.array([np.nan, np.inf, -0.0]),
        }
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "arrays")
            for io in self.ios():
                for given in (arrays, nested, tangled):
                    mine = io is not theirs
                    io.save_checkpoint(path, x=given if mine else _tensors(given))
                    for reader in (ours, theirs):
                        back = reader.load_checkpoint(path)["x"]
                        log.require(_same(back, given), f"NumPy writes: {mine}, {list(given)}")
            ours.save_checkpoint(path, x=np.arange(3.0).astype(">f8"))
            back = theirs.load_checkpoint(path)["x"].tolist()
            log.require(back == [0.0, 1.0, 2.0], f"bytes turned round: {back}")

    def check_tied_weights_are_written(self, log, rng):
        one = torch.nn.Linear(2, 2)
        other = torch.nn.Linear(2, 2)
        other.weight = one.weight
        tied = torch.nn.Sequential(one, other)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "tied")
            theirs.save_checkpoint(path, model=tied)
            back = ours.load_checkpoint(path)["model"]
            log.require(bool((back["0.weight"] == back["1.weight"]).all()), "two weights")

    def check_what_a_checkpoint_cannot_hold_is_named(self, log, rng):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "run"
            for io in (ours, theirs):
                for parts, where in (
                    (
                        {"rule": {"fn": [0, abs]}},
                        r"rule\.fn\.1 is a builtin_function_or_method, wh",
                    ),
                    ({"x": {(1, 2): 3}}, r"x has the key \(1, 2\)"),
                    ({"x": object()}, "x is a object"),
                    ({"x": {True: 1}}, "x has the key True"),
                ):
                    log.require(told(where, TypeError, io.save_checkpoint, path, **parts), where)
                log.require(told("at least one part", ValueError, io.save_checkpoint, path), "none")
            for array in (np.zeros(2, complex), np.array(["a"]), np.array([object()])):
                log.require(
                    told("cannot hold", TypeError, ours.save_checkpoint, path, x=array),
                    f"{array.dtype}",
                )
            complex_ = torch.zeros(2, dtype=torch.complex64)
            log.require(
                told("cannot hold", TypeError, theirs.save_checkpoint, path, x=complex_), "complex"
            )
            log.require(not list(Path(folder).iterdir()), "a refused save left a file")

    def check_a_failed_save_leaves_the_old_file_and_nothing_else(self, log, rng):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "run"
            for io in self.ios():
                io.save_checkpoint(path, epoch=1)
                with patch("os.replace", side_effect=OSError(28, "No space left on device")):
                    failed = told("No space", OSError, io.save_checkpoint, path, epoch=2)
                log.require(failed, "a full disk went unnoticed")
                log.require(io.load_checkpoint(path) == {"epoch": 1}, "the old file is gone")
                log.require(len(list(Path(folder).iterdir())) == 1, "left a file beside it")
            link = Path(folder) / "latest"
            link.symlink_to(path)
            ours.save_checkpoint(link, epoch=3)
            log.require(link.is_symlink(), "a link was replaced by a file")
            log.require(ours.load_checkpoint(path) == {"epoch": 3}, "not written through the link")

    def check_bad_files_are_refused_by_what_is_wrong(self, log, rng):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "run"
            ours.save_checkpoint(path, x=np.arange(4.0), rest={"a": [1, (2,)]})
            good = path.read_bytes()
            for io in (ours, theirs):
                for end in range(0, len(good), 7):
                    path.write_bytes(good[:end])
                    text = "not a checkpoint, or is damaged"
                    log.require(told(text, ValueError, io.load_checkpoint, path), f"cut at {end}")
                path.write_bytes(good + b"more")
                log.require(raises(io.load_checkpoint, path), "bytes after the end")
                for content in (b"PK\x03\x04 a zip", b"\x80\x04\x95 a pickle", b"\xff" * 64):
                    path.write_bytes(content)
                    log.require(
                        told("not a checkpoint", ValueError, io.load_checkpoint, path), str(content)
                    )
                save_file({"x": np.zeros(2)}, path)
                log.require(
                    told("found 'no format'", ValueError, io.load_checkpoint, path), "foreign"
                )
                save_file({"x": np.zeros(2)}, path, {"format": "another"})
                log.require(
                    told("found 'another'", ValueError, io.load_checkpoint, path), "another"
                )
                for tree in _HOSTILE:
                    about = {"format": ours.FORMAT, "tree": tree}
                    save_file({"x": np.zeros(2)}, path, about)
                    log.require(
                        told("damaged", ValueError, io.load_checkpoint, path), f"{tree[:40]}"
                    )
                save_file({"x": np.zeros(2)}, path, {"format": ours.FORMAT})
                log.require(told("damaged", ValueError, io.load_checkpoint, path), "no tree")
                missing = Path(folder) / "none"
                log.require(told("none", FileNotFoundError, io.load_checkpoint, missing), "no file")

    def check_a_refused_load_changes_nothing(self, log, rng):
        x, y = data()
        for which in ("numpy", "torch"):
            run, other = Side(which), Side(which)
            for _ in range(3):
                run.step(x, y)
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "run"
                self.io(run).save_checkpoint(path, **run.parts, epoch=1)
                load, before = self.io(other).load_checkpoint, _copied(other.everything())
                for parts, text in (
                    (
                        {"model": other.model, "weights": other.model, "bias": other.model},
                        "has no weights, bias: it holds model, optimizer, scheduler, generator, ep",
                    ),
                    ({"model": other.model, "epoch": 2}, "epoch must have .* got a int; leave"),
                    ({"epoch": other.model}, "epoch in the file is no state_dict but a int$"),
                    (
                        {"model": other.model, "scheduler": other.optimizer},
                        "lacks param_groups, state and has _.*, last_epoch.* besides$",
                    ),
                    ({"model": other.nn.Sequential()}, "lacks nothing and has 0.weight, 1.bias"),
                    ({"model": other.model, "optimizer": other.scheduler}, "has param_groups, st"),
                    ({"optimizer": other.optimizer, "model": other.nn.Linear(64, 16)}, "weight"),
                    (
                        {
                            "model": other.model,
                            "optimizer": other.optim.AdamW(other.model.parameters()),
                        },
                        "different number of parameter groups",
                    ),
                ):
                    found = told(text, REFUSALS, load, path, **parts)
                    log.require(found, f"{which}: wanted {text!r}")
                    same = _same(other.everything(), before)
                    log.require(same, f"{which}: changed by a load refused with {text!r}")

    def check_a_half_matching_model_is_put_back(self, log, rng):
        """torch copies what fits before it says what does not."""
        for io, lib in ((ours, nn), (theirs, torch.nn)):
            saved = lib.Sequential(lib.Linear(3, 4), lib.Linear(4, 2))
            model = lib.Sequential(lib.Linear(3, 4), lib.Linear(4, 5))
            before = {k: to_numpy(v).copy() for k, v in model.state_dict().items()}
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "run"
                io.save_checkpoint(path, model=saved)
                log.require(
                    told("weight", RuntimeError, io.load_checkpoint, path, model=model),
                    "another width",
                )
            log.require(_same(model.state_dict(), before), "the first layer was overwritten")

    def check_a_part_may_be_called_path(self, log, rng):
        with tempfile.TemporaryDirectory() as folder:
            for io in (ours, theirs):
                io.save_checkpoint(Path(folder) / "run", path="here")
                back = io.load_checkpoint(Path(folder) / "run")
                log.require(back == {"path": "here"}, f"{back}")


_HOSTILE = [
    "",
    "[]",
    "{",
    "[" * 10**5,
    json.dumps({"x": {"array": "y"}}),
    json.dumps({"x": {"array": ["x"]}}),
    json.dumps({"x": {"code": "print()"}}),
    json.dumps({"x": {"list": 1, "tuple": 2}}),
    json.dumps({"x": {"dict": [1]}}),
    json.dumps({"x": {"dict": [[[], 1]]}}),
    json.dumps({"x": [1]}),
    json.dumps({"x": {}}),
]


def told(pattern: str, error: Any, fn: Any, *args: Any, **kwargs: Any) -> bool:
    """Whether it raises that error, and says that."""
    try:
        fn(*args, **kwargs)
    except error as raised:
        return re.search(pattern, str(raised)) is not None
    return False


def _tensor(item: tuple[str, Any]) -> tuple[str, torch.Tensor]:
    return item[0], to_torch(item[1])


def _tensors(given: Any) -> Any:
    if isinstance(given, dict):
        return {k: _tensors(v) for k, v in given.items()}
    if isinstance(given, list | tuple):
        return type(given)(map(_tensors, given))
    return torch.from_numpy(np.array(given))


def _copied(state: dict[str, Any]) -> dict[str, Any]:
    return {k: v.copy() for k, v in state.items()}


def _same(a: Any, b: Any) -> bool:
    if isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[k], b[k]) for k in b)
    if isinstance(b, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(_same, a, b))
    a = to_numpy(a) if isinstance(a, torch.Tensor) else np.asarray(a)
    return bool(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes())
