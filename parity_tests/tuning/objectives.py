"""Objectives that worker processes can import, and without the frameworks' weight."""

import math
import os
import time
from pathlib import Path
from typing import Any


def bowl(config: dict[str, Any]) -> float:
    """Least at lr 0.01 and width 64; no_number where the width is 20, raises where it is 21."""
    if config["width"] == 21:
        raise RuntimeError("out of memory, say")
    if config["width"] == 20:
        return math.nan
    return (math.log10(config["lr"]) + 2) ** 2 + (config["width"] / 64 - 1) ** 2


def dies(config: dict[str, Any]) -> float:
    """Takes its process with it where the width is 27."""
    if config["width"] == 27:
        os._exit(3)
    return bowl(config)


def slow(config: dict[str, Any]) -> float:
    """Notes its process in a file named by the environment, and takes a while."""
    with Path(os.environ["PIDS"]).open("a") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(0.05)
    return bowl(config)


def learning_curve(config: dict[str, Any], budget: int) -> float:
    """The bowl, seen less clearly the smaller the budget."""
    return bowl(config) + config["lr"] / budget
