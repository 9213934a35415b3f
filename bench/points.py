"""Methods of clouds beside raw geometry and untrained encoders, by the kind of part, three seeds.

    python bench/points.py --data DIR [--steps 200] [--recipes ...] [--seeds 0 1 2] [--out FILE.md]

DIR has .ply files and DIR.labels.csv (file,label,group), as a script that takes clouds from CAD
models of parts writes them. Labels are for measuring alone: kNN of 5 neighbours and a linear probe,
on five halvings by group (near-copies of a part stay on one side; a quarter of the groups is
tested on), the same for every row. Training sees all clouds without labels. What is measured is
kept beside FILE.md as JSON, and only what is not there is made.
"""

import argparse
import csv
import json
import logging
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from manyviews.data.streams.points import open_cloud
from manyviews.evaluation.features import extract
from manyviews.evaluation.knn import knn
from manyviews.evaluation.linear import linear_probe
from manyviews.recipes import RECIPES, one_duration
from manyviews.runs import train as running
from manyviews.runs.assemble import assemble, embed_with
from manyviews.runs.diagnose import assembly_of
from manyviews.runs.facts import facts
from manyviews.verbs.flags import settle
from manyviews.verbs.train import execute
from manyviews.views.by_input import plain_of

RECIPES_HERE = ("depthcontrast", "pointcontrast", "sonata")
SPLITS, TESTED, NEIGHBOURS = 5, 0.25, 5
COMMON = {"data.batch_size": 32, "data.workers": 0, "train.health_every": 10**6}
MARK = "<!-- made by bench/points.py -->\n"
"""What stands before it in the document stays."""


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--recipes", nargs="*", default=list(RECIPES_HERE))
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, help="for instance docs/experiments/points.md")
    options = parser.parse_args(arguments)
    logging.getLogger("manyviews").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    running._report = running._held = lambda *_, **__: None  # a page for each costs more than it
    asked = Asked(options.data)
    kept = options.out.with_suffix(".json") if options.out else None
    found = json.loads(kept.read_text()) if kept and kept.is_file() else {}
    if "raw" not in found:
        found["raw"] = {
            name: asked.accuracy(x) for name, x in raw(options.data, asked.files).items()
        }
    for seed in options.seeds:
        for recipe in options.recipes:
            name = f"{recipe}-{options.steps}-{seed}"
            if name not in found:
                found[name] = trained(recipe, asked, options, seed)
                print(name, found[name], flush=True)
            if kept:
                kept.write_text(json.dumps(found, indent=1) + "\n")
    text = page(found, options)
    print(text)
    if options.out:
        before = options.out.read_text() if options.out.is_file() else "# Points\n\n"
        options.out.write_text(before.partition(MARK)[0] + MARK + "\n" + text)
    return found


class Asked:
    """The clouds' labels, and the halvings by group."""

    def __init__(self, folder):
        table = folder.with_name(folder.name + ".labels.csv")
        with table.open(newline="") as file:
            rows = sorted(csv.DictReader(file), key=lambda row: row["file"])
        self.files = [row["file"] for row in rows]
        self.labels = torch.tensor(np.unique([r["label"] for r in rows], return_inverse=True)[1])
        groups = np.unique([row["group"] for row in rows], return_inverse=True)[1]
        self.tested, rng = [], np.random.default_rng(0)
        for _ in range(SPLITS):
            chosen = rng.permutation(groups.max() + 1)[: int(TESTED * (groups.max() + 1))]
            self.tested.append(torch.from_numpy(np.isin(groups, chosen)))

    def accuracy(self, x):
        """(kNN, linear), means over the halvings."""
        found = []
        for test in self.tested:
            known, asked = (x[~test], self.labels[~test]), (x[test], self.labels[test])
            near = knn(*known, asked[0], k=NEIGHBOURS)
            line, _ = linear_probe(*known, asked[0])
            found.append([(p == asked[1]).float().mean().item() for p in (near, line)])
        return [statistics.fmean(column) for column in zip(*found, strict=True)]


def raw(folder, files):
    """Descriptors that nobody trained, name -> [N, D]."""
    found = {}
    for file in files:
        xyz = open_cloud(str(folder / file)).read()[:, :3]
        one, two = np.random.default_rng(0).integers(len(xyz), size=(2, 4000))
        away = np.linalg.norm(xyz[one] - xyz[two], axis=1)
        level = np.stack([np.hypot(xyz[:, 0], xyz[:, 1]), xyz[:, 2]], axis=1)
        for name, counts in {
            "distances of pairs (D2)": np.histogram(away, 64, (0, 2))[0],
            "8 x 8 x 8 voxels": np.histogramdd(xyz, bins=8, range=[(-1, 1)] * 3)[0],
            "radius and height": np.histogramdd(level, bins=12, range=[(0, 1), (-1, 1)])[0],
        }.items():
            found.setdefault(name, []).append(np.sqrt(counts).ravel())
    return {n: torch.tensor(np.array(rows), dtype=torch.float32) for n, rows in found.items()}


def trained(recipe, asked, options, seed):
    """Encoder -> (kNN, linear) before and after training, and the seconds that it took."""
    default = RECIPES[recipe](facts(str(options.data), ("points",)))
    told = COMMON | {"train.steps": options.steps, "seed": seed}
    run = one_duration(settle(default, told), default)
    found = {"before": measured(assemble(run), asked)}
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        execute(run, out=Path(folder) / "run")
        found["seconds"] = time.perf_counter() - began
        found["after"] = measured(assembly_of(Path(folder) / "run"), asked)
    return found


def measured(assembly, asked):
    """Encoder -> (kNN, linear), of its pooled features of every cloud."""
    names = [assembly.source.name(i) for i in range(len(assembly.source))]
    assert [Path(name).name for name in names] == asked.files
    return {
        name: asked.accuracy(
            extract(
                embed_with(encoder, assembly.device), assembly.source, plain_of(encoder.input)
            ).features.float()
        )
        for name, encoder in assembly.method.encoders.items()
    }


def page(found, options):
    """The table as Markdown, a row a kind of features; mean ± deviation over seeds, in percent."""
    lines = ["| features | kNN | linear | above untrained: kNN | linear |", "|" + "---|" * 5]
    for name, pair in found["raw"].items():
        lines.append(f"| {name} | {100 * pair[0]:.1f} | {100 * pair[1]:.1f} | | |")
    for recipe in options.recipes:
        runs = [found[f"{recipe}-{options.steps}-{seed}"] for seed in options.seeds]
        for encoder in runs[0]["after"]:
            before, after = (
                np.array([run[when][encoder] for run in runs]) for when in ("before", "after")
            )
            name = f"{recipe}, {encoder}" if len(runs[0]["after"]) > 1 else recipe
            lines.append(
                f"| {name}, untrained | {spread(before.T[0])} | {spread(before.T[1])} | | |"
            )
            gain = (after - before).T
            cells = [spread(after.T[0]), spread(after.T[1]), *map(spread, gain)]
            lines.append(f"| **{name}** | {' | '.join(cells)} |")
    most = max(run["seconds"] for name, run in found.items() if name != "raw")
    return "\n".join([*lines, "", f"The longest training took {most:.0f} s.", ""])


def spread(values):
    """Mean ± standard deviation over seeds, in percent."""
    return f"{100 * values.mean():.1f} ± {100 * values.std(ddof=len(values) > 1):.1f}"


if __name__ == "__main__":
    main()
