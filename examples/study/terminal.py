"""A pair side by side in a terminal: paged and coloured where there is one, plain elsewhere."""

from __future__ import annotations

import importlib
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.rule import Rule
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from examples.study import docs, source
from examples.study.source import ROOT
from examples.study.technique import COLUMNS, beside, built_ins, measured

WIDE = 150  # columns of the terminal from which two of code fit beside each other


def show(
    techniques: Sequence[tuple[str, str]],
    report: Mapping[str, Any] | None,
    pager: bool | None = None,
    width: int | None = None,
) -> None:
    """Print the pair of each (chapter, stem); through a pager where somebody watches."""
    console = Console(width=width, soft_wrap=False)
    pairs = Group(*(_pair(c, s, report, console.width) for c, s in techniques))
    if console.is_terminal if pager is None else pager:
        with console.pager(styles=console.is_terminal):
            console.print(pairs)
    else:
        console.print(pairs)
    sys.stdout.flush()


def _pair(chapter: str, stem: str, report: Mapping[str, Any] | None, width: int) -> RenderableType:
    path = f"{chapter}/{stem}.py"
    sides = [ROOT / side / path for side in ("numpy_impl", "torch_impl")]
    says = docs.first_line(source.docstring(sides[0]))
    parts: list[RenderableType] = [Rule(Text(path, "bold")), Text(says), Text("")]
    parts += [_figures(chapter, stem, report), Text("")]
    texts = [side.read_text(encoding="utf-8").rstrip() for side in sides]
    if width < WIDE:
        for name, text in zip(("numpy_impl", "torch_impl"), texts, strict=True):
            parts += [Rule(Text(f"{name}/{path}"), align="left"), _code(text)]
        return Group(*parts)
    grid = Table.grid(padding=(0, 2), expand=True)
    grid.add_column(ratio=1)
    grid.add_column(ratio=1)
    grid.add_row(*(Text(f"{name}/{path}", "bold") for name in ("numpy_impl", "torch_impl")))
    grid.add_row(*(_code(source.docstring_text(text) + "\n") for text in texts))
    left, right = (source.pieces(side, whole=True) for side in sides)
    theirs = importlib.import_module(f"torch_impl.{chapter}.{stem}")
    built = built_ins(theirs, source.public(sides[0]), right)
    for row in source.side_by_side(left, right):
        written, note = beside(row, built, {})
        remark = "\n".join(f"# {line}" for line in textwrap.wrap(note, width // 2 - 6))
        grid.add_row(
            _code(row.ours.source + "\n") if row.ours else Text(""),
            _code("\n".join(text for text in (written, remark) if text) + "\n"),
        )
    return Group(*parts, grid)


def _code(text: str) -> Syntax:
    return Syntax(text, "python", theme="ansi_dark", word_wrap=True, background_color="default")


def _figures(chapter: str, stem: str, report: Mapping[str, Any] | None) -> RenderableType:
    rows = measured(chapter, stem, report)
    if not rows:
        return Text("Not measured yet: parity run writes the figures that stand here.")
    table = Table("case", "compared", box=None, pad_edge=False, title_justify="left")
    for dtype, kind in COLUMNS:
        table.add_column(f"{kind}\n{dtype}", justify="right")
    table.add_column("verdict")
    for m in rows:
        table.add_row(m["name"], f"{m['comparisons']:,}", *m["units"], m["verdict"])
    return Group(Text("Worst differences of the last run, in budgets of rounding"), table)
