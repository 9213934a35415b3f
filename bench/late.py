"""Break trainings half-way, or in part, and see which alarm says so, and when.

    python bench/late.py [--steps 300] [--runs NAME ...] [--out FILE.md]

Each training is small (images of 28 pixels, `resnet_small` of width 16 or a short ViT) and has a
health check every 5 steps. Half of them are broken after half of their steps; the others are as
their recipe has them, and any alarm there is a false one. Colours are made, as CMC wants some. At
the end kNN says, with labels of other images, whether a fault did harm at all.
"""

import argparse
import json
import logging
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from manyviews.data.sources import BUILTIN
from manyviews.evaluation.labelled import open_labelled
from manyviews.recipes import RECIPES, one_duration
from manyviews.runs import train as running
from manyviews.runs.assemble import assemble
from manyviews.runs.facts import facts
from manyviews.verbs.flags import settle
from manyviews.verbs.train import execute

COUNT, TESTED, FROM = 1000, 500, 0.5
COMMON = {
    "data.batch_size": 64,
    "data.workers": 0,
    "train.health_every": 5,
    "train.log_every": 50,
}
RESNET = {"encoder.width": 16}
SHORT = {"encoder.depth": 3, "encoder.width": 64, "encoder.heads": 2}


def tower_dies(method):
    """The weights of one of two encoders shrink by a tenth a step, so it ends at a constant."""
    for p in method.encoders["ab"].parameters():
        p.mul_(0.9)


def teacher_freezes(method):
    """The slow copy is no longer told to follow."""
    method.target.follow = lambda online, clock: None


def spread_unheld(method):
    """Nothing asks for variance or for directions any more: what a JEPA loses late."""
    object.__setattr__(method.config, "variance", 0.0)
    object.__setattr__(method.config, "covariance", 0.0)


def directions_die(method):
    """Of the last block's channels all but four shrink by a tenth a step, on both its ways.

    The norms are what shrinks: they would undo a weaker convolution before them.
    """
    block = method.encoder.stages[-1][-1]
    for norm in (block.norm2, block.shortcut[1]):
        for p in norm.parameters():
            p[4:].mul_(0.9)


def learns_too_fast(method):
    """Noise is added to all weights, more than they learn: a rate that is far too high."""
    for p in method.encoder.parameters():
        if p.ndim > 1:
            p.add_(0.2 * p.std() * torch.randn_like(p))


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A training; `fault` is done after each step from half of them on."""

    recipe: str
    fault: object = None
    given: dict = field(default_factory=lambda: RESNET)


PLANS = {
    "simclr": Plan(recipe="simclr"),
    "byol": Plan(recipe="byol"),
    "vicreg": Plan(recipe="vicreg"),
    "dino": Plan(recipe="dino"),
    "cmc": Plan(recipe="cmc", given={}),
    "swav": Plan(recipe="swav"),
    "ijepa": Plan(recipe="ijepa", given=SHORT),
    "one of two towers dies": Plan(recipe="cmc", given={}, fault=tower_dies),
    "teacher freezes (byol)": Plan(recipe="byol", fault=teacher_freezes),
    "teacher freezes (dino)": Plan(recipe="dino", fault=teacher_freezes),
    "variance no longer held": Plan(recipe="vicreg", fault=spread_unheld),
    "directions die": Plan(recipe="simclr", fault=directions_die),
    "weights are shaken": Plan(recipe="simclr", fault=learns_too_fast),
}


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--runs", nargs="*", default=list(PLANS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="for instance docs/experiments/late.md")
    options = parser.parse_args(arguments)
    logging.getLogger("manyviews").setLevel(logging.ERROR)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        data = coloured(Path(folder) / "data")
        for name in options.runs:
            rows.append(one(name, data, Path(folder), options))
            print(rows[-1], flush=True)
    text = page(rows, options.steps)
    print(text)
    if options.out:
        options.out.write_text(text)
    return rows


def coloured(folder):
    """Built-in images between two random colours each; beside them others by class, for kNN."""
    for split, part, start in (("train", "", 0), ("train", "train", COUNT), ("test", "test", 0)):
        found = open_labelled(BUILTIN, channels=1, max_pixels=10**6, split=split)
        rng = np.random.default_rng(len(part))
        for i in range(start, start + (TESTED if part == "test" else COUNT)):
            share = found.source.read(i)[..., :1] / 255
            dark, light = rng.uniform(0, 110, 3), rng.uniform(130, 255, 3)
            pixels = dark + share * (light - dark)
            path = labelled(folder) / part / str(int(found.labels[i])) if part else folder
            path.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype("u1")).save(path / f"{i:04}.png")
    return folder


def labelled(folder):
    """Where the images of known classes are."""
    return folder.with_name(f"{folder.name}-labelled")


def one(name, data, folder, options):
    """The alarms of one training, with the encoder's name where there are several."""
    plan, began = PLANS[name], time.perf_counter()
    default = RECIPES[plan.recipe](facts(str(data), ("image",)))
    told = COMMON | plan.given | {"train.steps": options.steps, "seed": options.seed}
    told |= {"probe.source": str(labelled(data))}
    run = one_duration(settle(default, told), default)

    def altered(run, **given):
        assembly = assemble(run, **given)
        if plan.fault is not None:
            later(assembly.method, plan.fault)
        return assembly

    out = folder / name
    running.assemble = altered
    try:
        execute(run, out=out)
    finally:
        running.assemble = assemble
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    found = [line for line in lines if line["kind"] == "alarm"]
    alarms = [(a["step"], a["name"], a["message"].partition(": ")[0]) for a in found]
    encoders = list(run_encoders(run))
    *_, probe = (line for line in lines if line["kind"] == "probe")
    return {
        "run": name,
        "fault": plan.fault is not None,
        "alarms": [
            (step, f"{of}: {alarm}" if of in encoders else alarm) for step, alarm, of in alarms
        ],
        "knn": {name: value for name, value in probe.items() if name.startswith("knn")},
        "seconds": time.perf_counter() - began,
    }


def run_encoders(run):
    """Names of encoders, where there are several."""
    names = list(vars(run.encoders))
    return names if len(names) > 1 else []


def later(method, fault):
    """Do something after each step of the second half."""
    before = method.after_step

    def after_step(clock):
        before(clock)
        if clock.progress >= FROM:
            with torch.no_grad():
                fault(method)

    method.after_step = after_step


def page(rows, steps):
    """The table as Markdown, a row a training."""
    begins = int(FROM * steps)
    lines = [
        f"| training | broken from step | alarms, of {steps} steps | kNN at the end |",
        "|---|---|---|---|",
    ]
    for row in rows:
        said = ", ".join(f"{step}: {name}" for step, name in row["alarms"])
        none = "**not found**" if row["fault"] else "none"
        begin = str(begins) if row["fault"] else "as it is"
        right = ", ".join(f"{value:.3f}" for value in row["knn"].values())
        lines.append(f"| {row['run']} | {begin} | {said or none} | {right} |")
    false = [row["run"] for row in rows if not row["fault"] and row["alarms"]]
    healthy = sum(not row["fault"] for row in rows)
    early = [
        row["run"] for row in rows
        if row["fault"] and any(step < begins for step, _ in row["alarms"])
    ]  # fmt: skip
    lines += [
        "",
        f"{len(false)} of {healthy} healthy trainings raised an alarm"
        f"{': ' + ', '.join(false) if false else ''}; {len(early)} broken ones raised one before "
        f"they were broken. The longest training took {max(r['seconds'] for r in rows):.0f} s.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
