"""What an experiment prints: the numbers before and after, what they show, and whether it holds."""

from __future__ import annotations

import textwrap

from examples.pitfalls.both_sides import BROKE_DOWN
from examples.pitfalls.pitfall import Found, Pitfall

WIDTH = 100


def report(pitfall: Pitfall, found: Found) -> tuple[bool, str]:
    """Whether the effect is there on both sides and they agree, and the text that says so."""
    claims = pitfall.claims(found)
    others = pitfall.claims({name: pair.turned() for name, pair in found.items()})
    effect = all(claim.holds for claim in [*claims, *others])
    lines = [f"{pitfall.name.upper().replace('-', ' ')}: {pitfall.title}", ""]
    lines += [table(pitfall, found), ""]
    lines += [f"  {'shown' if c.holds else 'NOT SHOWN'}: {c}" for c in claims]
    lines += [f"  NOT SHOWN by PyTorch: {c}" for c in others if not c.holds]
    lines += [] if effect else ["  the effect is NOT there: see the numbers above"]
    apart = [f"{p.name}: {d}" for p in found.values() for d in p.disagreements]
    if apart:
        lines.append(f"  NumPy and torch DISAGREE in {len(apart)} series, the first of them")
        lines.append(f"  {apart[0]}")
    else:
        share = max(pair.share for pair in found.values())
        lines.append(f"  NumPy and torch agree: no number takes more than {share:.2f} budgets of 1")
    lines += ["", *textwrap.wrap(f"Look for: {pitfall.look_for}", WIDTH)]
    return effect and not apart, "\n".join(lines)


def table(pitfall: Pitfall, found: Found) -> str:
    """The numbers of each setting, a line each; `held` counts the steps that are compared."""
    rows = []
    for pair in found.values():
        row = {"": pair.role, "setting": pair.name}
        row |= pitfall.columns(pair)
        broke = int(pair[BROKE_DOWN][0])
        row |= {
            "steps": f"NaN at {broke}" if broke else str(pair.steps),
            "held": str(pair.held),
            "NumPy-torch": f"{pair.difference:.0e}",
        }
        rows.append(row)
    heads = list(rows[0])
    cells = [heads, *([row[head] for head in heads] for row in rows)]
    wide = [max(len(line[i]) for line in cells) for i in range(len(heads))]
    return "\n".join(
        "  "
        + "  ".join(
            cell.ljust(n) if i < 2 else cell.rjust(n) for i, (cell, n) in enumerate(zip(line, wide))
        ).rstrip()
        for line in cells
    )
