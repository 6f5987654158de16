"""Run every stage of the road and hold its numbers against those of the scratch code.

    python -m examples.road             every stage, a line each
    python -m examples.road 3 8         some of them, against stage 1

A stage may differ from stage 1 by 16 times (what one unit in the last place of the digits moves in
stage 1, up to that step, plus machine epsilon times the loss): by rounding, and by nothing else.

Exit status: 0 if all agree, 1 if one does not, 2 for bad arguments.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tqdm import tqdm

from examples.road.stages import FIRST, budget, run, stages


def main(argv: Sequence[str] | None = None) -> int:
    """Run the stages and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.road",
        description="Run the stages of the road and hold each against stage 1.",
    )
    parser.add_argument("numbers", nargs="*", type=int, metavar="N", help="stages (default: all)")
    parser.add_argument("--quick", action="store_true", help="the same: it takes seconds anyway")
    args = parser.parse_args(argv)
    known = {stage.number: stage for stage in stages()}
    if unknown := [n for n in args.numbers if n not in known]:
        print(f"no stage {unknown[0]}: there are 0 to {max(known)}", file=sys.stderr)
        return 2
    chosen = [known[n] for n in args.numbers] or list(known.values())
    with tqdm(total=len(chosen) + 2, desc="stage 1", leave=False, disable=None) as bar:
        first = run(known[FIRST])
        bar.update()
        allowed = budget(first)
        bar.update()
        lines, failed = [], False
        for stage in chosen:
            bar.set_description(stage.path.stem)
            found = run(stage)
            bar.update()
            if not found.losses:
                lines.append(f"{stage.title:<34} compares, and says what differs")
                continue
            worst = allowed.worst(found.losses)
            same = int((found.predicted == first.predicted).sum())
            agrees = worst <= 1 and same == len(first.predicted)
            failed = failed or not agrees
            lines.append(
                f"{stage.title:<34} {len(found.losses)} steps, last loss {found.losses[-1]:.6f}, "
                f"{found.accuracy:.1%} right; {worst:.3f} budgets from stage 1, {same} of "
                f"{len(first.predicted)} predictions equal{'' if agrees else '  FAILS'}"
            )
    print("\n".join(lines))
    print("Some stage does not agree." if failed else "Every stage gives the numbers of stage 1.")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
