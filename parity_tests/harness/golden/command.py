"""`parity check --golden`: hold what stands here to recorded results of torch, or record anew."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tqdm import tqdm

from parity_tests.harness.golden import check, vectors
from parity_tests.harness.table import painter

AGREES, DIFFERS, MISUSED = 0, 1, 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "--golden",
        action="store_true",
        required=True,
        help="against the golden vectors: recorded inputs and results of torch",
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="a chapter or a technique (default: all)"
    )
    parser.add_argument(
        "--file", type=Path, default=vectors.FILE, help="the vectors (default: those of the suite)"
    )
    parser.add_argument(
        "--record",
        action="store_true",
        help="make the file anew, from the cases and the torch that is installed",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    torch = check.has_torch()
    if args.record:
        return _record(args, torch)
    try:
        golden = vectors.load(args.file)
        with _bar(len(golden.vectors), "golden vectors") as bar:
            rows = check.check(golden, args.names, torch, bar.update)
    except vectors.BadFile as error:
        return _misused(str(error))
    except LookupError as error:
        return _misused(f"no chapter or technique of {args.file.name} is called {error.args[0]!r}")
    if args.json:
        print(json.dumps(_as_json(golden, rows, torch), indent=1))
    else:
        parts = [check.table(rows, torch, painter(sys.stdout)), check.changes(rows)]
        parts.append(check.summary(rows, golden, torch))
        print("\n\n".join(part for part in parts if part), flush=True)
    return DIFFERS if any(r.verdict != "agrees" for r in rows) else AGREES


def _record(args: argparse.Namespace, torch: bool) -> int:
    if not torch:
        return _misused("recording asks torch, which is not installed here")
    if args.names:
        return _misused("a file is recorded whole, without names")
    from parity_tests.harness.golden import record

    with _bar(None, "recording") as bar:

        def tell(name: str) -> None:
            bar.set_description(f"{name:<40.40}")
            bar.update()

        try:
            golden = record.record(tell)
        except RuntimeError as error:
            return _misused(f"nothing was recorded: {error}")
    try:
        vectors.save(golden, args.file)
    except OSError as error:
        return _misused(f"cannot write {args.file}: {error}")
    techniques = {(v.chapter, v.technique) for v in golden.vectors}
    size = args.file.stat().st_size / 1000
    print(f"{len(golden.vectors)} vectors of {len(techniques)} techniques, {size:.0f} kB")
    for name, why in golden.left_out.items():
        print(f"  without vectors: {name}: {why}")
    return AGREES


def _as_json(golden: vectors.Golden, rows: list[check.Row], torch: bool) -> dict[str, object]:
    return {
        "made": dict(golden.made),
        "torch": torch,
        "techniques": [
            {
                "chapter": r.chapter,
                "technique": r.name,
                "verdict": r.verdict,
                "numpy": r.worst("ours"),
                "torch": r.worst("torch"),
            }
            for r in rows
        ],
    }


def _bar(total: int | None, text: str) -> tqdm:
    return tqdm(total=total, desc=text, unit=" vectors", leave=False, disable=None)


def _misused(text: str) -> int:
    print(f"parity: {text}", file=sys.stderr)
    return MISUSED
