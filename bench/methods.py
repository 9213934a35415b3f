"""Train every method for the same time on the built-in images and write docs/results.md.

    python bench/methods.py --minutes 10

Runs that are finished under --runs are not trained again, so an interrupted table goes on. The
numbers are those of `manyviews compare`; what the page says below "About these runs" is kept.
"""

import argparse
import platform
import subprocess
import sys
from pathlib import Path

import torch

from manyviews.data.sources import BUILTIN
from manyviews.data.workers import cores
from manyviews.reports.table import markdown
from manyviews.verbs.compare import compare

METHODS = (
    "simclr",
    "moco",
    "byol",
    "swav",
    "dino",
    "barlow",
    "vicreg",
    "mae",
    "pirl",
    "deepcluster",
)
DATA = BUILTIN
KEPT = "## About these runs"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--runs", type=Path, default=Path("runs/table"))
    parser.add_argument("--out", type=Path, default=Path("docs/results.md"))
    parser.add_argument("--methods", nargs="*", default=METHODS)
    options = parser.parse_args()
    for name in options.methods:
        train(name, options)
    runs = [options.runs / name for name in METHODS if finished(options.runs / name)]
    found = compare(runs, data=DATA)
    options.out.write_text(page(found.table, options), encoding="utf-8")
    print(options.out.read_text(encoding="utf-8"))


def train(name, options):
    run = options.runs / name
    if finished(run):
        return
    command = [sys.executable, "-m", "manyviews", "train", name, "--data", DATA]
    command += ["--out", str(run), "--train.minutes", str(options.minutes)]
    print(" ".join(command[1:]), flush=True)
    subprocess.run(command, check=False)


def finished(run):
    return (run / "encoder.safetensors").exists()


def page(table, options):
    before = options.out.read_text(encoding="utf-8") if options.out.exists() else ""
    kept = before[before.index(KEPT) :] if KEPT in before else f"{KEPT}\n"
    said = INTRODUCTION.format(
        minutes=options.minutes,
        data=DATA,
        cores=cores(),
        machine=platform.machine(),
        torch=torch.__version__,
    )
    return f"{said}\n{markdown(table)}\n{kept.rstrip()}\n"


INTRODUCTION = """# What each method reaches on the built-in images

Each trained for {minutes:g} minutes without labels on the 12,000 training images of `{data}`, with
its default recipe, seed 0. Measured on {cores} cores and no GPU ({machine}, torch {torch}). kNN is
cosine, k=20, T=0.07; linear is batch norm without affine and a linear layer, its decay chosen on
held-out training labels. Both learn from the 12,000 training labels and are tested on 2,000 images.

Made by `python bench/methods.py --minutes {minutes:g}` (`make table`), which trains what is not
there yet and then does `manyviews compare`.
"""

if __name__ == "__main__":
    main()
