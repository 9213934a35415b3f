"""Do positives from metadata raise kNN of what the groups mean? Made drawings, three seeds.

    python bench/groups.py [--steps 500] [--seeds 0 1 2] [--out FILE.md]

An object is three strokes. Each of its eight drawings is by another hand (slant, size, place,
pressure and trembling of its own), six on one sheet and two on others; a sheet is one of four
patterns that fill the background. Training sees 400 objects; the table has the kNN accuracy of
which object it is on 40 others, the drawings on the objects' main sheets to learn from, and those
on other sheets to test on. So no object that is grouped is tested, and whoever recognises sheets is
wrong.
"""

import argparse
import csv
import logging
import statistics
import tempfile
from pathlib import Path

import cv2
import numpy as np

import manyviews

SIDE, STROKES, SHEETS, DRAWINGS, ALIEN = 24, 3, 4, 8, 2
TRAINED, TESTED = 400, 40
COMMON = {"data.batch_size": 128, "train.minutes": 0.0, "data.workers": 0, "encoder.width": 16}
COMMON |= {"train.health_every": 10**6, "train.log_every": 25}
ARMS = {
    "two views of one drawing": {},
    "grouped by object": {"views.group": "object"},
    "grouped by object, other sheet": {"views.group": "object", "views.differ": "sheet"},
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, help="for instance docs/experiments/groups.md")
    options = parser.parse_args()
    logging.getLogger("manyviews").setLevel(logging.ERROR)
    found = {arm: [] for arm in ARMS}
    with tempfile.TemporaryDirectory() as folder:
        data, labels = drawn(Path(folder))
        for seed in options.seeds:
            for arm, given in ARMS.items():
                run = Path(folder) / f"{arm}-{seed}"
                settings = {**COMMON, **given, "train.steps": options.steps, "seed": seed}
                manyviews.train("simclr", data=str(data), out=run, overrides=settings)
                [measured] = manyviews.evaluate(run, data=str(labels), baselines=False).found
                found[arm].append(measured.result)
                print(f"seed {seed}: {arm:<32}{measured.result.value:.3f}", flush=True)
        [measured] = manyviews.evaluate(run, data=str(labels)).found
        beside = {name: result.value for name, result in measured.beside.items()}
    text = page(found, beside, options)
    print(text)
    if options.out:
        options.out.write_text(text)


def drawn(folder):
    """Write all drawings; the CSV of those to train on, and the one with labels."""
    rng = np.random.default_rng(0)
    sheets = [
        cv2.resize(rng.uniform(0, 90, (5, 5)).astype(np.float32), (SIDE, SIDE))
        for _ in range(SHEETS)
    ]
    rows = {"train": [], "test": []}
    for number in range(TRAINED + TESTED):
        strokes, main = rng.uniform(0.15, 0.85, (STROKES, 3, 2)), number % SHEETS
        for k in range(DRAWINGS):
            alien = k < ALIEN
            sheet = (main + 1 + k) % SHEETS if alien else main
            name = f"{number:03}-{k}.png"
            cv2.imwrite(str(folder / name), drawing(strokes, sheets[sheet], rng))
            if number < TRAINED:
                rows["train"].append((name, number, sheet))
            else:
                rows["test"].append((name, number, "test" if alien else "train"))
    paths = []
    for part, header in (
        ("train", ("path", "object", "sheet")),
        ("test", ("path", "label", "split")),
    ):
        paths.append(folder / f"{part}.csv")
        with paths[-1].open("w", newline="") as file:
            csv.writer(file).writerows([header, *rows[part]])
    return paths


def drawing(strokes, sheet, rng):
    """[S, S] uint8: an object by some hand."""
    turn, slant, size = rng.normal(0, 0.1), rng.normal(0, 0.15), rng.uniform(0.8, 1.1)
    shape = np.array([[np.cos(turn), -np.sin(turn) + slant], [np.sin(turn), np.cos(turn)]])
    place = 0.5 + rng.normal(0, 0.04, 2)
    where = (strokes - 0.5 + rng.normal(0, 0.02, strokes.shape)) @ (size * shape).T + place
    image = sheet + rng.normal(0, 6, sheet.shape).astype(np.float32)
    along = np.linspace(0, 1, 12)[:, None]
    ink, width = rng.uniform(190, 255), int(rng.integers(1, 3))
    for start, bend, stop in where:
        line = (1 - along) ** 2 * start + 2 * along * (1 - along) * bend + along**2 * stop
        points = np.rint(line * SIDE * 16).astype(np.int32)
        cv2.polylines(
            image,
            [points],
            isClosed=False,
            color=ink,
            thickness=width,
            lineType=cv2.LINE_AA,
            shift=4,
        )
    return np.clip(image, 0, 255).astype(np.uint8)


def page(found, beside, options):
    """The table as Markdown."""
    first = next(iter(found.values()))
    lines = [
        "| positives | " + " | ".join(f"seed {seed}" for seed in options.seeds)
        + " | mean | less ungrouped, mean ± half of the 95 % interval over seeds |",
        "|---" * (len(options.seeds) + 3) + "|",
    ]  # fmt: skip
    for arm, results in found.items():
        values = [f"{r.value:.3f} ({r.interval[0]:.3f} to {r.interval[1]:.3f})" for r in results]
        mean = statistics.fmean(r.value for r in results)
        gains = [r.value - base.value for r, base in zip(results, first, strict=True)]
        said = "" if results is first or len(gains) < 2 else gain(gains)
        lines.append(f"| {arm} | {' | '.join(values)} | {mean:.3f} | {said} |")
    lines += [
        "",
        "Beside: " + ", ".join(f"{name} {value:.3f}" for name, value in beside.items()) + ".",
    ]
    return "\n".join([*lines, ""])


def gain(gains):
    """The mean of paired differences, and half of its interval by Student's t."""
    t = {2: 12.71, 3: 4.303, 4: 3.182, 5: 2.776}[len(gains)]
    half = t * statistics.stdev(gains) / len(gains) ** 0.5
    return f"{statistics.fmean(gains):+.3f} ± {half:.3f}"


if __name__ == "__main__":
    main()
