"""The pages: complete, self-contained, made from the tested source, put in place in one move."""

import base64
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from examples.road.stages import stages
from examples.study import build, code, command, docs, formulas, notebooks, source, terminal
from examples.study.conventions import CONVENTIONS
from parity_tests.harness import cli

PAGES = {"normalization/batch_norm", "optimization/adam", "losses/cross_entropy", "layers/linear"}
VOID = {"meta", "link", "input", "br", "img", "hr"}


class Page(HTMLParser):
    """What a page is made of: its links, its anchors, and whether its tags close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.problems: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.labelled: list[str] = []
        self.feed(text)
        self.problems += [f"<{tag}> is never closed" for tag in self.open]

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        self.links += [v for k, v in attrs if k in ("href", "src") and v and tag != "use"]
        self.ids += [named["id"]] if "id" in named else []
        self.labelled += (named.get("aria-labelledby") or "").split()
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        if self.open and self.open[-1] == tag:
            self.open.pop()
        else:
            self.problems.append(f"</{tag}> closes {self.open[-1:]}")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A site of a few techniques, as the whole one is built."""
    folder = tmp_path_factory.mktemp("study") / "site"
    with pytest.MonkeyPatch.context() as patch:
        chosen = [pair for pair in build.paths() if "/".join(pair) in PAGES]
        patch.setattr(build, "paths", lambda: chosen)
        build.build(folder, report())
    return folder


def report():
    check = {"kind": "forward", "dtype": "float64", "units": 0.25, "label": "", "where": ""}
    technique = {
        "technique": "Adam",
        "numpy": "numpy_impl/optimization/adam.py",
        "comparisons": 7,
        "rules": 3,
        "verdict": "agrees",
        "checks": [{"worst": [check, check | {"kind": "buffer", "units": None}]}],
    }
    return {"schema_version": 1, "sentence": "They agree.", "techniques": [technique]}


def _pages(site):
    return {p.relative_to(site).as_posix(): p.read_text("utf-8") for p in site.rglob("*.html")}


def test_every_link_leads_somewhere_and_every_tag_closes(site):
    pages = _pages(site)
    parsed = {name: Page(text) for name, text in pages.items()}
    assert {f"{p}.html" for p in PAGES} < set(pages)
    for name, page in parsed.items():
        assert not page.problems, f"{name}: {page.problems[:3]}"
        assert len(page.ids) == len(set(page.ids)), f"{name}: an id twice"
        assert set(page.labelled) <= set(page.ids), f"{name}: a label that is not there"
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme in ("http", "https", "data"):
                continue
            target = (site / name).parent / unquote(parts.path) if parts.path else site / name
            wanted = target.resolve().relative_to(site.resolve()).as_posix()
            if wanted in parsed:
                assert not parts.fragment or parts.fragment in parsed[wanted].ids, f"{name}: {link}"
            elif not wanted.startswith(("conventions", "mistakes")):
                if wanted.endswith(".html") and wanted.removesuffix(".html") not in PAGES:
                    continue  # a convention of a page left out here
                assert target.exists(), f"{name}: {link}"


def test_every_script_in_cells_can_be_saved_as_a_notebook_from_the_disk(site):
    """A link to the file would only be shown there, so each link holds its notebook."""
    saved: dict[str, bytes] = {}
    for name in ("examples.html", "road.html"):
        links = re.findall(
            r'href="data:[^,]*;base64,([^"]+)" download="([^"]+)"', (site / name).read_text("utf-8")
        )
        saved |= {file: base64.b64decode(held) for held, file in links}
    files = {p.name: p.read_bytes() for p in (site / "notebooks").iterdir()}
    assert saved == files
    paths = [*(source.ROOT / "examples").glob("cells/*.py"), *(s.path for s in stages())]
    assert files.keys() == {f"{p.stem}.ipynb" for p in paths if p.stem != "__init__"}


def test_nothing_is_fetched(site):
    for path in site.rglob("*"):
        if path.suffix in (".html", ".css", ".js"):
            text = path.read_text("utf-8")
            assert not re.search(r'<(script|link|img)[^>]+(src|href)="https?:', text), path
            assert not re.search(r"@import|url\(['\"]?https?:|fetch\(|XMLHttp", text), path


def test_a_page_shows_the_source_as_it_is_tested(site):
    text = (site / "optimization" / "adam.html").read_text("utf-8")
    shown = re.sub(r"<[^>]+>", "", text).replace("&lt;", "<").replace("&gt;", ">")
    shown = shown.replace("&amp;", "&").replace("&#39;", "'").replace("&#34;", '"')
    pieces = source.pieces(source.ROOT / "numpy_impl" / "optimization" / "adam.py")
    assert any(p.name == "Adam.update" for p in pieces)
    for piece in pieces:
        assert piece.source in shown, f"{piece.name} is not on the page as it stands"
    assert "0.250" in shown and "wrong" in shown, "the figures of the run are not there"
    assert 'data-n="exp_avg"' in text, "no name is marked on both sides"


def test_the_index_lists_pages_names_conventions_and_mistakes(site):
    text = (site / "search-index.js").read_text("utf-8")
    entries = json.loads(text.removeprefix("window.SEARCH = ").removesuffix(";\n"))
    titles = {e["title"] for e in entries}
    assert {
        "Adam",
        "BatchNorm1d, BatchNorm2d",
        "The running variance",
        "momentum reversed",
    } <= titles
    for entry in entries:
        page = entry["href"].partition("#")[0]
        assert (site / page).exists(), entry


def test_a_folder_of_somebody_elses_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "paths", lambda: [])
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("thesis", "file"):
        with pytest.raises(build.StudyError, match="holds something else"):
            build.build(tmp_path / name, None)
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "mine"
    first = build.build(tmp_path / "site", None)
    (first.parent / "stale.html").write_text("old")
    assert build.build(tmp_path / "site", None) == first
    assert not (first.parent / "stale.html").exists(), "the old pages were not replaced"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "site", "thesis"]


def test_a_failed_build_leaves_the_old_pages(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "paths", lambda: [])
    page = build.build(tmp_path / "site", None)
    before = page.read_text("utf-8")

    def no_space(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", no_space)
    with pytest.raises(build.StudyError, match="No space"):
        build.build(tmp_path / "site", None)
    assert page.read_text("utf-8") == before
    assert [p.name for p in tmp_path.iterdir()] == ["site"]


def test_a_foreign_report_is_refused(tmp_path):
    assert build.read_report(tmp_path / "none.json") is None
    for text in ("{", "[]", '{"schema_version": 99}'):
        path = tmp_path / "report.json"
        path.write_text(text)
        with pytest.raises(build.StudyError, match="report"):
            build.read_report(path)


@pytest.mark.parametrize("convention", CONVENTIONS, ids=lambda c: c.slug)
def test_what_is_said_of_torch_holds(convention):
    assert convention.holds()
    assert (source.ROOT / "numpy_impl" / f"{convention.page}.py").exists()
    assert "torch" in dict(convention.sides)


@pytest.mark.parametrize(
    ("line", "latex"),
    [
        ("a / b / c", r"\frac{\frac{a}{b}}{c}"),
        ("m_hat / (sqrt(v_hat) + eps)", r"\frac{\hat{m}}{\sqrt{\hat{v}} + \mathrm{eps}}"),
        ("1 - beta1^t", r"1 - {{\beta}_{1}}^{t}"),
        ("p <- p - x", r"p \leftarrow p - x"),
        ("<x * y>", r"\left\langle x \cdot y\right\rangle "),
        ("a < b", "a < b"),
        ("|w|", r"\left|w\right|"),
        ("sum_c exp z_ic", r"\sum_{c} \exp {z}_{ic}"),
        ("dy.T @ x", r"{\mathrm{dy}}^{\top} \cdot x"),
        ("(unclosed", r"\left(\mathrm{unclosed}\right)"),
        ("closed)", r"\mathrm{closed} \text{)}"),
    ],
)  # fmt: skip
def test_formulas_in_latex(line, latex):
    assert formulas.latex(line) == latex


def test_every_formula_of_the_docstrings_is_set():
    for chapter, stem in build.paths():
        for piece in source.pieces(source.ROOT / "numpy_impl" / chapter / f"{stem}.py"):
            text = docs.html(piece.doc)
            assert "<merror" not in text and "\\" not in re.sub(r"<[^>]*>", "", text), piece.name


def test_code_marks_what_both_sides_name():
    left = 'state["exp_avg"] = lr * x  # exp_avg'
    assert code.names(left) == {"state", "exp_avg", "lr"}
    text = code.block(left + " < 1", {"exp_avg"})
    assert text.count('data-n="exp_avg"') == 1, "a comment is no name"
    assert "&lt;" in text


def test_a_line_is_joined_where_one_place_makes_a_name():
    piece = "    def f(self, x):\n        mean = x.mean()\n        self.var, y = g(mean)\n"
    piece += "        y += 1\n"
    assert code.made(piece) == {"mean": 1, "var": 2}
    assert code.made("y = layer(") == {}
    lines = code.block("mean = 1\nvar = mean", {"mean"}, {"mean": 0}).split("\n")
    assert 'data-makes="mean"' in lines[0] and "data-makes" not in lines[1]
    long = code.block('text = """a\nb"""', {"text"}, {"text": 0})
    assert "data-makes" not in long, "a line that a string goes on from is not closed"


def test_scripts_in_cells_become_notebooks(tmp_path):
    script = tmp_path / "script.py"
    script.write_text('# %% [markdown]\n# Words.\n\n# %%\nprint("a < b")\n')
    for _ in range(2):
        notebooks.write(script, tmp_path / "made" / "script.ipynb")
        made = json.loads((tmp_path / "made" / "script.ipynb").read_text())
        cells = [(c["cell_type"], "".join(c["source"])) for c in made["cells"]]
        assert cells == [("markdown", "Words."), ("code", 'print("a < b")')]
        assert all(not c.get("outputs") for c in made["cells"])


@pytest.mark.parametrize("width", [60, 160])
def test_a_pair_in_the_terminal(width, capsys):
    terminal.show([("optimization", "adam")], report(), pager=False, width=width)
    out = capsys.readouterr().out
    assert "\x1b" not in out, "colours where nobody sees them"
    assert max(map(len, out.split("\n"))) <= width
    beside = re.search(r"numpy_impl/optimization/adam.py .*torch_impl/optimization/adam.py", out)
    assert bool(beside) == (width >= terminal.WIDE)
    assert "exp_avg_sq" in out and "0.250" in out


def test_names_are_found_and_mistyped_ones_hinted_at(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command._named("adam") == [("optimization", "adam")]
    assert command._named("BatchNorm1d") == [("normalization", "batch_norm")]
    assert command._named("numpy_impl/losses/nll.py") == [("losses", "nll")]
    assert cli.main(["show", "adma", "--no-pager"]) == 2
    assert "adam" in capsys.readouterr().err
    assert cli.main(["show", "sgd", "--no-pager", "--width", "80"]) == 0
    assert "Not measured yet" in capsys.readouterr().out


def test_what_is_not_installed_is_named(monkeypatch, capsys):
    def missing(*args, **kwargs):
        raise ModuleNotFoundError("No module named 'jinja2'", name="jinja2")

    monkeypatch.setattr(command, "_named", missing)
    error = ModuleNotFoundError("No module named 'jinja2'", name="jinja2")
    assert command._lacking("study", error) == 2
    assert "jinja2 is not installed: pip install" in capsys.readouterr().err
    with pytest.raises(ModuleNotFoundError):
        command._lacking("study", ModuleNotFoundError("", name="numpy_impl.nothing"))


def test_the_whole_site_has_a_page_for_every_technique():
    listed = {"/".join(pair) for pair in build.paths()}
    files = {
        p.relative_to(source.ROOT / "numpy_impl").with_suffix("").as_posix()
        for p in (source.ROOT / "numpy_impl").glob("*/*.py")
        if p.stem != "__init__"
    }
    assert listed == files
    assert {c for c, _ in build.paths()} <= set(build.CHAPTERS), "a chapter without a title"
    assert Path(build.HERE / "templates" / "technique.html").exists()
