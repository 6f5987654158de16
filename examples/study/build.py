"""The pages: gathered, laid out, and put in their place in one move."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import jinja2
import torch
from markupsafe import Markup
from tqdm import tqdm

from examples.road.stages import stages
from examples.study import code, docs, figures, notebooks, scripts
from examples.study.conventions import CONVENTIONS
from examples.study.source import ROOT
from examples.study.technique import COLUMNS, Technique, gather

HERE = Path(__file__).resolve().parent

CHAPTERS = {  # the guide's, in its order, then what they stand on
    "architectures": ("Architectures", "Networks of many layers, plain and residual."),
    "optimization": ("Optimization", "Optimizers, schedules and clipping."),
    "regularization": ("Regularization", "Penalties, dropout, early stopping."),
    "normalization": ("Normalization", "Batch norm, in training and in evaluation."),
    "tuning": ("Tuning", "Grid, random, Bayesian and budgeted search."),
    "debugging": ("Debugging", "Gradient checks, monitoring, sanity checks."),
    "initialization": ("Initialization", "Where weights start."),
    "layers": ("Layers", "Linear maps, activations, recurrence, containers."),
    "losses": ("Losses", "What training goes down on."),
    "training": ("Training", "Batches, the loop, its history, checkpoints, one seed."),
}

PAGES = (
    ("index.html", "Techniques"),
    ("conventions.html", "Conventions"),
    ("mistakes.html", "Mistakes"),
    ("road.html", "The road"),
    ("examples.html", "Examples"),
)

MARK = ".written-twice-study"  # what says that a folder is ours to replace


class StudyError(Exception):
    """The pages cannot be built or put there; the message says what to do."""


@dataclass
class Chapter:
    """A chapter of the front page."""

    name: str
    words: tuple[str, str]
    techniques: list[Technique]

    @property
    def title(self) -> str:
        """What the reader calls it."""
        return self.words[0]

    @property
    def says(self) -> str:
        """What it holds, in a sentence."""
        return self.words[1]

    @property
    def mistakes(self) -> list[tuple[Technique, str, list[dict[str, str]]]]:
        """Each technique of the chapter with what people get wrong about it."""
        return [(t, case, found) for t in self.techniques for case, found in t.mistakes]


def read_report(path: Path) -> Mapping[str, Any] | None:
    """The figures of the last run; None where there are none. StudyError for a foreign file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StudyError(f"{path} cannot be read as a report of parity run: {error}") from error
    if not isinstance(found, dict) or found.get("schema_version") != 1:
        raise StudyError(f"{path} is no report of this version of parity run: run it again")
    return found


def paths() -> list[tuple[str, str]]:
    """Chapter and stem of every technique, in the order of the pages."""
    found = [p for p in (ROOT / "numpy_impl").glob("*/*.py") if p.stem != "__init__"]
    known = list(CHAPTERS)
    rank = {c: i for i, c in enumerate(known)}
    return sorted(
        ((p.parent.name, p.stem) for p in found), key=lambda c: (rank.get(c[0], len(rank)), c)
    )


def techniques(report: Mapping[str, Any] | None, names: set[str] | None = None) -> list[Technique]:
    """Every technique, gathered, with a bar where somebody watches."""
    chosen = [(c, s) for c, s in paths() if names is None or f"{c}/{s}" in names]
    found = []
    for chapter, stem in tqdm(chosen, desc="reading", unit=" pages", leave=False, disable=None):
        technique = gather(chapter, stem, report)
        technique.figures = figures.drawn(f"{chapter}/{stem}")
        technique.chapter_title = CHAPTERS.get(chapter, (chapter.title(), ""))[0]
        found.append(technique)
    for one, other in zip(found, found[1:], strict=False):
        one.after, other.before = other, one
    return found


def build(folder: Path, report: Mapping[str, Any] | None) -> Path:
    """Write the whole site into a folder, made or replaced in one move; returns its front page.

    Raises:
        StudyError: the folder holds something that is not a site of ours, or cannot be written.
    """
    folder = folder.resolve()
    if (
        folder.exists()
        and not (folder / MARK).exists()
        and (not folder.is_dir() or any(folder.iterdir()))
    ):
        raise StudyError(f"{folder} holds something else: give an empty folder, or a new one")
    found = techniques(report)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise StudyError(f"cannot write beside {folder}: {error}") from error
    try:
        os.chmod(work, 0o755)
        _write(work, found, report)
        _put(work, folder)
    except OSError as error:
        raise StudyError(f"cannot write {folder}: {error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return folder / "index.html"


def _put(work: Path, folder: Path) -> None:
    """Let the new folder take the place of the old one."""
    old = work.with_name(work.name + ".old")
    if folder.exists():
        os.rename(folder, old)
    os.rename(work, folder)
    shutil.rmtree(old, ignore_errors=True)


def _write(folder: Path, found: list[Technique], report: Mapping[str, Any] | None) -> None:
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    env.filters["inline"] = docs.inline
    env.globals |= {
        "pages": PAGES,
        "machine": f"torch {torch.__version__}",
        "verdict": (report or {}).get("sentence", "No parity run was at hand."),
        "torch_version": torch.__version__,
        "measured_columns": [f"{kind}, {dtype}" for dtype, kind in COLUMNS],
    }
    chapters = [
        Chapter(name, CHAPTERS.get(name, (name.title(), "")), list(group))
        for name, group in groupby(found, lambda t: t.chapter)
    ]
    cells, links = list(scripts.groups()), {}
    for script in (script for _, group in cells for script in group):
        notebooks.write(script.path, folder / script.notebook)
        links[script.name] = notebooks.link(folder / script.notebook)
    others = list(scripts.others())
    road = list(_road(folder))
    groups = [(c.title, [x for x in CONVENTIONS if x.page.startswith(c.name)]) for c in chapters]
    plain: dict[str, dict[str, Any]] = {
        "index.html": {"chapters": chapters},
        "conventions.html": {"groups": [(t, g) for t, g in groups if g]},
        "mistakes.html": {
            "chapters": chapters,
            "count": sum(len(f) for c in chapters for _, _, f in c.mistakes),
        },
        "examples.html": {
            "groups": cells,
            "links": links,
            "others": others,
            "stages": road,
        },
        "road.html": {"stages": road},
    }
    for name, values in plain.items():
        text = env.get_template(name).render(root="", here=name, **values)
        (folder / name).write_text(text, encoding="utf-8")
    page = env.get_template("technique.html")
    for t in found:
        (folder / t.chapter).mkdir(exist_ok=True)
        text = page.render(root="../", here=t.href, t=t)
        (folder / t.href).write_text(text, encoding="utf-8")
    files = [file for t in found for file in t.files] + [other["source"] for other in others]
    files += [file for _, group in cells for script in group for file in script.files]
    for file in files:  # the files themselves, as text that browsers show
        copy = folder / "source" / f"{file}.txt"
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / file, copy)
    for asset in ("study.css", "study.js"):
        shutil.copyfile(HERE / "assets" / asset, folder / asset)
    entries = json.dumps(list(_index(found)), ensure_ascii=True).replace("</", "<\\/")
    (folder / "search-index.js").write_text(f"window.SEARCH = {entries};\n", encoding="utf-8")
    (folder / MARK).write_text("This folder is made anew by parity study.\n", encoding="utf-8")


def _index(found: list[Technique]) -> Iterator[dict[str, Any]]:
    """What the search looks through: pages, names, conventions, mistakes, in that rank."""
    for t in found:
        says = Markup(t.sentence).striptags()
        yield {"title": t.title, "says": says, "words": t.words, "href": t.href, "rank": 6}
        for row in t.rows:
            if row["name"] in t.public and row["name"] != t.title:
                href = f"{t.href}#{row['anchor']}"
                says = f"in {t.path}"
                yield {"title": row["name"], "says": says, "words": "", "href": href, "rank": 5}
        for case, mistakes in t.mistakes:
            for m in mistakes:
                says = f"A mistake in {case}. {m['effect']}"
                href = f"{t.href}#mistakes"
                yield {"title": m["name"], "says": says, "words": m["who"], "href": href, "rank": 0}
    for stage in stages():
        href = f"road.html#{stage.path.stem}"
        words = "road move"
        yield {"title": stage.title, "says": stage.says, "words": words, "href": href, "rank": 4}
    for script in (script for _, group in scripts.groups() for script in group):
        href, says = f"examples.html#{script.name}", script.words
        words = f"example notebook {script.name}"
        yield {"title": script.title, "says": says, "words": words, "href": href, "rank": 4}
    for c in CONVENTIONS:
        says = " ".join(f"{who}: {text}" for who, text in c.sides)
        href = f"conventions.html#{c.slug}"
        yield {"title": c.what, "says": says, "words": c.translate, "href": href, "rank": 4}


def _road(folder: Path) -> Iterator[dict[str, Any]]:
    """The stages, what each says, what it changes in the one before, and it as a notebook."""
    before = None
    for stage in stages():
        notebook = f"notebooks/{stage.path.stem}.ipynb"
        notebooks.write(stage.path, folder / notebook)
        yield {
            "title": stage.title,
            "anchor": stage.path.stem,
            "says": docs.html(stage.says),
            "path": str(stage.path.relative_to(ROOT)),
            "notebook": Path(notebook).name,
            "link": notebooks.link(folder / notebook),
            "diff": code.diff(stage.changes(before)) if before and before.number else "",
            "code": code.block(stage.text),
        }
        before = stage
