"""The scripts in cells run from top to bottom, and say what they should."""

import contextlib
import io
import runpy
from pathlib import Path

import pytest

CELLS = Path(__file__).resolve().parents[2] / "examples" / "cells"

SAYS = {
    "first_network": ["start: True", "loss 2.3"],
    "running_variance": ["its outputs are 1.15", "mended: equal to torch's to "],
    "own_layer": ["not the slope of your own forward", "PASS  Mended"],
}


def test_each_script_is_known_here():
    assert {p.stem for p in CELLS.glob("*.py")} == {"__init__", *SAYS}


@pytest.mark.parametrize("name", SAYS)
def test_a_script_runs_and_says_what_it_should(name):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        left = runpy.run_path(str(CELLS / f"{name}.py"))
    for text in SAYS[name]:
        assert text in printed.getvalue()
    if name == "first_network":
        assert left["same_start"] and left["apart"] < 1e-12
    if name == "own_layer":
        assert not left["first"] and left["mended"]
