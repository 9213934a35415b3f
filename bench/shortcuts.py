"""Two shortcuts of contrastive learning, and their cures: batch norm of a device, and colours.

    python bench/shortcuts.py [--steps 100] [--seeds 0 1 2] [--out FILE.md]

Devices: SimCLR on the built-in images with the batch norm of eight devices in one process, each
with its own statistics, and with one for all. Colours: the same images, each in two random colours,
with and without colour in the views. A page of two tables comes out.
"""

import argparse
import statistics
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from manyviews.core.inputs import Pixels
from manyviews.data.loader import batches
from manyviews.data.sources import BUILTIN, Stored, open_source
from manyviews.encoders import ResNetSmallConfig, build
from manyviews.evaluation.labelled import open_labelled
from manyviews.losses.contrastive import nt_xent
from manyviews.parts.heads import mlp
from manyviews.parts.norm import convert
from manyviews.views.pipeline import Fed, Pipeline, plain_of
from manyviews.views.plan import Crops

BATCH, DEVICES, WIDTH, TEMPERATURE, NEIGHBOURS = 128, 8, 8, 0.2, 20
GREY = Crops(scale=(0.3, 1.0), saturation=0.0, hue=0.0, blur=(0.0,))
NO_COLOUR = Crops(scale=(0.2, 1.0), jitter=0.0, grey=0.0, blur=(0.0,))
COLOUR = Crops(scale=(0.2, 1.0), hue=0.5, blur=(0.0,))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--parts", nargs="*", default=["devices", "colours"])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    text = "\n".join(PARTS[part](options.steps, options.seeds) for part in options.parts)
    print(text)
    if options.out:
        options.out.write_text(text)


class Trained:
    """SimCLR's network, and its batches of one source."""

    def __init__(self, source, crops, seed, *, groups=1):
        torch.manual_seed(seed)
        fed = Pixels(side=28, channels=source.channels, mean=(0.35,), std=(0.3,))
        self.pipeline = Pipeline({"global": crops}, {"image": Fed(fed)}, seed=seed)
        encoder = build(ResNetSmallConfig(input=fed, width=WIDTH))
        self.net = torch.nn.ModuleList([encoder, mlp([encoder.dim, 128, 64])])
        convert(self.net, groups=groups)
        self.source, self.seed = source, seed

    def views(self, start, stop):
        """[B, 2, C, 28, 28] of each step."""
        raws = batches(
            self.source, self.pipeline, seed=self.seed, global_batch=BATCH, start_step=start,
            stop_step=stop, workers=0, on_bad=lambda _: None,
        )  # fmt: skip
        for [raw] in raws:
            made = self.pipeline.finish(raw.views, raw.cues, raw.index, torch.device("cpu"))
            yield made.views["global"]

    def __call__(self, views):
        """[B, 2, D] unit vectors; the batch lies as on devices, both views of an image on one."""
        encoder, head = self.net
        z = head(encoder(views.flatten(0, 1)).pooled)
        return F.normalize(z, dim=1).unflatten(0, (-1, 2))

    def train(self, steps):
        """AdamW with a cosine."""
        optimiser = torch.optim.AdamW(self.net.parameters(), lr=2e-3)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for views in self.views(0, steps):
            loss = nt_xent(self(views), temperature=TEMPERATURE)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()


@torch.no_grad()
def on_one_device(trained, step):
    """How often the nearest view of another image is of the same device, as the loss sees it."""
    shares = []
    for views in trained.views(step, step + 4):
        z = trained(views).flatten(0, 1)
        image = torch.arange(BATCH).repeat_interleave(2)
        similar = (z @ z.T).masked_fill(image == image[:, None], -2)
        device = image // (BATCH // DEVICES)
        shares.append((device[similar.argmax(dim=1)] == device).float().mean().item())
    return statistics.fmean(shares)


def devices(steps, seeds):
    """How often nearest views share a device, before and after training."""
    source = open_source(BUILTIN, channels=1, max_pixels=10**6)
    rows = []
    for name, groups in (("of each device", DEVICES), ("of all (synchronised)", 1)):
        found = []
        for seed in seeds:
            trained = Trained(source, GREY, seed, groups=groups)
            before = on_one_device(trained, steps)
            trained.train(steps)
            found.append((before, on_one_device(trained, steps)))
        rows.append([name, *(spread(column) for column in zip(*found, strict=True))])
    chance = (BATCH // DEVICES - 1) / (BATCH - 1)
    return table(
        ["batch norm", "untrained", f"after {steps} steps", "chance"],
        [[*row, f"{chance:.3f}"] for row in rows],
    )


def coloured(split):
    """The built-in images, each in a colour of its own on another, and their labels."""
    data = open_labelled(BUILTIN, channels=1, max_pixels=10**6, split=split)
    count = 6000 if split == "train" else 1000
    grey = data.source.stack["image"][:count].astype(np.float32) / 255
    ink, ground = np.random.default_rng(0).uniform(0, 255, (2, len(grey), 1, 1, 3))
    images = (grey * ink + (1 - grey) * ground).astype(np.uint8)
    return Stored("coloured", images), data.labels[:count]


def histogram(views):
    """[B, 2, 64] of raw views [B, 2, S, S, 3]: how many pixels have each of 4 x 4 x 4 colours."""
    bins = (views.astype(np.int64) // 64) @ np.array([16, 4, 1])
    counted = np.stack(
        [np.bincount(one.reshape(-1), minlength=64) for one in bins.reshape(-1, bins[0, 0].size)]
    )
    return torch.from_numpy(counted).float().sqrt().unflatten(0, bins.shape[:2])


def found_by(features):
    """How often the other view of an image is the most similar one of a batch."""
    one, other = F.normalize(features, dim=2).unbind(1)
    return ((one @ other.T).argmax(dim=1) == torch.arange(len(one))).float().mean().item()


@torch.no_grad()
def neighbours(trained, parts):
    """kNN accuracy of the encoder, of plain images."""
    encoder = trained.net[0].eval()
    plain, features = plain_of(encoder.input), []
    for source, _ in parts:
        raw = {"encoder": np.empty((len(source), 1, 28, 28, 3), dtype=np.uint8)}
        plain.make(source.array, np.arange(len(source)), 0, raw)
        x = torch.from_numpy(raw["encoder"])
        x = plain.finish({"encoder": x}, {}, torch.zeros(0), torch.device("cpu")).views["encoder"]
        h = torch.cat([encoder(part[:, 0]).pooled for part in x.split(500)])
        features.append(F.normalize(h, dim=1))
    (_, known), (_, wanted) = parts
    votes = known[(features[1] @ features[0].T).topk(NEIGHBOURS, dim=1).indices]
    return (F.one_hot(votes, 10).sum(dim=1).argmax(dim=1) == wanted).float().mean().item()


def colours(steps, seeds):
    """How often colours alone find the pair, and what is learnt."""
    parts = [coloured(split) for split in ("train", "test")]
    rows = []
    for name, crops in (("crops alone", NO_COLOUR), ("crops and colours", COLOUR)):
        found = []
        for seed in seeds:
            trained = Trained(parts[0][0], crops, seed)
            raws = batches(
                parts[0][0], trained.pipeline, seed=seed, global_batch=BATCH, start_step=0,
                stop_step=4, workers=0, on_bad=lambda _: None,
            )  # fmt: skip
            alone = [found_by(histogram(raw.views["global"].numpy())) for [raw] in raws]
            before = neighbours(trained, parts)
            trained.net.train()
            trained.train(steps)
            found.append((statistics.fmean(alone), before, neighbours(trained, parts)))
        rows.append([name, *(spread(column) for column in zip(*found, strict=True))])
    return table(
        ["views", "pairs found by colours alone", "kNN untrained", f"kNN after {steps} steps"], rows
    )


PARTS = {"devices": devices, "colours": colours}


def spread(values):
    """The mean over seeds, and the lowest and highest."""
    return f"{statistics.fmean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def table(head, rows):
    """As Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


if __name__ == "__main__":
    main()
