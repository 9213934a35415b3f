"""Train every method for the same time on the built-in images and write docs/results.md.

    python bench/methods.py --minutes 10

Runs that are finished under --runs are not trained again, so an interrupted table goes on.
"""

import argparse
import json
import platform
import subprocess
import sys
from pathlib import Path

import torch

from manyviews import api, probing
from manyviews.assemble import assemble, cores, embedder
from manyviews.diagnosis.rank import rankme
from manyviews.evaluation import baselines
from manyviews.evaluation.features import extract
from manyviews.recipes import RECIPES

METHODS = ("simclr", "moco", "byol", "swav", "dino", "barlow", "vicreg", "mae")
DATA = api.BUILTIN


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--runs", type=Path, default=Path("runs/table"))
    parser.add_argument("--out", type=Path, default=Path("docs/results.md"))
    parser.add_argument("--methods", nargs="*", default=METHODS)
    options = parser.parse_args()
    for name in options.methods:
        train(name, options)
    rows = [
        *reference_rows(),
        *[row(options.runs / n) for n in METHODS if finished(options.runs / n)],
    ]
    options.out.write_text(page(rows, options))
    print(options.out.read_text())


def train(name, options):
    run = options.runs / name
    if finished(run):
        return
    command = [sys.executable, "-m", "manyviews", "train", name, "--data", DATA]
    command += ["--out", str(run), "--train.minutes", str(options.minutes)]
    command += ["--probe.source", DATA, "--probe.linear", "--probe.every", "0", "--json"]
    print(" ".join(command[1:]), flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    (run / "result.json").write_text(done.stdout)


def finished(run):
    return (run / "encoder.safetensors").exists() and (run / "result.json").exists()


def row(run):
    result = json.loads((run / "result.json").read_text())
    network = api.load(run)
    features = embed(network, network.plain)
    parameters = sum(p.numel() for p in network.parameters())
    return {
        "method": run.name,
        "encoder": f"{network.config.name}, {parameters / 1e6:.2f} M",
        "kNN": result["evaluation"]["knn"],
        "linear": result["evaluation"]["linear"],
        "RankMe": f"{rankme(features):.0f} of {features.shape[1]}",
        "passes": result["steps"] * 256 / 12_000,
        "images/s": result["images_per_second"],
        "alarms": len(result["alarms"]),
        "status": result["status"],
    }


def reference_rows():
    """Raw pixels, and the encoders before any training."""
    rows = []
    for name, recipe in (("untrained resnet_small", "simclr"), ("untrained ViT", "mae")):
        before = assemble(RECIPES[recipe](api.facts(DATA)))
        probe = probing.open_probe(
            DATA, before.plain, max_pixels=api.MAX_PIXELS, device=before.device
        )
        if not rows:
            pixels = baselines.pixels(before.run.data.mean, before.run.data.std)
            knn, linear = probe.measure(pixels, ["knn", "linear"])
            rows.append({"method": "raw pixels", "kNN": knn.value, "linear": linear.value})
        embed_ = embedder(before.method.encoder, before.device)
        knn, linear = probe.measure(embed_, ["knn", "linear"])
        features = embed(embed_, before.plain)
        rows.append(
            {
                "method": name,
                "kNN": knn.value,
                "linear": linear.value,
                "RankMe": f"{rankme(features):.0f} of {features.shape[1]}",
            }
        )
    return rows


def embed(network, plain):
    """Features of the 12,000 training images."""
    source = api.open_source(DATA, channels=plain.channels, max_pixels=api.MAX_PIXELS)
    with torch.inference_mode():
        return extract(network, source, plain).features


def page(rows, options):
    columns = list(rows[-1])
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(show(cells.get(c, "")) for c in columns) + " |" for cells in rows]
    return "\n".join([INTRODUCTION.format(**about(options)), *lines, "", MADE.format(options), ""])


INTRODUCTION = """# What each method reaches on the built-in images

Each trained for {minutes:g} minutes without labels on the 12,000 training images of `{data}`, with
its default recipe, seed 0, on {cores} cores and no GPU ({machine}, torch {torch}).

kNN: cosine, k=20, T=0.07. Linear: batch norm without affine and a linear layer, decay chosen on
held-out training labels. Both learn from the 12,000 training labels and are tested on 2,000 images;
one standard error of such an accuracy is about 0.8 points, and one seed is one seed. RankMe is of
the 12,000 training features. passes: how often each image was seen.
"""

MADE = "Made by `python bench/methods.py --minutes {0.minutes:g}` (`make table`)."


def about(options):
    return {
        "minutes": options.minutes,
        "data": DATA,
        "cores": cores(),
        "machine": platform.machine(),
        "torch": torch.__version__,
    }


def show(value):
    if isinstance(value, float):
        return f"{value:.3f}" if value <= 1 else f"{value:.0f}"
    return str(value)


if __name__ == "__main__":
    main()
