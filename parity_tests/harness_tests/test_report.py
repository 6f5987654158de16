"""The page and the JSON file: whole, well-formed, on their own, and never half written."""

import io
import json
import math
import os
from html.parser import HTMLParser

import pytest

from parity_tests.harness import page, report, table
from parity_tests.harness.case import Curve, Settings
from parity_tests.harness.results import CheckResult, Outcome, Run, Technique, Worst, units_text

EMPTY = {"meta", "link", "br", "hr", "img", "input", "path", "use", "rect", "circle", "line"}


def made_run(*worst, failures=(), curves=()):
    """A run of two techniques, one of which compared what is given."""
    first = Technique("layers", "Linear<3>", "linear", "m", "TestLinear", "x & y", ("agrees[a]",))
    second = Technique("tuning", "Search", "search", "m", "TestSearch", "", ("refusals[b]",))
    result = CheckResult("agrees[a]", 3, 2, 0.5, tuple(worst), tuple(failures), tuple(curves))
    refused = CheckResult("refusals[b]", rules=1)
    outcomes = [Outcome(first, {0: result}), Outcome(second, {0: refused})]
    return Run(Settings(seed=9), outcomes, 1.5, 2, machine={"NumPy": "2.0 <BLAS>"})


GOOD = Worst("forward", "float64", 0.25, "forward output", "N=7 huge", "all of it")
BAD = Worst("gradient", "float32", math.inf, "gradient x", "N=7", "shape (2,), reference (3,)")
CURVES = [
    Curve("loss", "step", "loss", [2.0, 1.0, 0.5], [2.0, 1.0, 0.5 + 1e-12], [1e-9] * 3),
    Curve("rate & <script>", "step", "lr", [0.1], [0.1], [0.0]),
    Curve("short", "step", "$y$", [1.0, math.nan, 3.0], [1.0]),
    Curve("none", "step", "y", [], []),
]


class Reader(HTMLParser):
    """Notes every tag that is closed wrongly, every address, and every id that comes twice."""

    def __init__(self, html):
        super().__init__()
        self.open, self.wrong, self.addresses, self.ids, self.text = [], [], [], [], ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.ids += [value for name, value in attrs if name == "id"]
        self.addresses += [value for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in EMPTY:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in EMPTY and (not self.open or self.open.pop() != tag):
            self.wrong.append(tag)

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize(
    "run",
    [
        made_run(GOOD),
        made_run(GOOD, BAD, failures=["one is <not> above two\n  at x.py:3"], curves=CURVES),
        made_run(),
        Run(Settings(), []),
    ],
    ids="agrees fails rules nothing".split(),
)
def test_the_page_is_well_formed_and_fetches_nothing(run):
    html = page.document(run)
    found = Reader(html)
    assert not found.open and not found.wrong
    assert all(address.startswith("#") for address in found.addresses)
    assert len(set(found.ids)) == len(found.ids)
    targets = {address[1:] for address in found.addresses}
    assert targets <= set(found.ids)
    for word in ("<script", "http:", "https:", "@import", "url(h"):
        assert word not in html


def test_the_page_says_what_failed_and_escapes_it():
    html = page.document(made_run(GOOD, BAD, failures=["one is <not> above two"], curves=CURVES))
    assert "one is &lt;not&gt; above two" in html and "Linear&lt;3&gt;" in html
    text = Reader(html).text
    for said in (
        "disagree on 1 of 2 techniques: Linear<3>.",
        "parity run Linear<3> --seed 9",
        "✗ wrong",
        "0.250",
        "rate & <script>",
        "Ends at 0.5 in NumPy and 0.5 in PyTorch; the largest difference is 1e-12, at step 2",
        "where 1e-09 was allowed",
        "every point is equal to the last bit",
        "NumPy has 3 points, PyTorch 1.",
        "2.0 <BLAS>",
    ):
        assert said in text, said


def test_a_cell_of_the_heat_map_names_its_comparison():
    assert 'title="forward output: agrees[a], N=7 huge"' in page.document(made_run(GOOD))


def test_the_json_file_is_strict_and_has_every_check(tmp_path):
    run = made_run(GOOD, BAD, failures=["no"], curves=CURVES)
    report.write(run, tmp_path)
    data = json.loads((tmp_path / "report.json").read_text(), parse_constant=pytest.fail)
    assert data["schema_version"] == report.SCHEMA_VERSION and data["verdict"] == "fails"
    assert (data["seed"], data["comparisons"], data["rules"]) == (9, 3, 3)
    (check,) = data["techniques"][0]["checks"]
    assert check["failures"] == ["no"] and check["again"].startswith("parity run")
    assert [w["units"] for w in check["worst"]] == [0.25, None]
    assert check["curves"][2]["ours"] == [1.0, None, 3.0]


def test_a_write_that_breaks_off_leaves_the_old_report(tmp_path, monkeypatch):
    report.write(made_run(GOOD), tmp_path)
    before = (tmp_path / "report.html").read_text()

    def full(*args):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="no space"):
        report.write(made_run(BAD, failures=["no"]), tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["report.html", "report.json"]
    assert (tmp_path / "report.html").read_text() == before


@pytest.mark.parametrize(
    ("units", "text"),
    [(None, "-"), (0.0, "equal"), (1e-9, "<0.001"), (0.12345, "0.123"), (1.0, "1.000")]
    + [(12.3, "12"), (2940.0, "2,940"), (7.04e7, "7e+07"), (math.inf, "wrong")],
)
def test_units_are_short(units, text):
    assert units_text(units) == text and len(text) <= 6


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_colours_are_for_terminals_that_want_them(monkeypatch):
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    run = made_run(GOOD, BAD, failures=["no"])
    coloured = table.results_table(run, table.painter(Terminal()))
    plain = table.results_table(run, table.painter(io.StringIO()))
    assert "\x1b[1;31mFAILS" in coloured and "\x1b" not in plain
    monkeypatch.setenv("NO_COLOR", "1")
    assert table.results_table(run, table.painter(Terminal())) == plain
