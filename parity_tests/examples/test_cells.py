"""The scripts in cells run from top to bottom, and say what they should; all are notebooks.

The short ones are run here, the looks at a command by `.ci/run`, each as a process of its own.
"""

import ast
import contextlib
import io
import runpy
from importlib import import_module

import jupytext
import nbformat
import pytest

from examples.pitfalls.__main__ import PITFALLS
from examples.study import notebooks, scripts

SAYS = {
    "first_network": ["start: True", "loss 2.3"],
    "running_variance": ["its outputs are 1.15", "mended: equal to torch's to "],
    "own_layer": ["not the slope of your own forward", "PASS  Mended"],
}

SCRIPTS = {script.name: script for _, group in scripts.groups() for script in group}


@pytest.mark.parametrize("name", SAYS)
def test_a_script_runs_and_says_what_it_should(name):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        left = runpy.run_path(str(SCRIPTS[name].path))
    for text in SAYS[name]:
        assert text in printed.getvalue()
    if name == "first_network":
        assert left["same_start"] and left["apart"] < 1e-12
    if name == "own_layer":
        assert not left["first"] and left["mended"]


def test_every_script_is_shown_and_every_command_has_one():
    assert {p.stem for p in scripts.CELLS.glob("*.py")} == {"__init__", *SCRIPTS}
    commands = {script.command for script in SCRIPTS.values()}
    assert {f"python -m examples.pitfalls {pitfall.name}" for pitfall in PITFALLS} < commands
    lacking = {other["command"] for other in scripts.others()}
    assert lacking == {
        "python -m examples.road",  # its stages are scripts in cells
        "python -m examples.study",  # this site
        "python -m examples.tuning.optuna_workers",  # wants Optuna
    }


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_a_valid_notebook_of_words_and_short_cells(name, tmp_path):
    notebooks.write(SCRIPTS[name].path, tmp_path / "made.ipynb")
    made = nbformat.read(tmp_path / "made.ipynb", as_version=4)
    nbformat.validate(made)
    words = [cell.source for cell in made.cells if cell.cell_type == "markdown"]
    assert words[0] == "\n".join(SCRIPTS[name].opening) and words[0].startswith("# ")
    assert len(words) >= 3, "cells that nobody says anything about"
    for cell in made.cells:
        assert cell.source and len(cell.source.splitlines()) <= 25, "a cell to be cut in two"
        if cell.cell_type == "code":
            compile(cell.source, name, "exec")
    assert jupytext.writes(made, "py:percent").count("# %%") == len(made.cells)


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_a_script_imports_is_there(name):
    for node in ast.walk(ast.parse(SCRIPTS[name].text)):
        if isinstance(node, ast.ImportFrom) and node.module:
            module = import_module(node.module)
            for wanted in node.names:
                assert hasattr(module, wanted.name) or import_module(f"{node.module}.{wanted.name}")
