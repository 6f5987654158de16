"""Every check that a case derives becomes one test."""

import os

# Read once, when NumPy and torch load. Threads cost more than they give on arrays this small.
os.environ |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"), "1")

import pytest
import torch

from parity_tests.harness.case import Case, Settings


def pytest_configure() -> None:
    torch.set_num_threads(1)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "check" in metafunc.fixturenames and metafunc.cls and issubclass(metafunc.cls, Case):
        metafunc.parametrize("check", list(metafunc.cls().checks(Settings())), ids=str)
