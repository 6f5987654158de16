"""The page of a run: verdict, failures, table, heat map, curves, how to read them, where it ran."""

from __future__ import annotations

import itertools
from html import escape

from parity_tests.harness import figures, heat_map, page_style, table
from parity_tests.harness.heat_map import first_of, in_words
from parity_tests.harness.results import GROUPS, Run, units_text


def document(run: Run) -> str:
    """The whole page, in one piece: nothing is fetched, and no script is needed to read it."""
    parts = [
        _verdict(run),
        _failures(run),
        _techniques(run),
        heat_map.section(run),
        _curves(run),
        page_style.HOW_TO_READ,
        _machine(run),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>Parity: {escape(table.verdict_sentence(run))}</title>\n"
        f"<style>{page_style.CSS}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in parts if part)
        + "\n</main>\n</body>\n</html>\n"
    )


def _verdict(run: Run) -> str:
    worst = run.worst()
    units = worst[1].units if worst else 0.0
    margin = f" (margin {1 / units:.3g}x)" if 0 < units <= 1 else ""
    numbers = [
        ("techniques agree", f"{len(run.outcomes) - len(run.failed)} of {len(run.outcomes)}"),
        ("comparisons of arrays", f"{run.comparisons:,}"),
        ("rules tried", f"{run.rules:,}"),
        (f"budgets, the worst deviation{margin}", units_text(units) if worst else "-"),
        ("seconds", f"{run.seconds:.0f}"),
    ]
    items = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in numbers)
    bad = bool(run.failed)
    nearest_text = ""
    if worst is not None and worst[1].units:
        outcome, w, check = worst
        word = "Farthest beyond" if w.units > 1 else "Nearest to"
        where = f", {w.where}" if w.where else ""
        nearest_text = (
            f"<p>{word} its budget: <b>{escape(outcome.technique.name)}</b>, "
            f"{escape(w.label)} in {escape(w.dtype)} ({escape(check + where)}).</p>"
        )
    return (
        "<header><h1>NumPy and PyTorch, held against each other</h1>"
        f'<p class="verdict {"bad" if bad else "good"}"><span aria-hidden="true">'
        f"{'✗' if bad else '✓'}</span> {escape(table.verdict_sentence(run))}</p>"
        "<p>Both sides were fed the same numbers. Each difference is given as a share of its "
        "<b>budget</b>, the most that rounding explains: up to 1 the two agree. "
        '<a href="#read">How to read this</a>.</p>'
        f'<dl class="numbers">{items}</dl>{nearest_text}</header>'
    )


def _failures(run: Run) -> str:
    if not run.failed:
        return ""
    blocks = []
    for outcome in run.failed:
        t = outcome.technique
        for result, more in outcome.failures:
            others = f" and {more} more of its checks, in the same words" if more else ""
            text = "\n".join(result.failures)
            blocks.append(
                f"<article><h3>{escape(f'{t.chapter}/{t.name}')}</h3><p><code>{escape(result.name)}"
                f"</code>{others}</p><pre>{escape(text)}</pre><p>Again: <code>"
                f"{escape(run.rerun(outcome, result))}</code></p></article>"
            )
    count = sum(len(outcome.failed) for outcome in run.failed)
    return f'<section id="failures"><h2>Failures ({count})</h2>{"".join(blocks)}</section>'


def _techniques(run: Run) -> str:
    dtypes = run.settings.dtypes
    over = "".join(f'<th colspan="{len(GROUPS)}" scope="colgroup">{d}</th>' for d in dtypes)
    columns = "".join(
        f'<th scope="col"{first_of(g, GROUPS)}>{g}</th>' for _ in dtypes for g in GROUPS
    )
    bodies = []
    for chapter, outcomes in itertools.groupby(run.outcomes, lambda o: o.technique.chapter):
        span = 5 + len(dtypes) * len(GROUPS)
        rows = [f'<tr><th colspan="{span}" scope="rowgroup">{escape(chapter)}</th></tr>']
        for o in outcomes:
            cells = "".join(_number(o.in_group(d, g), g) for d in dtypes for g in GROUPS)
            style = {"agrees": "good", "FAILS": "bad"}.get(o.verdict, "")
            mark = {"agrees": "✓ ", "FAILS": "✗ "}.get(o.verdict, "")
            rows.append(
                f'<tr><th scope="row" title="{escape(o.technique.summary)}">'
                f'{in_words(o.technique.name)}</th><td class="verdict-cell {style}">{mark}'
                f"{o.verdict}</td><td>{o.comparisons:,}</td><td>{o.rules:,}</td>{cells}"
                f"<td>{o.seconds:.1f}</td></tr>"
            )
        bodies.append(f"<tbody>{''.join(rows)}</tbody>")
    return (
        '<section id="techniques"><h2>Every technique</h2>'
        '<div class="wide" role="region" aria-label="Every technique" tabindex="0"><table><thead>'
        '<tr><th rowspan="2" scope="col">technique</th><th rowspan="2" scope="col" '
        'class="verdict-cell">verdict</th><th rowspan="2" scope="col">compared</th>'
        f'<th rowspan="2" scope="col">rules</th>{over}<th rowspan="2" scope="col">seconds</th></tr>'
        f"<tr>{columns}</tr></thead>"
        f"{''.join(bodies)}</table></div></section>"
    )


def _number(units: float | None, column: str) -> str:
    text = units_text(units)
    if units is not None and units > 1:
        text = f'<b class="bad">✗ {text}</b>'
    return f"<td{first_of(column, GROUPS)}>{text}</td>"


def _curves(run: Run) -> str:
    drawn = [
        (f"{o.technique.name}: {curve.title}", curve)
        for o in run.outcomes
        for r in o.results
        for curve in r.curves
    ]
    if not drawn:
        return ""
    items = "".join(figures.figure(c, i, heading) for i, (heading, c) in enumerate(drawn))
    return (
        '<section id="curves"><h2>Whole runs</h2><p>Both sides overlaid, and below, how far they '
        f'are apart at each step.</p><div class="figures">{items}</div></section>'
    )


def _machine(run: Run) -> str:
    jobs = f"{run.jobs} worker process{'es' if run.jobs != 1 else ''}"
    known = {
        "Command": run.command,
        "Seed": str(run.settings.seed),
        "Dtypes": ", ".join(run.settings.dtypes),
        "Extent": "quick" if run.settings.quick else "full",
        "Time taken": f"{run.seconds:.1f} s with {jobs}",
        **run.machine,
    }
    rows = "".join(
        f'<tr><th scope="row">{escape(k)}</th><td>{escape(v)}</td></tr>' for k, v in known.items()
    )
    return (
        '<section id="machine"><h2>Versions and machine</h2>'
        f'<table class="plain"><tbody>{rows}</tbody></table></section>'
    )
