"""The last bit: how compiled code rounds, done over in NumPy.

A draw equals torch's to the bit only if every operation on the way rounds as torch's does. What is
here is about that and nothing else: `random.py` reads without it.

- `fma`: x * y + z rounded once. Compilers turn a product and a sum into one such instruction
  where the processor has it (x86-64 with AVX2, 64-bit ARM), and torch's kernels are so compiled.
- `log_sin_cos`: the float32 logarithm, sine and cosine of torch's normal numbers. With AVX2
  they are polynomials from Cephes (S. Moshier 1984-1992, netlib.org/cephes), coefficient by
  coefficient in fused operations; elsewhere the C library's logf, sinf and cosf.
- `libm`: the C library's functions of float64, which NumPy replaces by its own where it has
  faster ones that may be off by one in the last place.

`machine` says which of them torch uses here.
"""

from __future__ import annotations

import ctypes
import functools
import math
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Function = Callable[[Array], Array]

# ---- the machine ---------------------------------------------------------------------------------


class Machine(NamedTuple):
    """How torch's kernels compute here.

    fused: a product and a sum round once.  polynomials: float32 normals come from Cephes'
    polynomials.  libm: the C library can be asked for logf, sinf and cosf.  known: a kind of
    machine on which all of this was found to hold.
    """

    fused: bool
    polynomials: bool
    libm: bool
    known: bool


@functools.cache
def machine() -> Machine:
    """Look at processor and system, and at ATEN_CPU_CAPABILITY, which torch obeys."""
    processor = platform.machine().lower()
    arm = processor in ("aarch64", "arm64")
    avx2 = os.environ.get("ATEN_CPU_CAPABILITY") != "default" and _has_avx2()
    known = sys.platform == "linux" and (arm or processor in ("x86_64", "amd64"))
    return Machine(arm or avx2, avx2, _c_library() is not None, known)


CPUINFO = Path("/proc/cpuinfo")


def _has_avx2() -> bool:
    """Whether there is AVX2 with FMA: as the kernel of Linux lists it, else as NumPy found it."""
    try:
        lines = CPUINFO.read_bytes().splitlines()
    except OSError:
        config: Any = np.show_config(mode="dicts")
        found = config.get("SIMD Extensions", {})
        names = {*found.get("baseline", ()), *found.get("found", ())}
        return not names.isdisjoint({"X86_V3", "AVX2"})
    flags = next((line for line in lines if line.startswith(b"flags")), b"")
    return {b"avx2", b"fma"} <= set(flags.split())


@functools.cache
def _c_library() -> ctypes.CDLL | None:
    name = {"linux": "libm.so.6", "darwin": "libSystem.B.dylib"}.get(sys.platform)
    try:
        return ctypes.CDLL(name) if name else None
    except OSError:
        return None


# ---- a product and a sum, rounded once -----------------------------------------------------------

CHUNK = 16384  # numbers at a time, so that all that is in between stays in the processor's cache


def fma(x: Array, y: float, z: float, fused: bool) -> Array:
    """x * y + z, in place; y and z cast to its dtype first; rounded once if fused, else twice.

    x has one axis.
    """
    dtype = x.dtype.type
    with np.errstate(all="ignore"):
        y, z = float(dtype(y)), float(dtype(z))
        if z == 0 or not fused:  # x * y + 0 rounds once anyhow
            x *= dtype(y)
            x += dtype(z)
            return x
        once = _fma32 if x.dtype == np.float32 else _fma64
        for start in range(0, x.size, CHUNK):
            part = x[start : start + CHUNK]
            part[...] = once(part, y, z)  # to float32, if that is what x is
        return x


def stretch(x: Array, low: float, high: float) -> Array:
    """x in [0, 1) as x * (high - low) + low, which stays below high, in place: torch's uniform_."""
    dtype = x.dtype.type
    low, high = dtype(low), dtype(high)
    with np.errstate(all="ignore"):
        if machine().fused and low == -high:
            x += x  # 2x - 1 is exact, so this is x * 2 high - high rounded once
            x -= dtype(1)
            x *= high
        else:
            fma(x, high - low, low, machine().fused)
    np.copyto(x, low, where=x == high)
    return x


def _fma32(x: Array, y: float, z: float) -> Array:
    """In float64, such that one rounding to float32 is left to do.

    The product of two float32 is exact in float64, and so, all but always, is the sum.

    Rounding twice, to 53 and then to 24 bits, ends one off only where the first rounding lands in
    the middle between two float32 (or the result has fewer bits than 24). There the sum is rounded
    to odd instead (Boldo & Melquiond 2008, IEEE Trans. Computers 57:462).
    """
    product = np.multiply(x, y, dtype=np.float64)
    total = product + z
    doubtful = total.view(np.int64) & (2**29 - 1) == 2**28
    doubtful |= np.abs(total) < 2.0**-126
    if doubtful.any():
        total[doubtful] = _odd_sum(product[doubtful], np.float64(z))
    return total


def _fma64(x: Array, y: float, z: float) -> Array:
    """Boldo & Melquiond 2008, fig. 3: the product as two numbers, the small ends added to odd."""
    product, product_end = _product(x, y)
    total, total_end = _sum(np.float64(z), product_end)
    high, high_end = _sum(product, total)
    result = np.asarray(high + _odd_sum(high_end, total_end))
    # Where the ends overflow or the product is not finite, two roundings say what one would.
    return np.where(np.isfinite(result), result, x * y + z)


def _sum(a: Any, b: Any) -> tuple[Any, Any]:
    """a + b as it rounds, and what rounding lost (Knuth 1969, Art of Computer Programming 2)."""
    total = a + b
    of_b = total - a
    return total, (a - (total - of_b)) + (b - of_b)


def _product(a: Array, b: float) -> tuple[Array, Array]:
    """a * b as it rounds, and what rounding lost (Dekker 1971, Numer. Math. 18:224)."""
    (a_high, a_low), (b_high, b_low) = _halves(a), _halves(b)
    product = a * b
    return product, a_low * b_low - (
        ((product - a_high * b_high) - a_low * b_high) - a_high * b_low
    )


def _halves(a: Any) -> tuple[Any, Any]:
    """a as two numbers of 26 bits."""
    scaled = a * (2.0**27 + 1)
    high = scaled - (scaled - a)
    return high, a - high


def _odd_sum(a: Any, b: Any) -> Array:
    """a + b; where that is not exact, of the two numbers around it the one whose last bit is 1."""
    total, lost = _sum(a, b)
    total = np.asarray(total)
    bits = total.view(np.int64)
    even = (lost != 0) & (bits & 1 == 0) & np.isfinite(total)
    if even.any():  # the other neighbour lies where the lost part points
        bits += np.where(even, np.where((lost > 0) == (total > 0), 1, -1), 0)
    return total


# ---- float64: the C library's functions ----------------------------------------------------------


@functools.cache
def libm(name: str) -> Function:
    """log, log1p, sin or cos of float64 as the C library has it, for arguments as in Box-Muller.

    NumPy's own where it gives the very same numbers for a sample, or the logarithm by way of long
    double; else Python's, number by number: Python calls the library that torch calls.
    """
    exact = getattr(math, name)

    def slow(x: Array) -> Array:
        return np.fromiter(map(exact, x.ravel().tolist()), np.float64, x.size).reshape(x.shape)

    sample = np.arange(1, 4097) / 4097
    sample *= {"log": 1.0, "log1p": -1.0}.get(name, 2 * math.pi)
    faster = [getattr(np, name), *([_rounded_log] if name == "log" else [])]
    return next((f for f in faster if np.array_equal(f(sample), slow(sample))), slow)


def _rounded_log(x: Array) -> Array:
    """log(x) from eleven bits more, by math.log where these leave open how to round.

    A library whose error is below 0.53 units in the last place (glibc's is: 0.52) gives the nearest
    float64 wherever the true value is within 0.47 of it.
    """
    wide = np.log(x.astype(np.longdouble))
    y = wide.astype(np.float64)
    open_ = np.abs((wide - y).astype(np.float64)) > 0.47 * np.spacing(np.abs(y))
    y[open_] = [math.log(value) for value in x[open_].tolist()]
    return y


# ---- float32: Cephes' polynomials, or the C library ----------------------------------------------

LOG = (
    7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
    -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
)  # fmt: skip
LOG_2 = -2.12194440e-4, 0.693359375  # ln 2 as a small and a short number
SIN = -1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1
COS = 2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2
PI_4 = 0.78515625, 2.4187564849853515625e-4, 3.77489497744594108e-8  # pi/4 in three short parts


def log_sin_cos(u: Array, turns: Array) -> tuple[Array, Array, Array]:
    """log(u), and sine and cosine of 2 pi turns, for u in (0, 1] and turns in [0, 1)."""
    if u.dtype != np.float32:
        theta = 2 * math.pi * turns
        return libm("log")(u), libm("sin")(theta), libm("cos")(theta)
    if not machine().polynomials:
        theta = np.multiply(turns, 2 * math.pi, dtype=np.float64).astype(np.float32)
        return _by_library("log", u), _by_library("sin", theta), _by_library("cos", theta)
    return _log(u), *_sin_cos(turns * np.float32(2 * math.pi))


def _by_library(name: str, x: Array) -> Array:
    library = _c_library()
    if library is None:  # a unit in the last place at most
        return np.asarray(getattr(np, name)(x.astype(np.float64)).astype(np.float32))
    function = getattr(library, name + "f")
    function.argtypes, function.restype = [ctypes.c_float], ctypes.c_float
    return np.fromiter(map(function, x.ravel().tolist()), np.float32, x.size).reshape(x.shape)


def _log(x: Array) -> Array:
    """x = m * 2^e with m in [sqrt(1/2), sqrt(2)); then m - 1 - (m - 1)^2 / 2 + ... + e ln 2."""
    m, e = np.frexp(x)
    small = m < np.float32(math.sqrt(0.5))
    m += m * small
    m -= np.float32(1)
    power = (e - small).astype(np.float32)
    square = m * m
    y = _horner(LOG, m)
    y *= m
    y = _fused(y, square, np.float32(LOG_2[0]) * power)
    square *= np.float32(0.5)
    y -= square  # halving is exact, so this rounds once, fused or not
    m += y
    power *= np.float32(LOG_2[1])  # exact too: five bits by ten
    m += power
    return m


def _sin_cos(theta: Array) -> tuple[Array, Array]:
    """theta less the nearest multiple of pi/2, a polynomial for each, and the octant's signs."""
    octant = (theta * np.float32(4 / math.pi)).astype(np.int32)
    octant += 1
    octant &= ~1
    count, x = octant.astype(np.float32), theta
    for part in PI_4:  # count has four bits, so the products are exact
        x = x - count * np.float32(part)
    square = x * x
    cosine = _horner(COS, square)
    cosine *= square
    cosine = _fused(cosine, square, np.float32(-0.5) * square)
    cosine += np.float32(1)
    sine = _horner(SIN, square)
    sine *= square
    sine = _fused(sine, x, x)
    # By exclusive ors on the bits, which costs a third of what choosing does.
    sine_bits, cosine_bits = sine.view(np.int32), cosine.view(np.int32)
    swap = -(octant >> 1 & 1)
    swap &= sine_bits ^ cosine_bits
    sine_bits ^= swap
    cosine_bits ^= swap
    sine_bits ^= (octant & 4) << 29  # the sign bit, below the axis
    cosine_bits ^= (~(octant - 2) & 4) << 29
    return sine, cosine


def _horner(coefficients: tuple[float, ...], x: Array) -> Array:
    """The polynomial in x, highest power first, every step rounded once to float32."""
    first, *others = (float(np.float32(c)) for c in coefficients)
    wide, narrow = x.astype(np.float64), np.empty_like(x)
    step = wide * first
    for c in others[:-1]:
        step += c
        narrow[...] = step
        step[...] = narrow
        step *= wide
    step += others[-1]
    narrow[...] = step
    return narrow


def _fused(x: Array, y: Array, z: Array) -> Array:
    """x * y + z for the arguments that come up here, of which none is rounded twice."""
    product = np.multiply(x, y, dtype=np.float64)
    product += z
    return product.astype(np.float32)
