"""One thread each for NumPy and torch while the tests run, and Ctrl-C as in any program."""

import os
import signal

# Read once, when NumPy and torch load. Threads cost more than they give on arrays this small.
os.environ |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"), "1")

import torch


def pytest_configure() -> None:
    torch.set_num_threads(1)
    # What a shell starts in its background is deaf to Ctrl-C, and some tests press it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
