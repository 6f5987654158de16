"""Which machine and libraries a timing was made with, in a line or two."""

from __future__ import annotations

import contextlib
import os
import platform
import re
from pathlib import Path

import numpy as np
import torch


def machine() -> dict[str, str]:
    """The processor, both sides' versions and matrix libraries."""
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores, {platform.system()}",
        "python": platform.python_version(),
        "numpy": f"{np.__version__} with {_numpy_blas()}",
        "torch": f"{torch.__version__} with {_torch_blas()}",
    }


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _numpy_blas() -> str:
    with contextlib.suppress(ImportError):
        from threadpoolctl import threadpool_info

        for pool in threadpool_info():  # of all loaded libraries; scikit-learn brings its own
            if pool["user_api"] == "blas" and "numpy" in pool["filepath"]:
                kernels = pool.get("architecture", "unknown")
                return f"{pool['internal_api']} {pool['version']} ({kernels} kernels)"
    found = np.show_config(mode="dicts") or {}
    blas = found.get("Build Dependencies", {}).get("blas", {})
    return " ".join(str(blas[k]) for k in ("name", "version") if blas.get(k)) or "unknown BLAS"


def _torch_blas() -> str:
    built = torch.__config__.show()
    names = [
        "MKL" if torch.backends.mkl.is_available() else "",
        "oneDNN" if torch.backends.mkldnn.is_available() else "",
    ]
    kernels = re.search(r"CPU capability usage: (\S+)", built)
    used = f" ({kernels[1]} kernels)" if kernels else ""
    return (" and ".join(filter(None, names)) or "its own BLAS") + used
