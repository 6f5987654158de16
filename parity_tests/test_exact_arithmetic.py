"""Rounding as compiled code does it: beside exact fractions, and for machines unlike this one."""

import itertools
import math
import sys
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from numpy_impl import exact_arithmetic
from numpy_impl.exact_arithmetic import CHUNK, Machine, fma, libm, log_sin_cos, stretch
from numpy_impl.random import Generator

FLOATS = [np.float32, np.float64]

# ---- a product and a sum, rounded once -----------------------------------------------------------


def assert_rounded_once(x, y, z, found):
    dtype = x.dtype.type
    for value, result in zip(x, found):
        exact = Fraction(float(value)) * Fraction(float(y)) + Fraction(float(z))
        near = [result, *(np.nextafter(result, dtype(end)) for end in (np.inf, -np.inf))]
        gaps = [abs(Fraction(float(v)) - exact) for v in near]
        tied = gaps.count(min(gaps)) > 1
        assert gaps[0] == min(gaps), (value, y, z)
        assert not tied or last_bit(result) == 0, (value, y, z)


def last_bit(x):
    return int(np.asarray(x).view(f"i{x.itemsize}")) & 1


@pytest.mark.parametrize("dtype", FLOATS)
def test_one_rounding_is_that_of_exact_fractions(dtype):
    rng = np.random.default_rng(0)
    for _ in range(60):
        y, z = (dtype(v) for v in rng.standard_normal(2) * 10.0 ** rng.integers(-4, 4, 2))
        z = rng.choice([z, dtype(1)])
        x = rng.standard_normal(20).astype(dtype)
        x[:4] = -z / y, np.nextafter(-z / y, dtype(0)), 0, 1
        assert_rounded_once(x, y, z, fma(x.copy(), y, z, fused=True))


def test_a_sum_that_would_be_rounded_twice_is_rounded_once():
    # In float64 the product and sum below end on the middle between two float32, from one side.
    x, y, z = np.array([1 + 2**-12], np.float32), 1 + 2**-12, 2.0**-60
    exact = (1 + 2**-12) ** 2  # 1 + 2**-11 + 2**-24: itself a middle
    assert np.float32(exact + z) == np.float32(exact) == np.float32(1 + 2**-11)
    assert fma(x.copy(), y, z, fused=True)[0] == np.float32(1 + 2**-11 + 2**-23)
    assert fma(x.copy(), y, -z, fused=True)[0] == np.float32(1 + 2**-11)
    assert fma(x.copy(), y, z, fused=False)[0] == np.float32(1 + 2**-11)


def test_middles_are_told_apart_whatever_the_bits_around_them():
    """Products that end in the middle between two float32, and a little more or less than that."""
    for k, sign in itertools.product(range(4097, 4161, 2), (1, -1)):
        y: Any = np.float32(k * 2**-12)  # y * y has its last bit at 2**-24
        x = np.array([sign * y, sign * (y + 2**-11)], np.float32)  # one even, one odd below it
        for tiny in (2.0**-70, -(2.0**-70), 2.0**-100):
            assert_rounded_once(x, y, np.float32(tiny), fma(x.copy(), y, tiny, fused=True))


def test_numbers_below_the_normal_ones_are_rounded_once_too():
    x = np.array([(1 + 2**-23) * 2.0**-75, (1 - 2**-23) * 2.0**-75, 2.0**-75], np.float32)
    y: Any = np.float32(
        (1 - 2**-23) * 2.0**-75
    )  # x * y is half of the smallest number, all but exactly
    for k in (1, 2, 2**21, 2**21 + 1, 2**22 + 1, 2**23 - 2, 2**23 - 1, 2**23):
        for sign in (1, -1):
            z: Any = np.float32(sign * k * 2.0**-149)
            assert_rounded_once(x, y, z, fma(x.copy(), y, z, fused=True))
            assert_rounded_once(x, -y, z, fma(x.copy(), -y, z, fused=True))


def test_what_cannot_be_cut_in_halves_is_what_two_roundings_make_of_it():
    big = np.array([1e305, -1e305, 1e200, np.inf, np.nan, 0.0])
    with np.errstate(over="raise", invalid="raise"):  # in silence all the same
        for fused in (True, False):
            found = fma(big.copy(), 1.5, 4.0, fused=fused)
            np.testing.assert_array_equal(found, [1.5e305, -1.5e305, 1.5e200, np.inf, np.nan, 4.0])
            np.testing.assert_array_equal(
                fma(big[:4].copy(), 1e150, -1.0, fused=fused), [np.inf, -np.inf, np.inf, np.inf]
            )
            np.testing.assert_array_equal(fma(big[3:4].copy(), -1.0, np.inf, fused=fused), [np.nan])
        wide = fma(np.full(2, 3e38, np.float32), 3.0, 1.0, fused=True)
        assert wide.dtype == np.float32 and np.isposinf(wide).all()
        assert np.isposinf(stretch(np.full(2, 0.9, np.float32), -3e38, 3.4e38)).all()


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_sum_to_odd_is_exact_or_the_odd_one_of_two(dtype):
    rng = np.random.default_rng(1)
    a = rng.standard_normal(300) * 2.0 ** rng.integers(-60, 60, 300)
    b = rng.standard_normal(300) * 2.0 ** rng.integers(-60, 60, 300)
    a[:4], b[:4] = (1, -1, 1, 0.5), (2.0**-60, 2.0**-60, -(2.0**-60), 0.25)
    for x, y, found in zip(a, b, exact_arithmetic._odd_sum(a, b)):
        exact, rounded = Fraction(float(x)) + Fraction(float(y)), float(found)
        if Fraction(rounded) != exact:
            assert last_bit(found) == 1, (x, y)
            toward = math.inf if exact > Fraction(rounded) else -math.inf
            beyond = Fraction(math.nextafter(rounded, toward))
            assert min(Fraction(rounded), beyond) < exact < max(Fraction(rounded), beyond), (x, y)


def test_arrays_of_more_than_a_piece_are_done_to_their_end():
    assert CHUNK == 16384  # half of a small second-level cache with what is in between
    x = np.random.default_rng(2).standard_normal(2 * CHUNK + 3).astype(np.float32)
    found = fma(x.copy(), 1.7, -0.3, fused=True)
    exact = x.astype(np.float64) * float(np.float32(1.7)) + float(np.float32(-0.3))
    np.testing.assert_array_equal(found, exact.astype(np.float32))


# ---- other machines ------------------------------------------------------------------------------

MACHINES = [  # processor, system, ATEN_CPU_CAPABILITY, AVX2, a C library
    ("x86_64", "linux", None, True, True, Machine(True, True, True, True)),
    ("AMD64", "linux", "avx512", True, True, Machine(True, True, True, True)),
    ("x86_64", "linux", "default", True, True, Machine(False, False, True, True)),
    ("x86_64", "linux", None, False, True, Machine(False, False, True, True)),
    ("AMD64", "win32", None, True, False, Machine(True, True, False, False)),
    ("aarch64", "linux", None, False, True, Machine(True, False, True, True)),
    ("arm64", "linux", "default", False, True, Machine(True, False, True, True)),
    ("arm64", "darwin", None, False, True, Machine(True, False, True, False)),
    ("riscv64", "linux", None, False, True, Machine(False, False, True, False)),
]


@pytest.mark.parametrize(
    ("processor", "system", "capability", "avx2", "library", "wanted"), MACHINES
)
def test_a_machine_is_known_by_processor_system_and_what_torch_is_told(
    processor, system, capability, avx2, library, wanted, monkeypatch
):
    monkeypatch.setattr(exact_arithmetic.platform, "machine", lambda: processor)
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.delenv("ATEN_CPU_CAPABILITY", raising=False)
    if capability:
        monkeypatch.setenv("ATEN_CPU_CAPABILITY", capability)
    monkeypatch.setattr(exact_arithmetic, "_has_avx2", lambda: avx2)
    monkeypatch.setattr(exact_arithmetic, "_c_library", lambda: object() if library else None)
    found = exact_arithmetic.machine.__wrapped__()
    assert found == wanted and all(type(field) is bool for field in found)


@pytest.mark.parametrize(
    ("listed", "wanted"),
    [
        (b"model name\t: \xff\nflags\t\t: fpu avx2 fma sse\nflags\t\t: fpu\n", True),
        (b"flags: avx2 fma\n", True),
        (b"flags: fpu\nflags: avx2 fma\n", False),
        (b"flags: avx2 sse\n", False),
        (b"flags: avx fma\n", False),
        (b"Features\t: fp asimd avx2 fma\n", False),
        (b"", False),
    ],
)
def test_avx2_is_read_from_what_the_kernel_lists(listed, wanted, tmp_path, monkeypatch):
    monkeypatch.setattr(exact_arithmetic, "CPUINFO", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_bytes(listed)
    monkeypatch.setattr(np, "show_config", None)  # not asked
    assert exact_arithmetic._has_avx2() is wanted


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ({"SIMD Extensions": {"baseline": ["SSE"], "found": ["AVX", "AVX2"]}}, True),
        ({"SIMD Extensions": {"baseline": ["X86_V2", "X86_V3"]}}, True),
        ({"SIMD Extensions": {"found": ["X86_V3"]}}, True),
        ({"SIMD Extensions": {"baseline": ["NEON"], "not found": ["AVX2", "X86_V3"]}}, False),
        ({"Compilers": {}}, False),
    ],
)
def test_avx2_is_asked_of_numpy_where_no_kernel_lists_it(config, wanted, tmp_path, monkeypatch):
    monkeypatch.setattr(exact_arithmetic, "CPUINFO", tmp_path / "none")
    monkeypatch.setattr(np, "show_config", lambda mode: config if mode == "dicts" else None)
    assert exact_arithmetic._has_avx2() is wanted


def test_what_numpy_and_the_kernel_of_this_machine_say_agrees(tmp_path, monkeypatch):
    assert exact_arithmetic.CPUINFO.exists() == (sys.platform == "linux")
    listed = exact_arithmetic._has_avx2()
    monkeypatch.setattr(exact_arithmetic, "CPUINFO", tmp_path / "none")
    assert exact_arithmetic._has_avx2() == listed


def test_the_c_library_goes_by_the_system(monkeypatch):
    asked = []

    def library(name):
        asked.append(name)
        return name

    monkeypatch.setattr(exact_arithmetic.ctypes, "CDLL", library)
    for system in ("linux", "darwin", "win32"):
        monkeypatch.setattr(sys, "platform", system)
        found = exact_arithmetic._c_library.__wrapped__()
        assert found == {"linux": "libm.so.6", "darwin": "libSystem.B.dylib"}.get(system)
    assert asked == ["libm.so.6", "libSystem.B.dylib"]

    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(exact_arithmetic.ctypes, "CDLL", missing)
    monkeypatch.setattr(sys, "platform", "linux")
    assert exact_arithmetic._c_library.__wrapped__() is None


# ---- functions of the C library ------------------------------------------------------------------

RANGES = {"log": (0, 1), "log1p": (-1, 0), "sin": (0, 2 * math.pi), "cos": (0, 2 * math.pi)}


def arguments(name, n=3000):
    low, high = RANGES[name]
    inside = np.random.default_rng(3).random((2, n)) * (high - low) + low
    return np.concatenate([inside, np.full((2, 1), 0.5 * (low + high))], axis=1)


def by_python(name, x):
    return np.array([[getattr(math, name)(v) for v in row] for row in x.tolist()])


@pytest.mark.parametrize("name", RANGES)
def test_functions_are_the_c_librarys_to_the_bit(name):
    x = arguments(name)
    found = libm(name)(x)
    np.testing.assert_array_equal(found, by_python(name, x))
    assert found.dtype == np.float64


@pytest.mark.parametrize("name", RANGES)
def test_numpys_own_functions_serve_only_where_they_are_the_c_librarys(name, monkeypatch):
    x, own, samples = arguments(name), getattr(np, name), []
    wanted = by_python(name, x)

    def off_by_one(v):
        samples.append(v)
        return own(v) if v.dtype == np.longdouble else np.nextafter(own(v), 9.0)

    monkeypatch.setattr(np, name, off_by_one)
    function = libm.__wrapped__(name)
    assert (function is exact_arithmetic._rounded_log) == (name == "log")
    np.testing.assert_array_equal(function(x), wanted)
    sample, (low, high) = np.sort(samples[0]), RANGES[name]
    assert len(sample) == 4096 and low < sample[0] and sample[-1] < high
    np.testing.assert_allclose(np.diff(sample), (high - low) / 4097, rtol=1e-6)


def test_the_logarithm_by_long_double_asks_python_where_rounding_is_open(monkeypatch):
    x, asked = arguments("log"), []
    wanted, exact = by_python("log", x), math.log

    def log(value):
        asked.append(value)
        return exact(value)

    monkeypatch.setattr(math, "log", log)
    found = exact_arithmetic._rounded_log(x)
    np.testing.assert_array_equal(found, wanted)
    assert found.dtype == np.float64
    if np.finfo(np.longdouble).nmant >= 63:
        assert 0.03 * x.size < len(asked) < 0.09 * x.size  # the 6 % that lie near a middle


def test_two_million_normal_numbers_are_torchs_where_bits_are_promised():
    """Some roundings come up once in a hundred thousand logarithms."""
    ulps = Generator.exactness()["normal float32"].ulps
    found = Generator().manual_seed(6).randn((2_000_000,))
    wanted = torch.randn(2_000_000, generator=torch.Generator().manual_seed(6)).numpy()
    off = np.abs(found - wanted)
    assert np.count_nonzero(off > ulps * np.spacing(np.float32(6))) == 0


@pytest.mark.parametrize("library", [True, False])
def test_float32_by_the_c_library_is_within_a_unit_in_the_last_place(library, monkeypatch):
    if not library:
        monkeypatch.setattr(exact_arithmetic, "_c_library", lambda: None)
    elif exact_arithmetic._c_library() is None:
        pytest.skip("no C library here")
    plain = Machine(fused=False, polynomials=False, libm=library, known=True)
    monkeypatch.setattr(exact_arithmetic, "machine", lambda: plain)
    rng = np.random.default_rng(4)
    u, turns = (rng.random((2, 1500)).astype(np.float32) for _ in range(2))
    theta = (2 * math.pi * turns.astype(np.float64)).astype(np.float32)
    for found, name, x in zip(
        log_sin_cos(1 - u, turns), ("log", "sin", "cos"), (1 - u, theta, theta)
    ):
        exact = getattr(np, name)(x.astype(np.float64))
        assert found.dtype == np.float32 and found.shape == x.shape
        off = np.abs(found - exact) / np.spacing(np.abs(exact).astype(np.float32))
        assert off.max() < (1 if library else 0.501), name
    if library:  # asked for what it has got, number by number
        asked: list[Any] = []

        class Library:
            def __getattr__(self, name):
                asked.append(name)
                return lambda value: 2.0

        monkeypatch.setattr(exact_arithmetic, "_c_library", Library)
        assert (np.stack(log_sin_cos(1 - u, turns)) == 2).all()
        assert asked == ["logf", "sinf", "cosf"]
