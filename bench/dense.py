"""An untrained, a self-supervised and a supervised encoder, by segmentation and by detection.

    python bench/game.py GAME
    python bench/dense.py --data GAME [--recipes mae ibot] [--seeds 0 1 2] [--out FILE.md]

Self-supervised encoders train on GAME/plain, which has no labels. The supervised one trains from
the same random weights on the masks of GAME/masked's training images, a linear head on its patches
and the cross entropy of pixels, mirrored at random; it is then frozen and measured as the others
are. A detector is trained on the frozen encoder, and on an untrained one that trains too: that is
what supervised means there. What is measured is kept in FILE.json, and only what is not there is
made.
"""

import argparse
import json
import logging
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import manyviews
from manyviews.core.settings import parts
from manyviews.evaluation.dense.masked import VOID, open_masked
from manyviews.evaluation.dense.settings import Detection
from manyviews.evaluation.features import extract
from manyviews.recipes import RECIPES, one_duration
from manyviews.runs import train as running
from manyviews.runs.assemble import assemble
from manyviews.runs.embedder import save_encoder
from manyviews.runs.facts import facts
from manyviews.verbs.flags import settle
from manyviews.verbs.train import execute
from manyviews.views.by_input import plain_of

COMMON = {
    "data.workers": 0,
    "data.batch_size": 64,
    "train.health_every": 10**6,
    "encoder.image_size": 96,
    "encoder.patch": 8,
    "encoder.depth": 4,
    "encoder.width": 96,
    "encoder.heads": 3,
}
UNTRAINED, SUPERVISED = "untrained", "supervised on the same masks"
WHOLE = "trained with its detector"
COLUMNS = ("mIoU", "mIoU of kNN", "AP", "AP50")
MARK = "<!-- made by bench/dense.py -->\n"
"""What stands before it in the document stays."""


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--recipes", nargs="*", default=["mae", "ibot"])
    parser.add_argument("--steps", type=int, default=300, help="of each self-supervised training")
    parser.add_argument("--supervised", type=int, default=300, help="steps of the supervised one")
    parser.add_argument("--detector", type=int, default=300, help="steps of each detector")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, help="for instance docs/experiments/dense.md")
    options = parser.parse_args(arguments)
    logging.getLogger("manyviews").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    running._report = running._held = lambda *_, **__: None  # a page for each costs more than it
    kept = options.out.with_suffix(".json") if options.out else None
    found = json.loads(kept.read_text()) if kept and kept.is_file() else {}
    for seed in options.seeds:
        for name in (UNTRAINED, SUPERVISED, *options.recipes):
            key = f"{name}-{seed}"
            if key not in found:
                found[key] = measured(name, seed, options)
                print(key, found[key], flush=True)
            if kept:
                kept.write_text(json.dumps(found, indent=1) + "\n")
    text = page(found, options)
    print(text)
    if options.out:
        before = options.out.read_text() if options.out.is_file() else "# Dense\n\n"
        options.out.write_text(before.partition(MARK)[0] + MARK + "\n" + text)
    return found


def measured(name, seed, options):
    """Numbers of one encoder, by name of the column."""
    began = time.perf_counter()
    recipe = name if name in options.recipes else options.recipes[0]
    data = str(options.data / "plain")
    default = RECIPES[recipe](facts(data))
    told = COMMON | {"train.steps": options.steps, "seed": seed}
    run = one_duration(settle(default, told), default)
    with tempfile.TemporaryDirectory() as folder:
        subject = Path(folder) / "run"
        if name == recipe and name in options.recipes:
            execute(run, out=subject)
        else:
            assembly = assemble(run)
            if name == SUPERVISED:
                supervise(assembly.method.encoder, seed, options)
            subject = Path(folder) / "encoder.safetensors"
            [config] = parts(run.encoders).values()
            save_encoder(subject, assembly.method.encoder, config=config, info={"method": name})
        seconds = time.perf_counter() - began
        asked = Detection(steps=options.detector, seed=seed)
        whole = Detection(steps=options.detector, seed=seed, blocks=-1, lr=3e-4)
        found = {"seconds": seconds} | scores(subject, options, asked)
        if name == UNTRAINED:
            of_boxes = scores(subject, options, whole, protocols=["detection"])
            found |= {f"{n}, {WHOLE}": value for n, value in of_boxes.items()}
        return found


def scores(subject, options, asked, *, protocols=("segmentation", "detection")):
    """Column -> value."""
    found = {}
    for protocol in protocols:
        data = str(options.data / ("masked" if protocol == "segmentation" else "boxed"))
        told = {"data": data, "protocol": [protocol], "detection": asked, "baselines": False}
        [one] = manyviews.evaluate(subject, **told).found
        found |= {n: e.value for n, e in one.result.measures.items() if n in COLUMNS}
    return found


def supervise(encoder, seed, options):
    """Train an encoder on masks, in place."""
    input = encoder.input
    part = open_masked(
        str(options.data / "masked"), channels=input.channels, max_pixels=10**7, split="train"
    )
    seen = extract(lambda x: x.flatten(1), part.source, plain_of(input))
    images = seen.features.unflatten(1, input.shape)
    masks = part.classes(input, tuple(seen.index.tolist()), ignore=(255,)).long()
    masks[masks == VOID] = 255
    torch.manual_seed(seed)
    head = nn.Linear(encoder.dim, int(masks[masks != 255].max()) + 1)
    every = [*encoder.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(every, lr=1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, 1e-3, total_steps=options.supervised, pct_start=0.1
    )
    encoder.train()
    for _ in range(options.supervised):
        rows = torch.randint(len(images), (32,))
        x, y = images[rows], masks[rows]
        if torch.rand(()) < 0.5:
            x, y = x.flip(-1), y.flip(-1)
        logits = head(encoder(x).tokens).transpose(1, 2).unflatten(2, encoder.grid)
        logits = F.interpolate(logits, y.shape[1:], mode="bilinear")
        optimiser.zero_grad()
        F.cross_entropy(logits, y, ignore_index=255).backward()
        optimiser.step()
        schedule.step()
    encoder.eval()


def page(found, options):
    """The table as Markdown, a row an encoder; mean ± deviation over seeds, in percent."""
    lines = [f"| encoder | {' | '.join(COLUMNS)} | seconds of training |"]
    lines.append("|" + "---|" * (2 + len(COLUMNS)))
    for name in (UNTRAINED, *options.recipes, SUPERVISED):
        runs = [found[f"{name}-{seed}"] for seed in options.seeds]
        cells = [spread([run[column] for run in runs]) for column in COLUMNS]
        most = max(run["seconds"] for run in runs)
        lines.append(f"| {name} | {' | '.join(cells)} | {most:.0f} |")
    whole = [found[f"{UNTRAINED}-{seed}"] for seed in options.seeds]
    cells = [spread([run[f"{column}, {WHOLE}"] for run in whole]) for column in COLUMNS[2:]]
    lines.append(f"| {WHOLE}, from random weights | | | {' | '.join(cells)} | |")
    return "\n".join([*lines, ""])


def spread(values):
    """Mean ± standard deviation over seeds, in percent."""
    values = 100 * np.array(values)
    return f"{values.mean():.1f} ± {values.std(ddof=len(values) > 1):.1f}"


if __name__ == "__main__":
    main()
