"""What a page says of one technique, from its two files, its cases and the last run."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from markupsafe import Markup

from examples.study import builtin, code, docs, source
from examples.study.conventions import CONVENTIONS, Convention
from examples.study.source import ROOT, Piece, Row
from parity_tests.harness.case import Case
from parity_tests.harness.discovery import cases_of
from parity_tests.harness.mistake import Mistake
from parity_tests.harness.results import units_text

COLUMNS = [(d, k) for d in ("float64", "float32") for k in ("forward", "gradient", "step")]

KINDS: dict[str, type] = {
    "optimizer": torch.optim.Optimizer,
    "schedule": torch.optim.lr_scheduler.LRScheduler,
    "module": torch.nn.Module,
}

METHODS = {  # what one writes where torch's own class does the work, and what that does
    ("module", "__init__"): ("", "The constructor, below or above."),
    ("module", "forward"): ("y = layer(x)", "A kernel, which autograd records as it runs:"),
    ("module", "backward"): ("loss.backward()", "Autograd runs, with what was kept for it,"),
    ("module", "extra_repr"): ("repr(layer)", ""),
    ("optimizer", "__init__"): ("", "The constructor, below or above."),
    ("optimizer", "check"): ("", "The constructor refuses bad options itself."),
    ("optimizer", "update"): (
        "optimizer.step()",
        "By default a loop over the parameters; foreach=True and fused=True choose other kernels.",
    ),
    ("optimizer", "step"): ("optimizer.step()", ""),
    ("optimizer", "zero_grad"): ("optimizer.zero_grad()", ""),
    ("schedule", "get_lr"): ("scheduler.step()", "It asks get_lr for the rates."),
    ("schedule", "step"): ("scheduler.step()", ""),
}


@dataclass
class Technique:
    """One file of numpy_impl and its twin, ready to be laid out."""

    chapter: str
    stem: str
    title: str
    sentence: Markup
    idea: Markup
    ideas: list[tuple[str, Markup]]
    framework: Markup
    facts: list[tuple[str, builtin.Facts]]
    rows: list[dict[str, Any]]
    shared: list[str]
    mistakes: list[tuple[str, list[dict[str, str]]]]
    measured: list[dict[str, Any]]
    papers: list[str]
    cases: Markup
    public: list[str]
    conventions: list[Convention] = field(default_factory=list)
    figures: list[Markup] = field(default_factory=list)
    before: Technique | None = None
    after: Technique | None = None
    chapter_title: str = ""

    @property
    def path(self) -> str:
        """Its file, below either side."""
        return f"{self.chapter}/{self.stem}.py"

    @property
    def files(self) -> list[str]:
        """NumPy's file, torch's and the cases, from the root of the project."""
        return [
            f"numpy_impl/{self.path}",
            f"torch_impl/{self.path}",
            f"parity_tests/{self.chapter}/test_{self.stem}.py",
        ]

    @property
    def href(self) -> str:
        """Its page, from the front page."""
        return f"{self.chapter}/{self.stem}.html"

    @property
    def worst(self) -> str:
        """In a few words, how equal the last run found the sides."""
        if not self.measured:
            return ""
        tried = sum(m["comparisons"] + m["rules"] for m in self.measured)
        bad = [m["name"] for m in self.measured if m["verdict"] != "agrees"]
        return f"{', '.join(bad)}: fails" if bad else f"agrees in {tried:,} checks"

    @property
    def words(self) -> str:
        """What a search should find it by."""
        mistakes = [m["name"] for _, found in self.mistakes for m in found]
        return " ".join([self.stem, *self.public, *self.shared, *mistakes])


def gather(chapter: str, stem: str, report: Mapping[str, Any] | None) -> Technique:
    """Read, import and align everything about one technique."""
    ours, theirs = (
        importlib.import_module(f"{side}.{chapter}.{stem}") for side in ("numpy_impl", "torch_impl")
    )
    case_module = f"parity_tests.{chapter}.test_{stem}"
    cases = cases_of(case_module)
    paths = [ROOT / side / chapter / f"{stem}.py" for side in ("numpy_impl", "torch_impl")]
    left, right = (source.pieces(path) for path in paths)
    public = [n for n in ours.__all__ if hasattr(ours, n)]
    built = built_ins(theirs, public, right)
    facts = {n: builtin.facts(thing, cases) for n, thing in built.items()}
    signatures = {n: builtin.signature(thing, n) for n, thing in built.items()}
    said_right = "\n".join([p.source for p in right] + list(signatures.values()))
    said_right += " ".join(text for rows in facts.values() for _, text in rows)
    shared = code.names("\n".join(p.source for p in left)) & code.names(said_right)
    rows = source.side_by_side(left, right)
    said = [inspect.getdoc(ours), *(p.doc for p in left), inspect.getdoc(theirs)]
    test_file = (ROOT / "parity_tests" / chapter / f"test_{stem}.py").read_text(encoding="utf-8")
    return Technique(
        chapter=chapter,
        stem=stem,
        title=_title(public, stem),
        sentence=docs.first(ours.__doc__),
        idea=docs.html(ours.__doc__, skip_first=True),
        ideas=sorted(  # classes before functions, else as in the file
            ((p.name, docs.html(p.doc)) for p in left if p.doc and p.name in public),
            key=lambda idea: idea[0][0].islower(),
        ),
        framework=docs.html(theirs.__doc__, skip_first=_alike(ours.__doc__, theirs.__doc__)),
        facts=[(n, rows) for n, rows in facts.items() if rows],
        rows=[_row(row, public, built, facts, shared) for row in rows],
        shared=sorted(shared, key=str.lower),
        mistakes=_mistakes(cases),
        measured=measured(chapter, stem, report),
        papers=docs.papers(*said),
        cases=code.block(test_file),
        public=public,
        conventions=[c for c in CONVENTIONS if c.page == f"{chapter}/{stem}"],
    )


def _title(public: list[str], stem: str) -> str:
    names = [n for n in public if not n.endswith("_backward")]
    names = [n for n in names if n[:1].isupper()] or names
    return ", ".join(names) if 0 < len(names) <= 3 else stem.replace("_", " ").capitalize()


def built_ins(theirs: Any, public: Sequence[str], own: Sequence[Piece]) -> dict[str, Any]:
    """The public names that on the torch side are torch's own."""
    written = {p.name for p in own}
    found = {n: getattr(theirs, n, None) for n in public if n not in written}
    return {n: thing for n, thing in found.items() if callable(thing) and builtin.is_builtin(thing)}


def _alike(ours: str | None, theirs: str | None) -> bool:
    """Whether both files begin with the same sentence, which then need not be said twice."""
    return docs.first(ours) == docs.first(theirs)


def _row(
    row: Row,
    public: Sequence[str],
    built: Mapping[str, Any],
    facts: Mapping[str, builtin.Facts],
    shared: set[str],
) -> dict[str, Any]:
    left = row.ours.source if row.ours else ""
    right, note = beside(row, built, facts)
    made, same = code.made(left), code.made(right)
    both = shared & made.keys() & same.keys()  # each side makes it in one line: no doubt which
    ours = code.block(left, shared, {n: made[n] for n in both}) if left else None
    theirs = code.block(right, shared, {n: same[n] for n in both}) if right else None
    said = row.ours.doc if row.ours and row.name not in public else None
    return {
        "name": row.name,
        "kind": row.kind,
        "anchor": row.name.replace(".", "-") or "head",
        "says": docs.first(said) if said else "",
        "ours": ours,
        "theirs": theirs,
        "note": note,
        "no_ours": "NumPy needs nothing of the kind.",
    }


def beside(
    row: Row, built: Mapping[str, Any], facts: Mapping[str, builtin.Facts]
) -> tuple[str, str]:
    """What stands on torch's side of a row: source, or what one writes instead; and a remark."""
    if row.theirs:
        return row.theirs.source, ""
    if row.name in built:
        where = getattr(built[row.name], "__module__", None) or "torch"
        return builtin.signature(built[row.name], row.name), f"torch's own, from {where}."
    owner, _, method = row.name.partition(".")
    if row.kind == "file":
        return "", ""
    if row.name.endswith("_backward"):
        return "y.backward(dy)  # autograd", ""
    graph = next((dict(rows).get("backward") for rows in facts.values() if rows), None)
    names = [owner] if owner in built else list(built)
    kind = _kind([built[n] for n in names])
    if method and names and (owner in built or owner.startswith("_")):
        line, note = METHODS.get((kind, method), ("", "Inside torch."))
        if method in ("forward", "backward") and graph:
            note = f"{note} {graph}."
        return line, note
    if method == "backward":
        return "loss.backward()  # autograd", "It goes back through forward by itself."
    if row.kind == "class" and built:
        return "", f"What {', '.join(built)} share stands inside torch."
    return "", "Inside torch's kernels." if built else "torch needs nothing of the kind."


def _kind(things: list[Any]) -> str:
    for name, base in KINDS.items():
        if things and all(inspect.isclass(t) and issubclass(t, base) for t in things):
            return name
    return ""


def _mistakes(cases: list[type[Case]]) -> list[tuple[str, list[dict[str, str]]]]:
    found = []
    for case in cases:
        named = [(name, Mistake.of(given)) for name, given in case.mistakes.items()]
        rows = [{"name": n, "who": m.who, "effect": m.effect} for n, m in named]
        if rows:
            found.append((case.technique(), rows))
    return found


def measured(chapter: str, stem: str, report: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """What the last run found about a file, a row a case."""
    rows = []
    for t in (report or {}).get("techniques", ()):
        if t["numpy"] != f"numpy_impl/{chapter}/{stem}.py":
            continue
        worst = [w for check in t["checks"] for w in check["worst"]]
        units = [
            max((_units(w) for w in worst if (w["dtype"], _group(w["kind"])) == c), default=None)
            for c in COLUMNS
        ]
        rows.append(
            {
                "name": t["technique"],
                "comparisons": t["comparisons"],
                "rules": t["rules"],
                "units": [units_text(u) for u in units],
                "verdict": t["verdict"],
            }
        )
    return rows


def _units(worst: Mapping[str, Any]) -> float:
    return float("inf") if worst["units"] is None else worst["units"]


def _group(kind: str) -> str:
    return kind if kind in ("forward", "gradient") else "step"
