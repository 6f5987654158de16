"""Curves of both sides and their difference, as SVG that stands in the page itself."""

from __future__ import annotations

import io
import math
import re
from html import escape
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from parity_tests.harness.case import Curve

# matplotlib draws in stand-ins, which the page's own colours replace, so that one drawing serves
# light and dark.
STAND_INS = {
    "ink": "#010101",
    "faint": "#020202",
    "ours": "#030303",
    "reference": "#040404",
    "allowed": "#050505",
}
DRAWING: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "parity",
    "text.parse_math": False,
    "axes.formatter.useoffset": False,
    "font.size": 9,
    "text.color": STAND_INS["ink"],
    "axes.labelcolor": STAND_INS["ink"],
    "axes.edgecolor": STAND_INS["faint"],
    "xtick.color": STAND_INS["faint"],
    "ytick.color": STAND_INS["faint"],
    "xtick.labelcolor": STAND_INS["ink"],
    "ytick.labelcolor": STAND_INS["ink"],
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def figure(curve: Curve, number: int, heading: str) -> str:
    """One curve as a <figure>: both sides overlaid, |difference| below, a caption in numbers."""
    says = describe(curve)
    return (
        f'<figure><h3>{escape(heading)}</h3><div role="img" aria-label="{escape(says)}">'
        f"{_svg(curve, number)}</div><figcaption>{escape(says)}</figcaption></figure>"
    )


def describe(curve: Curve) -> str:
    """What the drawing shows, in one sentence."""
    if not curve.ours or len(curve.ours) != len(curve.reference):
        return f"NumPy has {len(curve.ours)} points, PyTorch {len(curve.reference)}."
    ours, reference = np.asarray(curve.ours, float), np.asarray(curve.reference, float)
    ends = f"Ends at {ours[-1]:.6g} in NumPy and {reference[-1]:.6g} in PyTorch"
    gap = _gap(ours, reference)
    at = int(np.argmax(gap))
    if gap[at] == 0:
        return f"{ends}; every point is equal to the last bit."
    text = f"{ends}; the largest difference is {gap[at]:.2g}, at {curve.x_label} {at}"
    if curve.allowed is not None and at < len(curve.allowed):
        text += f", where {curve.allowed[at]:.2g} was allowed"
    return text + "."


def _gap(ours: np.ndarray, reference: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        gap = np.abs(ours - reference)
    same = (ours == reference) | (np.isnan(ours) & np.isnan(reference))
    return np.where(same, 0.0, np.where(np.isnan(gap), math.inf, gap))


def _svg(curve: Curve, number: int) -> str:
    n = min(len(curve.ours), len(curve.reference))
    ours, reference = np.asarray(curve.ours, float), np.asarray(curve.reference, float)
    steps = np.arange(n)
    with matplotlib.rc_context(DRAWING):
        drawing = Figure(figsize=(5.6, 3.6))
        FigureCanvasSVG(drawing)
        above, below = drawing.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        # margins by hand: working them out from the texts takes longer than all the rest
        drawing.subplots_adjust(left=0.15, right=0.985, top=0.93, bottom=0.13, hspace=0.22)
        marker = "o" if n == 1 else ""
        above.plot(reference, color=STAND_INS["reference"], lw=4, marker=marker, label="PyTorch")
        above.plot(ours, color=STAND_INS["ours"], lw=1.3, marker=marker, label="NumPy")
        above.set_ylabel(curve.y_label)
        above.legend(frameon=False, ncols=2, loc="lower right", bbox_to_anchor=(1, 1))

        gap = _gap(ours[:n], reference[:n])
        shown = np.where((gap > 0) & np.isfinite(gap), gap, np.nan)
        below.plot(steps, shown, color=STAND_INS["ours"], lw=1, marker=".", ms=3)
        below.set(xlabel=curve.x_label, ylabel="|difference|")
        seen = shown[~np.isnan(shown)]
        if curve.allowed is not None and any(a > 0 for a in curve.allowed):
            below.plot(curve.allowed, color=STAND_INS["allowed"], lw=1.3, ls="--", label="allowed")
            below.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 0.95))
            seen = np.append(seen, [a for a in curve.allowed if 0 < a < math.inf])
        if (gap == 0).all():
            below.text(0.02, 0.1, "no difference", transform=below.transAxes)
        below.xaxis.set_major_locator(MaxNLocator(integer=True) if n > 1 else FixedLocator([0]))
        if seen.size:  # whole powers of ten, so that at least two of them are marked
            low, high = math.floor(math.log10(seen.min())), math.ceil(math.log10(seen.max()))
            below.set(yscale="log", ylim=(10.0**low / 2, 10.0 ** max(high, low + 1) * 2))
            below.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0e}"))
            below.yaxis.set_minor_locator(NullLocator())
        else:
            below.set_yticks([])
        out = io.StringIO()
        drawing.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    return _inline(out.getvalue(), f"curve{number}-")


def _inline(svg: str, prefix: str) -> str:
    """Only the <svg> element, scaling with the page, in its colours, with names of its own."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg)
    svg = svg.replace("xlink:href", "href")
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}\1"', svg)
    svg = re.sub(r'(url\(|href=")#', rf"\1#{prefix}", svg)
    svg = re.sub(r'^<svg([^>]*?) width="[^"]*"', r"<svg\1", svg)
    svg = re.sub(r'^<svg([^>]*?) height="[^"]*"', r"<svg\1", svg)
    for name, colour in STAND_INS.items():
        svg = svg.replace(colour, f"var(--{name})")
    return svg.strip()
