"""The command `parity compare`: somebody's file beside torch, from the shell.

parity compare mine.py:MyLayer torch.nn:LayerNorm --args 8 --input 4x8
"""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

EPILOG = """\
examples:
  parity compare mine.py:MyLayer torch.nn:LayerNorm --args 8 --input 4x8
  parity compare mine.py:softmax torch.nn:Softmax --torch-args dim=-1 --input 5x4 \\
      --backward mine.py:softmax_backward
  parity compare mine.py:Adam torch.optim:AdamW --args lr=0.01 weight_decay=0.1
  parity compare mine.py:Loss torch.nn:CrossEntropyLoss --input 6x5 6:int5
exit status: 0 they agree, 1 they differ, 2 they cannot be brought together as called.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a parser the arguments of the command."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.add_argument("mine", help="the NumPy side: file.py:Name or package.module:Name")
    parser.add_argument("theirs", help="the torch side: torch.nn:LayerNorm, or file.py:name")
    values: dict[str, Any] = {"nargs": "+", "default": [], "metavar": "V", "action": "extend"}
    parser.add_argument("--args", **values, help="for both constructors: 8, eps=1e-3, '[3,4]'")
    parser.add_argument(
        "--numpy-args", **values, help="for the NumPy side only, in place of --args"
    )
    parser.add_argument(
        "--torch-args", **values, help="for the torch side only, in place of --args"
    )
    parser.add_argument(
        "--input",
        "--inputs",
        dest="inputs",
        nargs="+",
        action="extend",
        metavar="SHAPE",
        help="one an input: 4x8, 4x8:unit (0 to 1), 5:int10 (whole, below 10), 6:bool",
    )
    parser.add_argument(
        "--params",
        nargs="+",
        default=[],
        metavar="MINE=THEIRS",
        help="which parameter is which, where names and shapes leave it open: W=weight.T",
    )
    parser.add_argument(
        "--grads",
        nargs="+",
        default=[],
        metavar="PARAM=NAME",
        help="what holds the gradient of a parameter, if it is not found",
    )
    parser.add_argument(
        "--taps",
        nargs="+",
        default=[],
        metavar="MINE=THEIRS",
        help="sub-layers to compare one by one: layers.0=encoder.0",
    )
    parser.add_argument(
        "--backward", metavar="FILE:NAME", help="the function that gives the gradients"
    )
    parser.add_argument(
        "--loss", metavar="FILE:NAME", help="a torch loss, for a backward that starts at a target"
    )
    parser.add_argument("--target", metavar="SHAPE", help="of the loss's target, as for --input")
    parser.add_argument(
        "--forward-args",
        nargs="+",
        default=[],
        metavar="NAME=V",
        help="further arguments of the NumPy forward",
    )
    parser.add_argument(
        "--modes", nargs="+", choices=("train", "eval"), help="default: as it matters"
    )
    parser.add_argument("--steps", type=int, help="of an optimizer or a scheduler")
    parser.add_argument("--lr", type=float, help="the rate to start from")
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float64")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--repro", type=Path, metavar="FILE", help="write a script that runs it again"
    )


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    from parity_tests.harness.compare.entry import compare
    from parity_tests.harness.compare.mapping import Uncomparable

    try:
        positional, named = split(args.args)
        options: dict[str, Any] = {"args": positional, "kwargs": named}
        for side in ("numpy", "torch"):
            given = getattr(args, f"{side}_args")
            if given:
                options[f"{side}_args"], options[f"{side}_kwargs"] = split(given)
        for name in ("params", "grads", "taps"):
            pairs = dict(_pair(p) for p in getattr(args, name))
            if pairs:
                options[name] = pairs
        for name in ("backward", "loss"):
            text = getattr(args, name)
            if text:
                options[name] = load(text)
        if args.forward_args:
            options["forward_kwargs"] = split(args.forward_args)[1]
        for name in ("inputs", "target", "modes", "steps", "lr"):
            if getattr(args, name) is not None:
                options[name] = getattr(args, name)
        result = compare(
            load(args.mine), load(args.theirs), dtype=args.dtype, seed=args.seed, **options
        )
    except (Uncomparable, LookupError) as error:
        print(f"parity: {error}", file=sys.stderr)
        return 2
    print(result.json() if args.json else result.text())
    if args.repro:
        try:
            args.repro.write_text(result.repro(), encoding="utf-8")
        except OSError as error:
            print(f"parity: cannot write {args.repro}: {error}", file=sys.stderr)
            return 2
    return 0 if result else 1


def load(text: str) -> Any:
    """What file.py:Name or package.module:Name stands for.

    Raises:
        LookupError: there is no such file, module or name.
    """
    where, colon, name = text.rpartition(":")
    if not colon or not where:
        raise LookupError(f"wanted file.py:Name or package.module:Name, got {text!r}")
    if where.endswith(".py"):
        path = Path(where)
        if not path.is_file():
            raise LookupError(f"there is no file {where}")
        alias = f"own_{path.stem}"  # not to be taken for a module of that name
        spec = importlib.util.spec_from_file_location(alias, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[alias] = module
        sys.path.insert(0, str(path.parent.resolve()))
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            raise LookupError(f"{where} does not run: {type(error).__name__}: {error}") from error
        finally:
            sys.path.remove(str(path.parent.resolve()))
    else:
        try:
            module = importlib.import_module(where)
        except ImportError as error:
            raise LookupError(f"cannot import {where}: {error}") from error
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            names = {n.lower(): n for n in vars(module) if not n.startswith("_")}
            near = difflib.get_close_matches(part.lower(), names)
            listed = ", ".join(names[n] for n in near or names)[:200]
            raise LookupError(f"{where} has no {name!r}; it has {listed}")
        found = getattr(found, part)
    return found


def split(texts: Sequence[str]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and named arguments from 8, eps=1e-3, '[3,4]', name=text."""
    positional, named = [], {}
    for text in texts:
        name, equals, value = text.partition("=")
        if equals and name.isidentifier():
            named[name] = _value(value)
        else:
            positional.append(_value(text))
    return tuple(positional), named


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        raise LookupError(f"wanted NAME=NAME, got {text!r}")
    return name, value
