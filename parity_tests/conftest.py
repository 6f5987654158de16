"""One thread each for NumPy and torch while the tests run."""

import os

# Read once, when NumPy and torch load. Threads cost more than they give on arrays this small.
os.environ |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"), "1")

import torch


def pytest_configure() -> None:
    torch.set_num_threads(1)
