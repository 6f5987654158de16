"""Two functions that optimisers are measured on, as objectives, and their least values.

Dixon & Szego 1978, "The global optimization problem: an introduction".
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

ALPHA = np.array([1.0, 1.2, 3.0, 3.2])
A = np.array(
    [
        [10, 3, 17, 3.5, 1.7, 8],
        [0.05, 10, 17, 0.1, 8, 14],
        [3, 3.5, 1.7, 10, 17, 8],
        [17, 8, 0.05, 10, 0.1, 14],
    ]
)
P = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)
LEAST = {"Branin": 0.397887, "Hartmann-6": -3.322368}


def branin(config: dict[str, Any]) -> float:
    """A bent valley in two dimensions with three equal minima."""
    x, y = config["x"], config["y"]
    bent = y - 5.1 / (4 * math.pi**2) * x * x + 5 / math.pi * x - 6
    return bent * bent + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10


def hartmann6(config: dict[str, Any]) -> float:
    """Four wells in six dimensions."""
    x = np.array([config[f"x{i}"] for i in range(6)])
    return -float(ALPHA @ np.exp(-(A * (x - P) ** 2).sum(axis=1)))


def space(name: str, tuning: Any) -> dict[str, Any]:
    """Where a function is searched, in the parameters of one side's chapter."""
    if name == "Branin":
        return {"x": tuning.Uniform(-5, 10), "y": tuning.Uniform(0, 15)}
    return {f"x{i}": tuning.Uniform(0, 1) for i in range(6)}


OBJECTIVES = {"Branin": branin, "Hartmann-6": hartmann6}
