"""What a run leaves behind: report.html to read, report.json to compute with."""

from __future__ import annotations

import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any

from parity_tests.harness import page, table
from parity_tests.harness.results import CheckResult, Outcome, Run

SCHEMA_VERSION = 1


def write(run: Run, folder: Path) -> Path:
    """Write both files into the folder, made if need be; returns the path of the page.

    Each file is complete or as it was before: it is written beside its place and then moved.

    Raises:
        OSError: the folder cannot be made or written to.
    """
    html, data = page.document(run), as_dict(run)
    folder.mkdir(parents=True, exist_ok=True)
    _replace(folder / "report.json", json.dumps(data, indent=1, allow_nan=False) + "\n")
    _replace(folder / "report.html", html)
    return folder / "report.html"


def _replace(path: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(name, 0o644)  # mkstemp makes files that only their owner may read
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def as_dict(run: Run) -> dict[str, Any]:
    """The run as JSON holds it. A number that is not finite is null."""
    return {
        "schema_version": SCHEMA_VERSION,
        "verdict": "fails" if run.failed else "agrees",
        "sentence": table.verdict_sentence(run),
        "command": run.command,
        "seed": run.settings.seed,
        "dtypes": list(run.settings.dtypes),
        "quick": run.settings.quick,
        "seconds": round(run.seconds, 3),
        "jobs": run.jobs,
        "machine": dict(run.machine),
        "comparisons": run.comparisons,
        "rules": run.rules,
        "techniques": [_technique(o, run) for o in run.outcomes],
    }


def _technique(outcome: Outcome, run: Run) -> dict[str, Any]:
    t = outcome.technique
    return {
        "chapter": t.chapter,
        "technique": t.name,
        "summary": t.summary,
        "numpy": f"numpy_impl/{t.twin}",
        "torch": f"torch_impl/{t.twin}",
        "cases": t.module,
        "verdict": outcome.verdict.lower(),
        "comparisons": outcome.comparisons,
        "rules": outcome.rules,
        "seconds": round(outcome.seconds, 3),
        "checks": [_check(r, outcome, run) for r in outcome.results],
    }


def _check(result: CheckResult, outcome: Outcome, run: Run) -> dict[str, Any]:
    check: dict[str, Any] = {
        "name": result.name,
        "passed": not result.failures,
        "comparisons": result.comparisons,
        "rules": result.rules,
        "seconds": round(result.seconds, 4),
        "worst": [
            {
                "kind": w.kind,
                "dtype": w.dtype,
                "units": _number(w.units),
                "label": w.label,
                "where": w.where,
                "text": w.text,
            }
            for w in result.worst
        ],
    }
    if result.failures:
        check |= {"failures": list(result.failures), "again": run.rerun(outcome, result)}
    if result.curves:
        check["curves"] = [
            {
                "title": c.title,
                "x_label": c.x_label,
                "y_label": c.y_label,
                "ours": [_number(v) for v in c.ours],
                "reference": [_number(v) for v in c.reference],
                "allowed": None if c.allowed is None else [_number(v) for v in c.allowed],
            }
            for c in result.curves
        ]
    return check


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
