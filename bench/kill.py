"""Kill every method with SIGKILL at five random steps, resume, compare bit for bit.

    python bench/kill.py [--kills 5] [--seed 0]

Prints a line for each method and ends with exit code 1 if anything differs.
"""

import argparse
import random
import signal
import sys
import tempfile
from functools import partial
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import killing
from forks import run
from manyviews.methods.catalog import METHODS


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    chance = random.Random(options.seed)
    wrong = 0
    for name in METHODS:
        with tempfile.TemporaryDirectory() as folder:
            steps = sorted(chance.sample(range(killing.STEPS), options.kills))
            found = compare(name, steps, Path(folder))
        wrong += bool(found)
        print(f"{name:12} killed at steps {steps}: {found or 'equal'}", flush=True)
    raise SystemExit(bool(wrong))


def compare(name, steps, root):
    """What differs between an uninterrupted run and those killed in these steps."""
    found = []
    if run(partial(killing.train, name, root / "whole"), seconds=300):
        return ["the uninterrupted run failed"]
    for i, step in enumerate(steps):
        path = root / f"cut{i}"
        killed = partial(killing.train, name, path, kill_at=step, workers=i % 3)
        if run(killed, seconds=300) != -signal.SIGKILL:
            found.append(f"it was not killed in step {step}")
        if run(partial(killing.train, name, path), seconds=300):
            found.append(f"it did not resume after step {step}")
        found += killing.differences(path, root / "whole")
    return found


if __name__ == "__main__":
    main()
