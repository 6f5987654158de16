"""How the time of a step grows with the batch: flat while calls dominate, then linear."""

from __future__ import annotations

from statistics import median

from examples.benchmarks.networks import numpy_step, samples, torch_step
from examples.benchmarks.timing import interleave

WIDTHS = (64, 64, 64, 64, 10)
LAYERS = len(WIDTHS) - 1


def growth(batches: list[int], rounds: int, seconds: float, clock: str) -> list[dict[str, float]]:
    """Microseconds a layer and step of four 64-wide layers, by batch, on both sides."""
    sides = {}
    for batch in batches:
        x, y = samples(batch, WIDTHS, "float32")
        sides[f"numpy {batch}"] = numpy_step(WIDTHS, x, y)
        sides[f"torch {batch}"] = torch_step(WIDTHS, x, y, fused=True)
    turns = interleave(sides, rounds, seconds)
    micros = {
        side: median(getattr(turn, clock) for turn in taken) * 1e6 / LAYERS
        for side, taken in turns.items()
    }
    return [
        {"batch": batch, "numpy_us": micros[f"numpy {batch}"], "torch_us": micros[f"torch {batch}"]}
        for batch in batches
    ]


def text(rows: list[dict[str, float]]) -> str:
    """The growth as a table, with the time that each further sample takes."""
    lines = [
        "Growth with the batch: four 64-wide layers, float32, Adam (torch's fused), us a layer and "
        "step (goal at batch 32: 25)",
        f"{'batch':>7} {'NumPy':>8} {'torch':>8} {'ratio':>6}   NumPy's us for each further sample",
    ]
    before = None
    for row in rows:
        further = ""
        if before:
            extra = (row["numpy_us"] - before["numpy_us"]) / (row["batch"] - before["batch"])
            further = f"{extra:.3f}"
        ratio = row["numpy_us"] / row["torch_us"]
        lines.append(
            f"{row['batch']:>7.0f} {row['numpy_us']:>8.1f} {row['torch_us']:>8.1f} {ratio:>6.2f}   "
            + further
        )
        before = row
    return "\n".join(line.rstrip() for line in lines)
