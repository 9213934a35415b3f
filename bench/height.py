"""Plant the geometric shortcut of clouds, and see from which share of height on an alarm is right.

    python bench/height.py [--data DIR] [--steps 60] [--out FILE.md]

Each training is small. In those with the shortcut nothing of a view says that height is not to be
trusted: no mirror, no turn, no scale, no shake, and in some height is written into a colour too, as
maps from the air have it. The others have the views of their recipe, or turns about any axis.
`height` is what a method says of itself in training (`losses.points.height_share` of the axis that
tells most), the mean of its last quarter. The threshold is the middle between the highest healthy
and the lowest planted training of half "a"; half "b" judges it: other seeds, other clouds.
"""

import argparse
import json
import logging
import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from manyviews.core.inputs import Points
from manyviews.core.settings import parts, struct
from manyviews.data.streams.points import open_cloud
from manyviews.encoders.voxels import VoxelsConfig
from manyviews.recipes import RECIPES, one_duration
from manyviews.runs import train as running
from manyviews.runs.facts import facts
from manyviews.verbs.flags import settle
from manyviews.verbs.train import execute

COUNT, POINTS = 200, 600
MARK = "<!-- made by bench/height.py -->\n"
"""What stands before it in the document stays."""
COMMON = {"data.batch_size": 8, "data.workers": 0, "train.health_every": 2, "train.log_every": 50}
PLANTED = {"flip": 0.0, "angle": 0.0, "scale": (1.0, 1.0), "jitter": 0.0, "shake": 0.0}
"""Of every family of views: what is left is cut out and thinned out."""
VIEWS = {"as the recipe": {}, "turned anyhow": {"turn": "any"}, "shortcut": PLANTED}
NETWORKS = {
    "points": None,
    "voxels": VoxelsConfig(input=Points(count=512), side=16, cell=0.15, width=8),
}

TRAININGS = (("pointcontrast", "points"), ("pointcontrast", "voxels"), ("sonata", "voxels"))


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A training; in `coloured` ones a colour says how high a point is, besides its place."""

    recipe: str
    network: str
    views: str
    coloured: bool = False
    seed: int
    half: str
    of: str = "scenes"

    @property
    def name(self):
        """In a table."""
        colour = ", height as colour" if self.coloured else ""
        return f"{self.recipe}, {self.network}{colour}"


def plans(*, files):
    """Both halves; clouds of files are in both where there are some."""
    found = []
    for half, seed in (("a", 0), ("b", 1)):
        for of in ("scenes", "files") if files else ("scenes",):
            told = {"seed": seed, "half": half, "of": of}
            for recipe, network in TRAININGS:
                told |= {"recipe": recipe, "network": network}
                found += [Plan(views=views, **told) for views in VIEWS]
            told |= {"recipe": "pointcontrast", "network": "points", "coloured": True}
            found.append(Plan(views="shortcut", **told))
    return found


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="a folder of .ply, besides the scenes")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--halves", nargs="*", default=["a", "b"])
    parser.add_argument("--count", type=int, default=COUNT, help="clouds of each training")
    parser.add_argument("--out", type=Path, help="for instance docs/experiments/height.md")
    options = parser.parse_args(arguments)
    logging.getLogger("manyviews").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    running._report = running._held = lambda *_, **__: None  # a page for each costs more than it
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for number, plan in enumerate(plans(files=options.data is not None)):
            if plan.half in options.halves:
                rows.append(one(plan, Path(folder) / str(number), options))
                print(rows[-1], flush=True)
    text = page(rows)
    print(text)
    if options.out:
        before = options.out.read_text() if options.out.is_file() else "# Height\n\n"
        options.out.write_text(before.partition(MARK)[0] + MARK + "\n" + text)
    return rows


def one(plan, folder, options):
    """What a training says of height."""
    began = time.perf_counter()
    if plan.of == "scenes":
        clouds = [scene(1000 * plan.seed + i) for i in range(options.count)]
    else:
        files = sorted(options.data.glob("*.ply"))[plan.seed :: 2][: options.count]
        clouds = [open_cloud(str(file)).read()[:, :3] for file in files]
    folder.mkdir()
    for i, xyz in enumerate(clouds):
        write(folder / f"{i:04}.npz", xyz, coloured=plan.coloured)
    default = RECIPES[plan.recipe](facts(str(folder), ("points",)))
    views = {
        name: replace(family, **VIEWS[plan.views]) for name, family in parts(default.views).items()
    }
    default = replace(default, views=struct("Views", views))
    [(key, network)] = parts(default.encoders).items()
    network = NETWORKS[plan.network] or network
    if plan.coloured:
        fed = network.input
        network = replace(network, input=replace(fed, colour=True))
    default = replace(default, encoders=struct("Encoders", {key: network}))
    told = COMMON | {"train.steps": options.steps, "seed": plan.seed}
    execute(one_duration(settle(default, told), default), out=folder / "run")
    lines = (folder / "run" / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    heights = [r["watch/height"] for r in records if "watch/height" in r]
    return {
        "half": plan.half,
        "of": plan.of,
        "training": plan.name,
        "views": plan.views,
        "first": heights[0],
        "height": statistics.fmean(heights[-max(1, len(heights) // 4) :]),
        "said": [r["name"] for r in records if r["kind"] == "alarm"],
        "seconds": time.perf_counter() - began,
    }


def scene(seed):
    """[N, 3] float32: a level floor, and on it three to five balls, boxes and poles."""
    rng = np.random.default_rng(seed)
    floor = np.concatenate([rng.uniform(-1, 1, (POINTS // 3, 2)), np.zeros((POINTS // 3, 1))], 1)
    found, things = [floor], rng.integers(3, 6)
    for _ in range(things):
        count, kind = 2 * POINTS // (3 * things), rng.integers(3)
        xyz = rng.normal(size=(count, 3))
        if kind == 0:
            xyz /= np.linalg.norm(xyz, axis=1, keepdims=True)
        else:
            xyz = rng.uniform(-1, 1, (count, 3))
            axis = rng.integers(3 if kind == 1 else 2, size=count)
            xyz[np.arange(count), axis] = np.sign(xyz[np.arange(count), axis])
        wide, high = rng.uniform(0.1, 0.3), rng.uniform(0.1, 0.3) * (1 if kind < 2 else 3)
        size = np.array([wide, wide, high])
        found.append(xyz * size + [*rng.uniform(-0.7, 0.7, 2), high])
    return np.concatenate(found).astype(np.float32)


def write(file, xyz, *, coloured):
    """A cloud; its colour is grey, the lighter the higher, or nothing."""
    z = xyz[:, 2]
    grey = np.rint(255 * (z - z.min()) / max(1e-6, np.ptp(z))).astype("u1")
    told = {"colours": np.repeat(grey[:, None], 3, axis=1)} if coloured else {}
    np.savez(file, points=xyz, **told)


def threshold(rows):
    """Between the highest healthy and the lowest planted height of half "a"."""
    healthy = [r["height"] for r in rows if r["half"] == "a" and r["views"] != "shortcut"]
    planted = [r["height"] for r in rows if r["half"] == "a" and r["views"] == "shortcut"]
    return (max(healthy) + min(planted)) / 2 if healthy and planted else float("nan")


def page(rows):
    """The table as Markdown, and how many trainings the threshold of half "a" gets wrong."""
    lines = ["| half | clouds | training | views | height, at first | height, at last | alarms |"]
    lines.append("|" + "---|" * 7)
    for r in sorted(rows, key=lambda r: (r["half"], r["height"])):
        numbers = [f"{r['first']:.2f}", f"{r['height']:.2f}"]
        cells = [r["half"], r["of"], r["training"], r["views"], *numbers]
        lines.append("| " + " | ".join([*cells, ", ".join(r["said"]) or "none"]) + " |")
    level = threshold(rows)
    lines += ["", f'Threshold by half "a": {level:.2f}.']
    for half in sorted({r["half"] for r in rows}):
        for of in sorted({r["of"] for r in rows}):
            some = [r for r in rows if r["half"] == half and r["of"] == of]
            planted = [r for r in some if r["views"] == "shortcut"]
            healthy = [r for r in some if r["views"] != "shortcut"]
            found = sum(r["height"] > level for r in planted)
            false = sum(r["height"] > level for r in healthy)
            lines.append(
                f'Half "{half}", {of}: {found} of {len(planted)} planted ones found, '
                f"{false} of {len(healthy)} healthy ones accused."
            )
    return "\n".join([*lines, f"The longest took {max(r['seconds'] for r in rows):.0f} s.", ""])


if __name__ == "__main__":
    main()
