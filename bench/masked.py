"""What masked models are worth after their best block and after fine-tuning, at the common budget.

    python bench/masked.py [--passes 10] [--recipes NAME ...] [--runs runs/table]
        [--out docs/experiments/masked.md]

Each recipe trains on the built-in images as in bench/methods.py, whose runs are taken where they
are there. A linear probe learns from all training labels, on the encoder's output and after the
block that 20 % of those labels, held out, choose. Fine-tuning learns from a tenth of the labels,
which is where an encoder that has seen the rest without labels can help; the same encoder untrained
is fine-tuned alike, and SimCLR's stands beside. Rows are kept in a JSON file beside the page and
made once; what the page says below "What this says" is kept.
"""

import argparse
import csv
import json
import logging
import platform
from pathlib import Path

import methods as table
import torch
from PIL import Image

import manyviews
from manyviews.data.sources import BUILTIN
from manyviews.evaluation.image.settings import FineTune
from manyviews.evaluation.labelled import open_labelled

RECIPES = (
    *("mae", "mae-hiera", "simmim", "maskfeat", "data2vec", "ijepa", "capi", "igpt"),
    *("autoencoder", "denoising", "simclr"),
)
TUNED = FineTune(epochs=20, mixup=0.0, cutmix=0.0)
LABELLED = BUILTIN
"""What linear probes learn from and are tested on."""
EVERY = {"train": 10, "test": 1}
"""Of the labelled images every so many are fine-tuned on, and tested on."""
KEPT = "## What this says"


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--passes", type=float, default=10.0)
    parser.add_argument("--runs", type=Path, default=Path("runs/table"))
    parser.add_argument("--recipes", nargs="*", default=list(RECIPES))
    parser.add_argument("--epochs", type=int, default=TUNED.epochs, help="of fine-tuning")
    parser.add_argument("--out", type=Path, default=Path("docs/experiments/masked.md"))
    options = parser.parse_args(arguments)
    logging.getLogger("manyviews").setLevel(logging.WARNING)
    options.runs.mkdir(parents=True, exist_ok=True)
    few = tenth(options.runs.parent / "tenth")
    store = options.out.with_suffix(".json")
    plan = table.planned(list(dict.fromkeys([table.UNIT, *options.recipes])), options.passes)
    for name in options.recipes:
        rows, steps = read(store), plan[name][1]
        key = f"{table.digest(name, steps)} {options.epochs}"
        if rows.get(name, {}).get("digest") == key:
            continue
        run = table.train(name, steps, 0, options.runs / f"{name}-0")
        if run is not None:
            rows[name] = {"digest": key, "steps": steps, **measured(run, few, options.epochs)}
            store.write_text(json.dumps(rows, indent=1) + "\n")
            print(name, rows[name], flush=True)
    text = page(read(store), options)
    options.out.write_text(text, encoding="utf-8")
    print(text)


def read(store):
    return json.loads(store.read_text()) if store.exists() else {}


def tenth(folder):
    """A CSV of every tenth training image with its label, and of the test images, as PNG."""
    listed = folder.with_suffix(".csv")
    if listed.exists():
        return listed
    folder.mkdir(parents=True, exist_ok=True)
    rows = [("path", "label", "split")]
    for split, every in EVERY.items():
        part = open_labelled(BUILTIN, channels=1, max_pixels=1 << 20, split=split)
        for i in range(0, len(part), every):
            path = folder / f"{split}-{i:05}.png"
            Image.fromarray(part.source.read(i)[..., 0]).save(path)
            rows.append((f"{folder.name}/{path.name}", int(part.labels[i]), split))
    with listed.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return listed


def measured(run, few, epochs):
    """Linear probes on two outputs, and fine-tuning, of a run and of its encoder untrained."""
    [output] = manyviews.evaluate(run, data=LABELLED, protocol="linear").found
    layered = manyviews.evaluate(
        run, data=LABELLED, protocol="linear", layer="best", baselines=False
    )
    [tuned] = manyviews.evaluate(
        run,
        data=few,
        protocol="finetune",
        finetune=FineTune(epochs=epochs, mixup=TUNED.mixup, cutmix=TUNED.cutmix),
    ).found
    best = layered.found[0].result
    network = "untrained encoder"
    return {
        "encoder": manyviews.load(run).config.name,
        "blocks": max(tap.block for tap in layered.layers.scores),
        "linear": interval(output.result),
        "linear, untrained": interval(output.beside[network]),
        "best block": best.settings["layer"],
        "linear, best block": interval(best),
        "tuned": interval(tuned.result),
        "tuned, untrained": interval(tuned.beside[network]),
    }


def interval(result):
    measure = result.measures[result.metric]
    return [result.value, measure.low, measure.high]


def page(rows, options):
    before = options.out.read_text(encoding="utf-8") if options.out.exists() else ""
    kept = before[before.index(KEPT) :] if KEPT in before else f"{KEPT}\n"
    said = INTRODUCTION.format(
        passes=options.passes,
        epochs=options.epochs,
        machine=platform.machine(),
        torch=torch.__version__,
    )
    lines = [
        "| recipe | encoder | steps | linear, output (untrained) | linear, best block | block "
        "| fine-tuned on a tenth | the same untrained |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name in [n for n in RECIPES if n in rows]:
        row = rows[name]
        lines.append(
            f"| {name} | {row['encoder']} | {row['steps']} | {told(row['linear'])} "
            f"({row['linear, untrained'][0]:.3f}) | {told(row['linear, best block'])} "
            f"| {row['best block']} of {row['blocks']} | {told(row['tuned'])} "
            f"| {told(row['tuned, untrained'])} |"
        )
    return f"{said}\n" + "\n".join(lines) + f"\n\n{kept.rstrip()}\n"


def told(values):
    return "{:.3f} ({:.3f} to {:.3f})".format(*values)


INTRODUCTION = """# Masked models after their best block, and fine-tuned

Kinds of masked modelling, each trained without labels with the encoder work of {passes:g} passes of
SimCLR over the 12,000 built-in images (see [results](../results.md)), one seed. A linear probe
learns from all 12,000 labels; fine-tuning from 1,200, {epochs} epochs of AdamW with layer decay.
Both are tested on 2,000 images; in brackets the 95 % interval.

Made by `python bench/masked.py` ({machine}, torch {torch}, no GPU).
"""

if __name__ == "__main__":
    main()
