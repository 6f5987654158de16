"""Python source as HTML: coloured, and every name marked so that its counterpart can light up."""

from __future__ import annotations

import builtins
import io
import keyword
import re
import tokenize
from collections.abc import Collection, Sequence
from html import escape
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


def block(source: str, shared: Collection[str] = ()) -> Markup:
    """A piece of source; names in `shared` become marks that light up together."""
    return Markup(f'<pre class="code" tabindex="0"><code>{highlight(source, shared)}</code></pre>')


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
