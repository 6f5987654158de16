"""Docstrings as HTML: paragraphs, arguments, bullets, formulas typeset, code highlighted."""

from __future__ import annotations

import inspect
import re
import textwrap
from html import escape

from markupsafe import Markup

from examples.study import code, formulas

HEADING = re.compile(r"(Args|Attributes|Raises|Returns|Warns|Yields|Class attributes):$")
ENTRY = re.compile(r"(\*{0,2}[A-Za-z_][\w.]*(?:, \*{0,2}[A-Za-z_][\w.]*)*): (.*)", re.S)
CODE = re.compile(
    r"[\"'#]|^\s*(with|for|import|from|def|class|loss|model)\b|\.\w+\(|\w=\w|\$ ", re.M
)


def html(docstring: str | None, skip_first: bool = False) -> Markup:
    """A docstring as HTML; without its first paragraph where that stands elsewhere."""
    paragraphs = re.split(r"\n\s*\n", inspect.cleandoc(docstring or ""))
    return Markup("\n").join(_paragraph(p) for p in paragraphs[skip_first:] if p.strip())


def first(docstring: str | None) -> Markup:
    """The first paragraph, which says in a sentence what the thing does."""
    return inline(re.split(r"\n\s*\n", inspect.cleandoc(docstring or ""))[0])


def first_line(docstring: str | None) -> str:
    """The first sentence as plain text."""
    return inspect.cleandoc(docstring or "").split("\n")[0]


def papers(*docstrings: str | None) -> list[str]:
    """The arXiv numbers that the docstrings name, each once."""
    found = re.findall(r"arXiv:(\d{4}\.\d{4,5})", " ".join(d or "" for d in docstrings))
    return list(dict.fromkeys(found))


def _paragraph(text: str) -> Markup:
    lines = text.split("\n")
    if HEADING.match(lines[0].strip()):
        return _entries(lines[0].strip().rstrip(":"), textwrap.dedent("\n".join(lines[1:])))
    if all(line.startswith("    ") for line in lines):
        return _block(textwrap.dedent(text))
    if re.match(r"[-*] ", lines[0]):
        items = re.split(r"\n[-*] ", "\n" + text)[1:]
        return Markup(f"<ul>{''.join(f'<li>{inline(item)}</li>' for item in items)}</ul>")
    for i, line in enumerate(lines):  # a sentence that leads over to what is set off below it
        if i and line.startswith(("    ", "- ")):
            head, rest = "\n".join(lines[:i]), "\n".join(lines[i:])
            return _paragraph(head) + _paragraph(rest)
    return Markup(f"<p>{inline(text)}</p>")


def _block(text: str) -> Markup:
    if CODE.search(text):
        return code.block(text)
    rows = "".join(formulas.mathml(line) for line in text.split("\n") if line.strip())
    return Markup(f'<div class="formulas">{rows}</div>')


def _entries(title: str, text: str) -> Markup:
    rows = []
    for entry in re.split(r"\n(?=\S)", text):
        named = ENTRY.match(entry)
        term, says = named.groups() if named else ("", entry)
        rows.append(f"<dt><code>{escape(term)}</code></dt><dd>{inline(says)}</dd>")
    return Markup(f'<h4>{title}</h4><dl class="entries">{"".join(rows)}</dl>')


def inline(text: str) -> Markup:
    """A line of text as HTML, its code and its links marked."""
    text = escape(re.sub(r"\s+", " ", text.strip()), quote=False)
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", text)
    text = re.sub(
        r"arXiv:(\d{4}\.\d{4,5})", r'<a href="https://arxiv.org/abs/\1">arXiv:\1</a>', text
    )
    text = re.sub(r"(?<![\"'>])(https?://[^\s)&]+[^\s).,;&])", r'<a href="\1">\1</a>', text)
    return Markup(text)
