"""What keeps SimSiam from collapsing: take its parts away one at a time.

    python bench/simsiam.py [--steps 100] [--out FILE.md]

Each training is the recipe on the built-in images with a small encoder. Of each the page says, at
the end: the loss, the spread of the projections (the mean over dimensions of the deviation of
z / |z| times the root of their number: 1 on a sphere filled evenly, 0 where all images are one
point), the k-NN accuracy of the encoder, and the first alarm.
"""

import argparse
import json
import logging
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from manyviews.core.settings import parts
from manyviews.data.sources import BUILTIN
from manyviews.methods.distillation import simsiam
from manyviews.parts.heads import mlp
from manyviews.recipes import RECIPES, one_duration
from manyviews.runs import train as running
from manyviews.runs.assemble import assemble
from manyviews.runs.facts import facts
from manyviews.verbs.flags import settle
from manyviews.verbs.train import execute

SMALL = {"encoder.width": 8, "data.batch_size": 64, "data.workers": 0, "train.health_every": 10}
SMALL |= {"train.log_every": 10, "probe.source": BUILTIN}


def both_ways(prediction, target):
    """The loss with the gradient let through."""
    return -F.cosine_similarity(prediction, target, dim=-1).mean()


def without_predictor(method):
    """The projection itself is the prediction."""
    method.predictor = nn.Identity()


def fixed_predictor(method):
    """The predictor stays as it was drawn."""
    for p in method.predictor.parameters():
        p.requires_grad_(requires_grad=False)


def head(method, **norms):
    """Another projector of the same widths."""
    sizes = [layer.in_features for layer in method.online.head if isinstance(layer, nn.Linear)]
    method.online.head = mlp([*sizes, method.config.out], bias=True, **norms)


def without_norms(method):
    """No batch norm in projector and predictor; the encoder keeps its own."""
    head(method, norm=False)
    sizes = [method.config.out, method.config.bottleneck, method.config.out]
    method.predictor = mlp(sizes, norm=False)


def without_last_norm(method):
    """Batch norm in the projector's hidden layers only."""
    head(method)


CASES = {
    "as it is": (None, {}),
    "gradient not stopped": ("loss", {}),
    "no predictor": (without_predictor, {}),
    "predictor stays random": (fixed_predictor, {}),
    "predictor's rate falls": (None, {"method.fixed_predictor": False}),
    "no norm after the projector": (without_last_norm, {}),
    "no norm in either head": (without_norms, {}),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--cases", nargs="*", default=list(CASES))
    parser.add_argument("--out", type=Path, help="for instance docs/experiments/simsiam.md")
    options = parser.parse_args()
    logging.getLogger("manyviews").setLevel(logging.ERROR)
    rows = []
    for name in options.cases:
        change, settings = CASES[name]
        rows.append([name, *train(options.steps, change, settings)])
        print(" | ".join(rows[-1]), flush=True)
    if options.out:
        options.out.write_text(page(rows, options.steps))


def train(steps, change, settings):
    """Loss, spread, k-NN accuracy and first alarm of one training, as words."""
    default = RECIPES["simsiam"](facts(BUILTIN))
    run = one_duration(settle(default, SMALL | settings | {"train.steps": steps}), default)
    kept = []

    def altered(run, **more):
        assembly = assemble(run, **more)
        kept.append(assembly)
        if callable(change):
            change(assembly.method)
        assembly.method.to(assembly.device).train()
        return assembly

    loss = simsiam.negative_cosine
    with tempfile.TemporaryDirectory() as folder:
        running.assemble = altered
        simsiam.negative_cosine = both_ways if change == "loss" else loss
        try:
            done = execute(run, out=Path(folder) / "run")
        finally:
            running.assemble, simsiam.negative_cosine = assemble, loss
        text = (Path(folder) / "run" / "metrics.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    last = [line["loss"] for line in lines if line["kind"] == "train"][-1]
    alarms = [line for line in lines if line["kind"] == "alarm"]
    first = f"{alarms[0]['step']}: {alarms[0]['name']}" if alarms else "none"
    knn = done.evaluation["knn"]
    return f"{last:.3f}", f"{spread(kept[0]):.2f}", f"{knn:.3f}", first


@torch.no_grad()
def spread(assembly):
    """Of the projections of 512 plain images; 1 at most."""
    _, views = assembly.look(range(512))
    method, [name] = assembly.method.eval(), parts(assembly.run.encoders)
    z = F.normalize(method.online(views[name][:, 0])[1], dim=1)
    return float(z.std(dim=0).mean() * z.shape[1] ** 0.5)


def page(rows, steps):
    """The table as Markdown."""
    lines = [
        "# What keeps SimSiam from collapsing",
        "",
        f"SimSiam's recipe for {steps} steps of 64 images on `builtin:fashion` (`resnet_small` of "
        "width 8, seed 0), as it is and with one part taken away. Spread: the deviation of z / |z| "
        "over 512 plain images, by batch norm's running statistics, averaged over dimensions and "
        "multiplied by the root of their number: 1 where projections fill their sphere evenly, 0 "
        "where all are one point. The loss is best at -1, which a collapse reaches too. k-NN is on "
        "the encoder's output; the alarm is the first one and its step.",
        "",
        "| changed | loss | spread | k-NN | alarm |",
        "|---|---|---|---|---|",
        *["| " + " | ".join(row) + " |" for row in rows],
        "",
        "Made by `python bench/simsiam.py --out FILE`.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
