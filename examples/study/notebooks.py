"""Scripts in cells (`# %%`) as notebooks, by jupytext."""

from __future__ import annotations

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
