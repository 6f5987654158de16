"""Python source as HTML: coloured, and every name marked so that its counterpart can light up."""

from __future__ import annotations

import ast
import builtins
import io
import keyword
import re
import textwrap
import tokenize
from collections.abc import Collection, Mapping, Sequence
from html import escape
from types import MappingProxyType
from typing import Any

from markupsafe import Markup
from pygments.lexers import PythonLexer
from pygments.token import Comment, Keyword, Name, Number, Operator, String, Token

CLASSES = {  # the few colours of the pages
    Comment: "c",
    Keyword: "k",
    Number: "m",
    String: "s",
    Name.Builtin: "b",
    Name.Decorator: "b",
    Operator.Word: "k",
}
PLAIN = frozenset(keyword.kwlist) | frozenset(dir(builtins)) | {"self", "np", "torch", "Any"}


def block(
    source: str, shared: Collection[str] = (), joined: Mapping[str, int] = MappingProxyType({})
) -> Markup:
    """A piece of source; names in `shared` become marks that light up together.

    With a name of `joined` the line that makes it lights up too.
    """
    lines = highlight(source, shared).split("\n")
    for number in {*joined.values()}:
        if lines[number].count("<span") == lines[number].count("</span>"):  # no string goes on
            names = " ".join(sorted(name for name, n in joined.items() if n == number))
            lines[number] = f'<span class="makes" data-makes="{names}">{lines[number]}</span>'
    inner = "\n".join(lines)
    return Markup(f'<pre class="code" tabindex="0"><code>{inner}</code></pre>')


def diff(lines: Sequence[str]) -> Markup:
    """A unified diff, what went and what came marked by a sign and a colour."""
    kinds = {"+": "add", "-": "del", "@": "c"}
    found = []
    for line in lines:
        css, text = kinds.get(line[:1], ""), escape(line, quote=False)
        found.append(f'<span class="{css}">{text}</span>' if css else text)
    inner = "\n".join(found)
    return Markup(f'<pre class="code diff" tabindex="0"><code>{inner}</code></pre>')


def highlight(source: str, shared: Collection[str] = ()) -> str:
    """The source with its tokens in spans; what is said in plain text stays as it is."""
    found = []
    for kind, text in PythonLexer(stripnl=False, ensurenl=False).get_tokens(source):
        inner = escape(text, quote=False)
        name = text.strip("\"'") if kind in String else text
        if name in shared and (kind in Name or kind in String):
            found.append(f'<span class="n" data-n="{escape(name)}">{inner}</span>')
        elif css := _css(kind):
            found.append(f'<span class="{css}">{inner}</span>')
        else:
            found.append(inner)
    return "".join(found)


def _css(kind: Any) -> str:
    while kind is not Token:
        if kind in CLASSES:
            return CLASSES[kind]
        kind = kind.parent
    return ""


def names(source: str) -> set[str]:
    """The names in a piece of source that mean something on both sides, keys in quotes included.

    Not keywords, not built-ins, and no single letters, which mean another thing in every line.
    """
    found = set()
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.NAME:
                found.add(token.string)
            elif token.type == tokenize.STRING and (
                key := re.fullmatch(r"[\"']([a-z_]\w*)[\"']", token.string)
            ):
                found.add(key[1])
    except (tokenize.TokenError, IndentationError):  # a piece cut out of its place
        found |= set(re.findall(r"[A-Za-z_]\w+", source))
    return {n for n in found - PLAIN if len(n) > 1 and not n.startswith("__") or n == "__init__"}


def made(source: str) -> dict[str, int]:
    """The names that get a value in one place of a piece, and the line, from 0, of that place."""
    places: dict[str, list[int]] = {}
    try:
        tree = ast.parse(textwrap.dedent(source))
    except SyntaxError:  # a line of what one would write
        return {}
    for node in ast.walk(tree):
        name = getattr(node, "attr", None) or getattr(node, "id", None)
        if name and isinstance(getattr(node, "ctx", None), ast.Store):
            places.setdefault(name, []).append(node.lineno - 1)  # type: ignore[attr-defined]
    return {name: lines[0] for name, lines in places.items() if len(lines) == 1}
