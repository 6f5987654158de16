"""A file of either side taken apart by class and method, and the sides laid beside each other."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Piece:
    """A stretch of source: a function, a method, or the head of a class or a file."""

    name: str
    kind: str  # "file", "class", "method", "function"
    source: str
    doc: str | None = None
    line: int = 1


@dataclass
class Row:
    """What stands side by side under one name; either side may have nothing."""

    name: str
    kind: str
    ours: Piece | None = None
    theirs: Piece | None = None
    note: str = ""  # what stands for torch's side where a built-in does the work
    facts: list[tuple[str, str]] = field(default_factory=list)


def pieces(path: Path, whole: bool = False) -> list[Piece]:
    """A file from top to bottom: its head, its functions, its classes and their methods.

    Each without its docstring and moved to the left edge, or whole, as it stands in the file.
    """
    text = path.read_text(encoding="utf-8")
    lines, tree = text.split("\n"), ast.parse(text)
    found, end = [], _after_docstring(tree)
    for node in tree.body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef):
            continue
        start = _start(node)
        if loose := _cut(lines, end, start - 1):
            found.append(Piece("", "file", loose, line=end + 1))
        if isinstance(node, ast.ClassDef):
            found += _class(node, lines, whole)
        else:
            found.append(_function(node, lines, whole))
        end = node.end_lineno or 0
    if loose := _cut(lines, end, len(lines)):
        found.append(Piece("", "file", loose, line=end + 1))
    return [p for p in found if p.source.strip()]


def docstring(path: Path) -> str:
    """What the file says of itself."""
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def docstring_text(text: str) -> str:
    """The docstring of a file as it stands in its text, quotes included."""
    tree = ast.parse(text)
    return "\n".join(text.split("\n")[: _after_docstring(tree)])


def public(path: Path) -> list[str]:
    """The names that a file lists in __all__, without importing it."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return list(ast.literal_eval(node.value))
    return []


def _class(node: ast.ClassDef, lines: list[str], whole: bool) -> list[Piece]:
    methods = [n for n in node.body if isinstance(n, ast.FunctionDef)]
    head_end = min((_start(m) - 1 for m in methods), default=node.end_lineno or 0)
    head = _cut_out(node, lines, _start(node) - 1, head_end, whole)
    found = [Piece(node.name, "class", head, ast.get_docstring(node), _start(node))]
    return found + [_function(m, lines, whole, f"{node.name}.", "method") for m in methods]


def _function(
    node: ast.FunctionDef, lines: list[str], whole: bool, prefix: str = "", kind: str = "function"
) -> Piece:
    source = _cut_out(node, lines, _start(node) - 1, node.end_lineno or 0, whole)
    return Piece(prefix + node.name, kind, source, ast.get_docstring(node), _start(node))


def _cut_out(
    node: ast.ClassDef | ast.FunctionDef, lines: list[str], start: int, end: int, whole: bool
) -> str:
    kept = lines[start:end]
    if whole:
        return "\n".join(kept).rstrip()
    if ast.get_docstring(node, clean=False) is not None:
        said = node.body[0]
        rest = lines[said.end_lineno : end]
        while rest and not rest[0].strip():
            rest = rest[1:]
        kept = lines[start : said.lineno - 1] + rest
    return _dedent("\n".join(kept).rstrip())


def _dedent(source: str) -> str:
    first = next((line for line in source.split("\n") if line.strip()), "")
    indent = len(first) - len(first.lstrip())
    return "\n".join(line[indent:] for line in source.split("\n")).strip("\n")


def _start(node: ast.ClassDef | ast.FunctionDef) -> int:
    return min([node.lineno, *(d.lineno for d in node.decorator_list)])


def _after_docstring(tree: ast.Module) -> int:
    return (tree.body[0].end_lineno or 0) if ast.get_docstring(tree) else 0


def _cut(lines: list[str], start: int, end: int) -> str:
    """Lines between definitions, without imports and __all__, which teach nothing."""
    text = "\n".join(lines[start:end])
    try:
        body = ast.parse(text).body
    except SyntaxError:
        return text.strip("\n")
    for node in reversed(body):
        named = isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
        if isinstance(node, ast.Import | ast.ImportFrom) or named:
            kept = text.split("\n")
            text = "\n".join(kept[: node.lineno - 1] + kept[node.end_lineno :])
    return text.strip("\n") if text.strip() else ""


def side_by_side(ours: list[Piece], theirs: list[Piece]) -> list[Row]:
    """Rows in NumPy's order; what only torch has comes after what it stands behind there."""
    rows = [Row(p.name, p.kind, ours=p) for p in ours if p.name]
    loose = ["\n\n".join(p.source for p in side if not p.name) for side in (ours, theirs)]
    at = {row.name: row for row in rows}
    behind = ""
    for piece in theirs:
        if not piece.name:
            continue
        if piece.name in at:
            at[piece.name].theirs = piece
        else:
            row = Row(piece.name, piece.kind, theirs=piece)
            place = next((i + 1 for i, r in enumerate(rows) if r.name == behind), None)
            rows.insert(_end_of_class(rows, piece.name) if place is None else place, row)
            at[piece.name] = row
        behind = piece.name
    if any(loose):
        head, other = (Piece("", "file", text) if text else None for text in loose)
        rows.insert(0, Row("", "file", head, other))
    return rows


def _end_of_class(rows: list[Row], name: str) -> int:
    owner = name.split(".")[0]
    places = [i + 1 for i, r in enumerate(rows) if r.name.split(".")[0] == owner]
    return max(places, default=len(rows))
