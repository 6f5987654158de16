"""Naming a number: which expression of the case at hand has this value?

    name_of([0.935414..], [{"C": 8, ...}])  ->  "sqrt((C-1)/C), C = 8"

Sizes, options of both sides and a few plain constants, alone and in small combinations. A name
holds only if it gives the fitted number in every trial, each with its own sizes, to rounding.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence

Sizes = Mapping[str, float]

PLAIN: dict[str, float] = {
    "1": 1.0,
    "2": 2.0,
    "1/2": 0.5,
    "10": 10.0,
    "0.1": 0.1,
    "100": 100.0,
    "0.01": 0.01,
    "1000": 1e3,
    "0.001": 1e-3,
    "1e-4": 1e-4,
    "1e-5": 1e-5,
    "1e-6": 1e-6,
    "1e-8": 1e-8,
}
SPECIAL: dict[str, float] = {
    "sqrt(2)": math.sqrt(2),
    "1/sqrt(2)": math.sqrt(0.5),
    "pi": math.pi,
    "1/pi": 1 / math.pi,
    "2 pi": 2 * math.pi,
    "sqrt(2/pi)": math.sqrt(2 / math.pi),
    "sqrt(pi)": math.sqrt(math.pi),
    "ln 2": math.log(2),
    "1/ln 2": 1 / math.log(2),
    "ln 10": math.log(10),
    "1/ln 10": 1 / math.log(10),
    "e": math.e,
    "1/e": 1 / math.e,
    "1.702": 1.702,
    "255": 255.0,
    "1/255": 1 / 255,
    "0.9": 0.9,
    "0.99": 0.99,
    "0.999": 0.999,
}
FRACTIONS: dict[str, float] = {
    "3": 3.0,
    "1/3": 1 / 3,
    "4": 4.0,
    "1/4": 0.25,
    "3/2": 1.5,
    "2/3": 2 / 3,
    "5": 5.0,
    "1/5": 0.2,
    "6": 6.0,
    "1/6": 1 / 6,
    "8": 8.0,
    "1/8": 0.125,
}

GLOSSES: dict[str, str] = {
    "1/N": "an average over the batch where the reference sums",
    "N": "a sum over the batch where the reference averages",
    "1/n_input": "an average over all elements where the reference sums",
    "n_input": "a sum over all elements where the reference averages",
    "1/C": "an average over axis 1 where the reference sums, or N elements counted as N*C",
    "C": "a sum over axis 1 where the reference averages, or a mean over N for one over N*C",
    "sqrt((C-1)/C)": "a standard deviation with ddof=1 for one with ddof=0",
    "sqrt((N-1)/N)": "a standard deviation with ddof=1 for one with ddof=0",
    "sqrt(C/(C-1))": "a standard deviation with ddof=0 for one with ddof=1",
    "sqrt(N/(N-1))": "a standard deviation with ddof=0 for one with ddof=1",
    "(N-1)/N": "a variance with ddof=0 for one with ddof=1",
    "N/(N-1)": "a variance with ddof=1 for one with ddof=0",
    "(C-1)/C": "a variance with ddof=0 for one with ddof=1",
    "C/(C-1)": "a variance with ddof=1 for one with ddof=0",
    "n_out": "an average over rows where the reference averages over the outputs, too",
    "n_out/2": "half the squared error, averaged over rows but not over the outputs",
    "1/n_out": "an average over the outputs, too, where the reference sums",
    "1-p": "dropout's scaling",
    "1/(1-p)": "dropout's scaling",
}
"""What a named number usually means."""

ONE: list[tuple[str, Callable[[float], float], int]] = [
    ("{}", lambda n: n, 1),
    ("1/{}", lambda n: 1 / n, 1),
    ("({}-1)/{}", lambda n: (n - 1) / n, 2),
    ("{}/({}-1)", lambda n: n / (n - 1), 2),
    ("sqrt(({}-1)/{})", lambda n: math.sqrt((n - 1) / n), 2),
    ("sqrt({}/({}-1))", lambda n: math.sqrt(n / (n - 1)), 2),
    ("sqrt({})", math.sqrt, 2),
    ("1/sqrt({})", lambda n: 1 / math.sqrt(n), 2),
    ("1-{}", lambda n: 1 - n, 2),
    ("1/(1-{})", lambda n: 1 / (1 - n), 2),
    ("{}/(1-{})", lambda n: n / (1 - n), 3),
    ("(1-{})/{}", lambda n: (1 - n) / n, 3),
    ("{}-1", lambda n: n - 1, 2),
    ("1/({}-1)", lambda n: 1 / (n - 1), 2),
    ("2*{}", lambda n: 2 * n, 3),
    ("{}/2", lambda n: n / 2, 3),
    ("2/{}", lambda n: 2 / n, 3),
    ("1/(2*{})", lambda n: 0.5 / n, 3),
    ("{}^2", lambda n: n * n, 3),
    ("1/{}^2", lambda n: 1 / (n * n), 3),
    ("1+{}", lambda n: 1 + n, 3),
    ("1-{}^2", lambda n: 1 - n * n, 4),
]

TWO: list[tuple[str, Callable[[float, float], float], int]] = [
    ("{}*{}", lambda a, b: a * b, 4),
    ("{}/{}", lambda a, b: a / b, 4),
    ("1/({}*{})", lambda a, b: 1 / (a * b), 4),
    ("{}/(2*{})", lambda a, b: a / (2 * b), 5),
    ("2*{}/{}", lambda a, b: 2 * a / b, 5),
    ("sqrt({}/{})", lambda a, b: math.sqrt(a / b), 5),
    ("(1-{})*{}", lambda a, b: (1 - a) * b, 5),
    ("{}-{}", lambda a, b: a - b, 5),
]


def name_of(values: Sequence[float], sizes: Sequence[Sizes], rtol: float = 1e-9) -> list[str]:
    """The simplest expressions with these values, one value a trial; the simplest first."""
    if not values or not all(math.isfinite(v) for v in values):
        return []
    sign = -1.0 if values[0] < 0 else 1.0
    if any(v * sign <= 0 for v in values):
        return []
    found: list[tuple[int, str]] = []
    lists = [_expressions(tuple(sorted(s.items()))) for s in sizes]
    for text, (first, cost) in lists[0].items():
        near = math.isclose(first, abs(values[0]), rel_tol=rtol)
        if near and all(
            text in one and math.isclose(one[text][0], abs(v), rel_tol=rtol)
            for one, v in zip(lists[1:], values[1:])
        ):
            found.append((cost, text))
    found.sort()
    return [("-" if sign < 0 else "") + text for _, text in found]


def describe(text: str, sizes: Sizes) -> str:
    """The expression with the values of what it names: sqrt((C-1)/C) with C = 8."""
    used = [f"{k} = {_short(v)}" for k, v in sizes.items() if k in _words(text)]
    return f"{text} with {', '.join(used)}" if used else text


@functools.lru_cache(maxsize=64)
def _expressions(sizes: tuple[tuple[str, float], ...]) -> dict[str, tuple[float, int]]:
    found: dict[str, tuple[float, int]] = {}
    for constants, cost in ((PLAIN, 0), (SPECIAL, 1), (FRACTIONS, 6)):
        found |= {k: (v, cost) for k, v in constants.items()}
    for name, value in sizes:
        for text, function, cost in ONE:
            if "-1" in text and name in ("n_out", "n_output", "n_input", "eps", "lr"):
                continue  # nobody subtracts 1 from these
            _put(found, text.replace("{}", name), function, (value,), cost)
    for (a, x), (b, y) in itertools.permutations(sizes, 2):
        for text, two, cost in TWO:
            if "*{}" in text and a > b and text != "(1-{})*{}":
                continue
            _put(found, text.format(a, b), two, (x, y), cost)
    return found


def _put(
    found: dict[str, tuple[float, int]],
    text: str,
    function: Callable[..., float],
    values: tuple[float, ...],
    cost: int,
) -> None:
    try:
        value = function(*values)
    except (ZeroDivisionError, ValueError, OverflowError):
        return
    if value > 0 and not (value == 1.0 and cost > 1):
        found[text] = value, cost


def _words(text: str) -> set[str]:
    for mark in "()*/^+-":
        text = text.replace(mark, " ")
    return set(text.split())


def _short(v: float) -> str:
    return str(int(v)) if float(v).is_integer() and abs(v) < 1e6 else f"{v:g}"
