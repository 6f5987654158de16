"""Scripts in cells (`# %%`) as notebooks, by jupytext."""

from __future__ import annotations

import base64
from pathlib import Path

import jupytext


def write(script: Path, notebook: Path) -> None:
    """Write a script in cells as a notebook, its cells in order and nothing run."""
    notebook.parent.mkdir(parents=True, exist_ok=True)
    made = jupytext.read(script, fmt="py:percent")
    made.metadata["kernelspec"] = {
        "display_name": "Python 3",
        "language": "python",
        "name": "python3",
    }
    for i, cell in enumerate(made.cells):
        cell["id"] = f"cell-{i}"  # else at random, and another file each time
    jupytext.write(made, notebook, fmt="ipynb")


def link(notebook: Path) -> str:
    """A link that holds a notebook itself: browsers save it, where they show a file on the disk."""
    held = base64.b64encode(notebook.read_bytes()).decode("ascii")
    return f"data:application/x-ipynb+json;base64,{held}"
