"""The heat map of margins: technique by kind of comparison, each cell a share of its budget."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from parity_tests.harness.results import Outcome, Run, Worst, units_text

STEPS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Upper ends of the heat map's shades: half a power of ten each."""


def section(run: Run) -> str:
    """The heat map with its legend, and where each number comes from; empty if there is none."""
    kinds = _kinds(run)
    if not kinds:
        return ""
    dtypes = run.settings.dtypes
    over = "".join(f'<th colspan="{len(kinds)}" scope="colgroup">{d}</th>' for d in dtypes)
    columns = "".join(
        f'<th scope="col"{first_of(k, kinds)}>{escape(k)}</th>' for _ in dtypes for k in kinds
    )
    rows, details, chapter = [], [], ""
    for o in run.outcomes:
        if o.technique.chapter != chapter:
            chapter = o.technique.chapter
            rows.append(f'<tr><th colspan="{1 + len(kinds) * len(dtypes)}" scope="rowgroup">')
            rows.append(f"{escape(chapter)}</th></tr>")
        cells = []
        for d in dtypes:
            for k in kinds:
                found = o.worst(d, [k])
                cells.append(_cell(found, k == kinds[0]))
                if found and found[0].units:
                    details.append(_detail(o, *found))
        rows.append(f'<tr><th scope="row">{in_words(o.technique.name)}</th>{"".join(cells)}</tr>')
    ends = [units_text(0), *(f"up to {s:g}" for s in STEPS), "✗ beyond"]
    legend = "".join(f'<li class="u{i}">{escape(text)}</li>' for i, text in enumerate(ends))
    return (
        '<section id="margins"><h2>How near to the budget</h2><p>The worst comparison of each kind.'
        " Each shade is half a power of ten; point at a cell to see where its number comes from."
        f'</p><ul class="legend" aria-label="Shades">{legend}</ul>'
        '<div class="wide" role="region" aria-label="Heat map of margins" tabindex="0">'
        f'<table class="heat"><thead><tr><th rowspan="2" scope="col">technique</th>{over}</tr>'
        f"<tr>{columns}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
        f"<details><summary>Where each number comes from ({len(details)})</summary>"
        '<div class="wide" role="region" aria-label="Where each number comes from" tabindex="0">'
        '<table class="details"><thead><tr><th scope="col">technique</th><th scope="col">budgets'
        '</th><th scope="col">check</th><th scope="col">comparison</th></tr></thead><tbody>'
        f"{''.join(details)}</tbody></table></div></details></section>"
    )


def _kinds(run: Run) -> list[str]:
    """The kinds of comparison made: forward, gradient, buffer, step, then others as they came."""
    made = {w.kind: None for o in run.outcomes for r in o.results for w in r.worst}
    first = [k for k in ("forward", "gradient", "buffer", "step") if k in made]
    return first + [k for k in made if k not in first]


def _cell(found: tuple[Worst, str] | None, apart: bool) -> str:
    beside = " apart" if apart else ""
    if found is None:
        return f'<td class="none{beside}">-</td>'
    worst, check = found
    shade = 0 if not worst.units else 1 + sum(worst.units > step for step in STEPS)
    mark = "✗ " if worst.units > 1 else ""
    where = f", {worst.where}" if worst.where else ""
    tip = escape(f"{worst.label}: {check}{where}")
    return f'<td class="u{shade}{beside}" title="{tip}">{mark}{units_text(worst.units)}</td>'


def _detail(outcome: Outcome, worst: Worst, check: str) -> str:
    where = f", {worst.where}" if worst.where else ""
    return (
        f'<tr><th scope="row">{in_words(outcome.technique.name)}</th>'
        f"<td>{units_text(worst.units)}</td><td>{escape(check + where)}</td>"
        f"<td>{escape(worst.text)}</td></tr>"
    )


def first_of(column: str, columns: Sequence[str]) -> str:
    """The first column of a dtype stands a little apart."""
    return ' class="apart"' if column == columns[0] else ""


def in_words(name: str) -> str:
    """A name that may be broken before its capitals where a column is narrow."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "<wbr>", escape(name))
