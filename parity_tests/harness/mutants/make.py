"""Every mutant of one file, by mutmut's operators.

mutmut's own runner puts a switch in front of each function and leaves out what such a switch cannot
reach: decorated functions (here every forward and backward, which are under np.errstate), class
attributes, defaults, `__setattr__`. Its operators have no such limits, so they are applied to the
whole file, and each mutant is a file of its own.

Left out, by rule:
    annotations and docstrings, and len() and isinstance() as mutmut does: nothing to find there;
    type variables and names for types: only a type checker reads them;
    names in `__all__`: test_twins holds them against the torch side's;
    the wording of an error's or a warning's message: what it says is held by its essentials, its
    presence and the values in it are mutated like all else.
"""

from __future__ import annotations

import ast
import difflib
import importlib.metadata
import itertools
from dataclasses import dataclass, field

import libcst as cst
from libcst import matchers
from libcst.metadata import (
    CodeRange,
    MetadataWrapper,
    ParentNodeProvider,
    WhitespaceInclusivePositionProvider,
)
from mutmut.mutation.file_mutation import NEVER_MUTATE_FUNCTION_CALLS
from mutmut.mutation.mutators import mutation_operators

TOOL = f"mutmut {importlib.metadata.version('mutmut')}"
NAMES = matchers.AssignTarget(matchers.Name("__all__"))
WARNING = matchers.Call(
    matchers.Attribute(matchers.Name("warnings"), matchers.Name("warn")),
)
TYPES = matchers.Assign(value=matchers.Subscript() | matchers.Call(matchers.Name("TypeVar")))
UNTOUCHED = matchers.Call(
    matchers.OneOf(*(matchers.Name(name) for name in NEVER_MUTATE_FUNCTION_CALLS))
)


@dataclass(frozen=True)
class Mutant:
    """One wrong edit: the function it is in, the lines before and after, and the whole file."""

    at: str
    was: str
    became: str
    source: str = field(repr=False, compare=False)


def mutants_of(source: str) -> list[Mutant]:
    """All mutants of a file's source, no two of them alike."""
    wrapper = MetadataWrapper(cst.parse_module(source))
    visitor = _Collector()
    wrapper.visit(visitor)
    starts = [0, *itertools.accumulate(len(line) for line in source.splitlines(keepends=True))]
    found: dict[str, Mutant] = {}
    for place, new in visitor.found:
        start, end = (starts[p.line - 1] + p.column for p in (place.start, place.end))
        mutated = source[:start] + wrapper.module.code_for_node(new) + source[end:]
        if mutated != source and mutated not in found:
            found[mutated] = _mutant(source, mutated)
    return list(found.values())


class _Collector(cst.CSTVisitor):
    """What mutmut's operators make of each node: (where it stands, new node)."""

    METADATA_DEPENDENCIES = (WhitespaceInclusivePositionProvider, ParentNodeProvider)

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[CodeRange, cst.CSTNode]] = []

    def on_visit(self, node: cst.CSTNode) -> bool:
        names = isinstance(node, cst.Assign) and matchers.matches(node.targets[0], NAMES)
        if self._at_the_top(node) and matchers.matches(node, TYPES):
            return False
        if names or isinstance(node, cst.Annotation) or matchers.matches(node, UNTOUCHED):
            return False
        if not (isinstance(node, cst.SimpleString) and self._is_message(node)):
            for kind, operator in mutation_operators:
                if isinstance(node, kind):
                    place = self.get_metadata(WhitespaceInclusivePositionProvider, node)
                    self.found += [(place, new) for new in operator(node)]
        return True

    def _at_the_top(self, node: cst.CSTNode) -> bool:
        line = self.get_metadata(ParentNodeProvider, node, None)
        return isinstance(self.get_metadata(ParentNodeProvider, line, None), cst.Module)

    def _is_message(self, node: cst.CSTNode) -> bool:
        above: cst.CSTNode | None = node
        while above is not None and not isinstance(above, cst.BaseStatement):
            if isinstance(above, cst.Raise) or matchers.matches(above, WARNING):
                return True
            above = self.get_metadata(ParentNodeProvider, above, None)
        return False


def _mutant(source: str, mutated: str) -> Mutant:
    # stripped: inside brackets an edit may lose the indent of a line
    before, after = ([line.strip() for line in text.splitlines()] for text in (source, mutated))
    blocks = difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    changed = [b for b in blocks if b[0] != "equal"]
    start, stop = changed[0][1], changed[-1][2]
    was, became = "\n".join(before[start:stop]), "\n".join(after[changed[0][3] : changed[-1][4]])
    return Mutant(_scope(source, start + 1), was, became, mutated)


def _scope(source: str, line: int) -> str:
    """The dotted name of the function or class around a line."""
    names: list[str] = []
    body: list[ast.stmt] = ast.parse(source).body
    while True:
        around = [n for n in body if isinstance(n, ast.FunctionDef | ast.ClassDef)]
        inside = [n for n in around if _first(n) <= line <= (n.end_lineno or 0)]
        if not inside:
            return ".".join(names) or "the file"
        names.append(inside[0].name)
        body = inside[0].body


def _first(node: ast.FunctionDef | ast.ClassDef) -> int:
    return min([node.lineno, *(d.lineno for d in node.decorator_list)])
