"""The scripts in cells: how their page groups them, what each shows, which command it is of."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from markupsafe import Markup

from examples.study import code, docs
from examples.study.source import ROOT

EXAMPLES = ROOT / "examples"
CELLS = EXAMPLES / "cells"

GROUPS = (
    ("To begin with", ("first_network", "running_variance", "own_layer")),
    ("The tools at work", ("digits", "own_code", "debugging", "tuning", "benchmarks")),
    (
        "Five pitfalls",
        ("vanishing", "exploding", "overfitting", "learning_rate", "initialization"),
    ),
)


@dataclass(frozen=True)
class Script:
    """One script in cells."""

    path: Path

    @property
    def name(self) -> str:
        """What its file, its notebook and its place on the page are called."""
        return self.path.stem

    @property
    def text(self) -> str:
        """The script."""
        return self.path.read_text(encoding="utf-8")

    @property
    def opening(self) -> list[str]:
        """The lines of its first cell, which is words."""
        lines = takewhile(lambda line: line.startswith("#"), self.text.split("\n")[1:])
        return [line.removeprefix("#").removeprefix(" ") for line in lines]

    @property
    def title(self) -> str:
        """Its heading."""
        return self.opening[0].removeprefix("# ")

    @property
    def words(self) -> str:
        """What it shows, as it says itself."""
        return "\n".join(self.opening[1:]).strip()

    @property
    def says(self) -> Markup:
        """The same as HTML."""
        return docs.html(self.words)

    @property
    def code(self) -> Markup:
        """The whole script as HTML."""
        return code.block(self.text)

    @property
    def files(self) -> list[str]:
        """Its path in the checkout, and that of the command that does the same at full size."""
        return [str(p.relative_to(ROOT)) for p in (self.path, self.whole) if p]

    @property
    def notebook(self) -> str:
        """Its path in the site as a notebook."""
        return f"notebooks/{self.name}.ipynb"

    @property
    def whole(self) -> Path | None:
        """The file of the command that does the same at full size; None where there is none."""
        places = f"{self.name}.py", f"{self.name}/__main__.py", f"pitfalls/{self.name}.py"
        return next((EXAMPLES / place for place in places if (EXAMPLES / place).exists()), None)

    @property
    def command(self) -> str:
        """That command; without one, what runs the script."""
        if self.whole is None:
            return started(self.path)
        if self.whole.parent.name == "pitfalls":
            return f"python -m examples.pitfalls {self.name.replace('_', '-')}"
        return started(self.whole)


def groups() -> Iterator[tuple[str, list[Script]]]:
    """The scripts in the order of their page."""
    for title, names in GROUPS:
        yield title, [Script(CELLS / f"{name}.py") for name in names]


def others() -> Iterator[dict[str, str]]:
    """The commands among the examples that no script in cells is a look at."""
    known = [script.command for _, scripts in groups() for script in scripts]
    for path in sorted([*EXAMPLES.glob("*.py"), *EXAMPLES.glob("*/*.py")]):
        text, command = path.read_text(encoding="utf-8"), started(path)
        if '\nif __name__ == "__main__"' in text and not any(k.startswith(command) for k in known):
            says = docs.first(ast.get_docstring(ast.parse(text)))
            yield {"command": command, "says": says, "source": str(path.relative_to(ROOT))}


def started(path: Path) -> str:
    """The line that starts a command of the examples."""
    where = path.relative_to(ROOT)
    if where.parent == Path("examples") or path.parent == CELLS:
        return f"python {where}"
    module = where.parent if where.stem == "__main__" else where.with_suffix("")
    return f"python -m {'.'.join(module.parts)}"
