"""Which versions and which machine a run was made on."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import sys
from pathlib import Path

import numpy as np


def machine() -> dict[str, str]:
    """Versions, processor and threads, as words; nothing that names the machine or its user."""
    return {
        "Python": f"{platform.python_version()} ({sys.implementation.name})",
        "NumPy": f"{np.__version__} with {_blas()}",
        "PyTorch": importlib.metadata.version("torch"),
        "Operating system": f"{platform.system()} {platform.release()}",
        "Processor": _processor(),
        "Cores": str(os.cpu_count()),
        "Threads a worker": "1",
    }


def _blas() -> str:
    found = np.show_config(mode="dicts")
    blas = (found or {}).get("Build Dependencies", {}).get("blas", {})
    return " ".join(str(blas[k]) for k in ("name", "version") if blas.get(k)) or "unknown BLAS"


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return f"{line.split(':', 1)[1].strip()} ({platform.machine()})"
    return platform.processor() or platform.machine()
