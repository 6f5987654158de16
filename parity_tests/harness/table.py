"""What `parity` prints: one table by chapter and technique, then the failures in full."""

from __future__ import annotations

import itertools
import os
import textwrap
from collections.abc import Callable, Sequence
from typing import TextIO

from parity_tests.harness.results import GROUPS, Outcome, Run, Technique, units_text

Paint = Callable[[str, str], str]

CODES = {"bold": "1", "faint": "2", "bad": "1;31", "good": "32", "near": "33"}
WIDTHS = dict(zip(GROUPS, (8, 9, 7)))


def painter(stream: TextIO) -> Paint:
    """A function that colours text for this stream: only on a terminal, and never with NO_COLOR."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not stream.isatty()

    def paint(text: str, style: str) -> str:
        return text if plain or not style else f"\x1b[{CODES[style]}m{text}\x1b[0m"

    return paint


def results_table(run: Run, paint: Paint) -> str:
    """Every technique on a line: what was compared, how near to the budget, and the verdict."""
    dtypes = run.settings.dtypes
    name_width = max([14, *(len(shortened(o.technique.name)) + 2 for o in run.outcomes)])
    block = sum(WIDTHS.values())
    over = "".join("   " + f" {dtype} ".center(block - 1, "-") for dtype in dtypes)
    head = " " * name_width + f"{'compared':>9}{'rules':>6}"
    for _ in dtypes:
        head += "  " + "".join(f"{g:>{w}}" for g, w in WIDTHS.items())
    lines = [" " * (name_width + 15) + over, paint(head + "  verdict", "bold")]
    for chapter, outcomes in itertools.groupby(run.outcomes, lambda o: o.technique.chapter):
        lines.append(paint(chapter, "bold"))
        lines += [_line(o, dtypes, name_width, paint) for o in outcomes]
    return "\n".join(lines)


def shortened(name: str) -> str:
    """A name of at most 22 characters, so that a line has at most 100."""
    return name if len(name) <= 22 else f"{name[:21]}…"


def _line(outcome: Outcome, dtypes: Sequence[str], name_width: int, paint: Paint) -> str:
    name = f"  {shortened(outcome.technique.name)}"
    line = f"{name:<{name_width}}{outcome.comparisons or '-':>9}{outcome.rules or '-':>6}"
    for dtype in dtypes:
        line += "  "
        for column, width in WIDTHS.items():
            units = outcome.in_group(dtype, column)
            style = "" if units is None or units <= 0.5 else "near" if units <= 1 else "bad"
            line += paint(f"{units_text(units):>{width}}", style)
    style = {"agrees": "good", "FAILS": "bad", "stopped": "near"}[outcome.verdict]
    return f"{line}  {paint(outcome.verdict, style)}"


def legend() -> str:
    """What the numbers mean, in four lines."""
    text = (
        "Numbers are the worst deviations in units of the budget, which is derived from rounding: "
        "up to 1 agrees. 'equal' is equal to the last bit, 'wrong' has no number (shape, dtype, "
        "NaN), '-' has nothing to compare. 'step' is all state: buffers, optimizer state, "
        "parameters and losses along a run."
    )
    return textwrap.fill(text, 96)


def failures(run: Run, paint: Paint) -> str:
    """Every failure in full, each with the command that runs it again."""
    blocks = []
    for outcome in run.failed:
        t = outcome.technique
        for result, more in outcome.failures:
            head = (
                f"{paint('FAILS', 'bad')} {paint(f'{t.chapter}/{t.name}', 'bold')}  {result.name}"
            )
            head += f"\n    and {more} more of its checks, in the same words" if more else ""
            text = "\n".join(_wrapped(line) for f in result.failures for line in f.split("\n"))
            again = f"    {paint('again:', 'faint')} {run.rerun(outcome, result)}"
            blocks.append(f"{head}\n{text}\n{again}")
    return "\n\n".join(blocks)


def _wrapped(line: str) -> str:
    inner = "    " + " " * (len(line) - len(line.lstrip()))
    return textwrap.fill(
        line.strip(), 96, initial_indent=inner, subsequent_indent=f"{inner}  ",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def verdict_sentence(run: Run) -> str:
    """The outcome in one plain sentence."""
    n = len(run.outcomes)
    techniques = f"{n} technique{'s' if n != 1 else ''}"
    if run.interrupted:
        done = sum(o.finished for o in run.outcomes)
        text = f"Stopped after {done} of {techniques}"
        return text + (f"; {len(run.failed)} of them failed." if run.failed else "; none failed.")
    if run.failed:
        names = ", ".join(o.technique.name for o in run.failed[:5])
        more = f" and {len(run.failed) - 5} more" if len(run.failed) > 5 else ""
        return f"NumPy and PyTorch disagree on {len(run.failed)} of {techniques}: {names}{more}."
    return f"NumPy and PyTorch agree on {'all ' if n > 1 else ''}{techniques}."


def summary(run: Run, paint: Paint) -> str:
    """The last lines of a run: verdict, counts, the comparison nearest to its budget."""
    style = "bad" if run.failed else "near" if run.interrupted else "good"
    lines = [
        paint(verdict_sentence(run), style),
        f"{run.comparisons:,} comparisons and {run.rules:,} rules in {run.seconds:.1f} s, "
        f"seed {run.settings.seed}{', quick' if run.settings.quick else ''}, "
        f"{run.jobs} worker{'s' if run.jobs != 1 else ''}.",
    ]
    found = run.worst()
    if found and found[1].units:
        outcome, worst, check = found
        how = "Farthest beyond its budget" if worst.units > 1 else "Nearest to its budget"
        where = ", ".join(text for text in (check, worst.where) if text)
        lines.append(
            f"{how}: {units_text(worst.units)} at {outcome.technique.name}, {worst.label} "
            f"({worst.dtype}),\n  in {where}."
        )
    return "\n".join(lines)


def techniques_table(techniques: Sequence[Technique], paint: Paint) -> str:
    """Every technique on a line: how many checks, which file on either side, what it does."""
    name_width = max(len(t.name) for t in techniques) + 4
    file_width = max(len(t.twin) for t in techniques) + 2
    lines = []
    for chapter, members in itertools.groupby(techniques, lambda t: t.chapter):
        lines.append(paint(chapter, "bold"))
        for t in members:
            count = f"{len(t.checks)} checks" if t.checks else "broken"
            line = f"  {t.name:<{name_width}}{count:>10}  {t.twin:<{file_width}}"
            text = t.problem.split("\n")[0] if t.problem else t.summary
            lines.append((line + paint(text, "bad" if t.problem else "faint")).rstrip())
    total = sum(len(t.checks) for t in techniques)
    lines.append(
        f"\n{len(techniques)} techniques, {total} checks. Each file stands in numpy_impl/ "
    )
    lines[-1] += "and torch_impl/;\nits cases in parity_tests/<chapter>/test_<file>."
    return "\n".join(lines)
