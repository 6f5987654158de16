"""What `parity score` prints: a table for the terminal, one for the README, JSON."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from parity_tests.harness.results import Technique
from parity_tests.harness.score import Count, Score
from parity_tests.harness.table import Paint, shortened

Scores = Mapping[Technique, Score]
Mutants = Mapping[str, Count]
"""Of each NumPy file: killed, of those that are not equivalent; what survives without a reason."""

COLUMNS = {
    "caught": "mistakes caught",
    "apart": "pairs told apart",
    "named": "named right",
    "passed": "rewrites let pass",
}
MUTANTS = "mutants killed"
REST = "What these stand on"
"""Files without a case of their own: nothing but mutants tries them."""


def terminal(scores: Scores, mutants: Mutants, paint: Paint) -> str:
    """Every technique on a line, then all that is missed."""
    titles = [*COLUMNS.values(), MUTANTS]
    head = " " * 24 + "".join(f"{t.split(' ')[0]:>11}" for t in titles)
    under = " " * 24 + "".join(f"{' '.join(t.split(' ')[1:]):>11}" for t in titles)
    lines = [head, paint(under, "bold")]
    for chapter, members in itertools.groupby(scores, lambda t: t.chapter):
        lines.append(paint(chapter, "bold"))
        seen: set[str] = set()
        for t in members:
            counts = [getattr(scores[t], k) for k in COLUMNS]
            counts.append(Count() if t.twin in seen else mutants.get(t.twin, Count()))
            seen.add(t.twin)
            cells = "".join(paint(f"{c!s:>11}", "bad" if c.missed else "") for c in counts)
            lines.append(f"  {shortened(t.name):<22}{cells}")
    rest = _rest(scores, mutants)
    lines += [paint(REST.lower(), "bold")] if rest else []
    for file, count in rest.items():
        cells = "".join(f"{c!s:>11}" for c in [*vars(Score()).values(), count])
        lines.append(f"  {shortened(_stem(file)):<22}{cells}")
    counts = [*vars(total(scores)).values(), sum(mutants.values(), Count())]
    lines.append(f"{'in all':<24}" + "".join(f"{c!s:>11}" for c in counts))
    missed = [f"{t.chapter}/{t.name}: {text}" for t in scores for text in scores[t].missed]
    missed += [f"{file}: {text}" for file, c in mutants.items() for text in c.missed]
    if missed:
        lines += ["", *(f"{paint('MISSED', 'bad')} {text}" for text in missed)]
    return "\n".join(lines)


def markdown(scores: Scores, mutants: Mutants) -> str:
    """Every file on a row, with its techniques together."""
    titles = ["chapter", "file", *COLUMNS.values(), MUTANTS]
    rows = ["| " + " | ".join(titles) + " |", "|---|---" + "|--:" * (len(titles) - 2) + "|"]
    chapter = ""
    for (now, twin), members in itertools.groupby(scores, lambda t: (t.chapter, t.twin)):
        score = sum((scores[t] for t in members), Score())
        killed = mutants.get(twin, Count())
        cells = [*map(str, vars(score).values()), f"{killed}{_percent(killed)}"]
        first = now.capitalize() if now != chapter else ""
        chapter = now
        rows.append("| " + " | ".join([first, f"`{_stem(twin)}`", *cells]) + " |")
    for i, (file, killed) in enumerate(_rest(scores, mutants).items()):
        cells = [*map(str, vars(Score()).values()), f"{killed}{_percent(killed)}"]
        rows.append("| " + " | ".join(["" if i else REST, f"`{_stem(file)}`", *cells]) + " |")
    killed = sum(mutants.values(), Count())
    cells = [*map(str, vars(total(scores)).values()), f"{killed}{_percent(killed)}"]
    rows.append("| " + " | ".join(["**in all**", "", *cells]) + " |")
    return "\n".join(rows)


def as_dict(scores: Scores, mutants: Mutants) -> dict[str, Any]:
    """As JSON holds it."""
    found = [
        {"chapter": t.chapter, "technique": t.name, "numpy": f"numpy_impl/{t.twin}"}
        | {k: vars(count) for k, count in vars(scores[t]).items()}
        for t in scores
    ]
    killed = {f"numpy_impl/{file}": vars(c) for file, c in mutants.items()}
    return {"techniques": found, "mutants": killed}


def total(scores: Scores) -> Score:
    """All techniques together."""
    return sum(scores.values(), Score())


def _rest(scores: Scores, mutants: Mutants) -> dict[str, Count]:
    with_cases = {t.twin for t in scores}
    return {file: c for file, c in mutants.items() if file not in with_cases and c.of}


def _stem(file: str) -> str:
    return file.split("/")[-1].removesuffix(".py")


def _percent(count: Count) -> str:
    return f" ({100 * count.right / count.of:.0f} %)" if count.of else ""
