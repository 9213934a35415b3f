"""Two shortcuts of contrastive learning, and their cures: batch norm of a device, and colours.

    python bench/shortcuts.py [--steps 150] [--seeds 0 1 2] [--parts devices] [--out FILE]

Devices: MoCo on the built-in images with the batch norm of 32 devices of 4 images in one process:
keys in their order, keys shuffled among devices, and one norm for all. Colours: SimCLR on the same
images, each in two random colours, with and without colour in the views. Two tables come out.
"""

import argparse
import statistics
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from manyviews.core import Batch, Clock, Given
from manyviews.core.inputs import Pixels
from manyviews.core.schedules import Cosine
from manyviews.data.loader import batches
from manyviews.data.sources import BUILTIN, Stored
from manyviews.encoders import ResNetSmallConfig, build
from manyviews.evaluation.labelled import open_labelled
from manyviews.losses.contrastive import nt_xent, unit
from manyviews.methods.contrastive.moco import MoCo, MoCoConfig
from manyviews.parts.heads import mlp
from manyviews.parts.norm import convert, shuffled
from manyviews.views.by_input import plain_of
from manyviews.views.pipeline import Fed, Pipeline
from manyviews.views.plan import Crops

BATCH, DEVICES, WIDTH, TEMPERATURE, NEIGHBOURS, QUEUE = 128, 32, 8, 0.2, 20, 1024
COUNTS = {"train": 6000, "test": 1000}
GREY = Crops(scale=(0.3, 1.0), saturation=0.0, hue=0.0, blur=(0.0,))
NO_COLOUR = Crops(scale=(0.2, 1.0), jitter=0.0, grey=0.0, blur=(0.0,))
COLOUR = Crops(scale=(0.2, 1.0), hue=0.5, blur=(0.0,))
NORMS = (
    ("of each device, keys in order", DEVICES, False),
    ("of each device, keys shuffled", DEVICES, True),
    ("of all (synchronised)", 1, False),
)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=150)
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

    def __init__(self, source, crops, seed):
        torch.manual_seed(seed)
        fed = Pixels(side=28, channels=source.channels, mean=(0.35,), std=(0.3,))
        self.pipeline = Pipeline({"global": crops}, {"image": Fed(fed)}, seed=seed)
        encoder = build(ResNetSmallConfig(input=fed, width=WIDTH))
        self.net = torch.nn.ModuleList([encoder, mlp([encoder.dim, 128, 64])])
        convert(self.net)
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
        """[B, 2, D] unit vectors."""
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


class Queued(Trained):
    """MoCo's network and queue; each device has batch statistics of its own."""

    def __init__(self, source, seed, *, groups, shuffles):
        super().__init__(source, GREY, seed)
        encoder = self.net[0]
        config = MoCoConfig(
            temperature=TEMPERATURE, queue=QUEUE, momentum=Cosine(0.99, 0.99), hidden=128, out=64,
            norm_groups=groups,
        )  # fmt: skip
        self.method = MoCo(Given({"image": encoder}, len(source)), config).train()
        self.method.shuffles = shuffles

    def train(self, steps):
        """AdamW with a cosine."""
        method = self.method.train()
        parameters = [p for group in method.param_groups() for p in group.params]
        optimiser = torch.optim.AdamW(parameters, lr=2e-3)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for number, views in enumerate(self.views(0, steps)):
            clock = Clock(number, steps)
            step = method(Batch({"global": views}, torch.arange(len(views))), clock)
            optimiser.zero_grad()
            step.total.backward()
            method.after_backward(step, clock)
            optimiser.step()
            schedule.step()
            method.after_step(clock)

    @torch.no_grad()
    def found(self, step):
        """Of four batches: the share of the queue that is farther than the own key.

        With the key's device as in the query's batch, and with keys shuffled among devices.
        """
        method, found = self.method.train(), []
        for views in self.views(step, step + 4):
            one, two = views.unbind(1)
            query = unit(method.online(one)[1])
            same = unit(method.target(two)[1])
            other = shuffled(lambda x: unit(method.target(x)[1]), two, seed=step)
            false = query @ method.queue.items.T
            own = [(query * key).sum(dim=1, keepdim=True) for key in (same, other)]
            found.append([(one > false).float().mean().item() for one in own])
        return [statistics.fmean(column) for column in zip(*found, strict=True)]


def devices(steps, seeds):
    """What the company of a device tells, and what is learnt beside it."""
    parts = [plain(split) for split in ("train", "test")]
    rows = []
    for name, groups, shuffles in NORMS:
        found = []
        for seed in seeds:
            trained = Queued(parts[0][0], seed, groups=groups, shuffles=shuffles)
            trained.train(steps)
            same, other = trained.found(steps)
            found.append((same, other, same - other, by_class(trained, parts)))
        rows.append([name, *(spread(column) for column in zip(*found, strict=True))])
        print(" | ".join(rows[-1]), flush=True)
    return table(
        [
            "batch norm",
            "of the queue farther than the own key, company kept",
            "company changed",
            "what company tells",
            "class by kNN (chance 0.1)",
        ],
        rows,
    )


def plain(split):
    """The built-in images and their labels."""
    data = open_labelled(BUILTIN, channels=1, max_pixels=10**6, split=split)
    count = COUNTS[split]
    return Stored("plain", data.source.stack["image"][:count]), data.labels[:count]


def coloured(split, draw=0):
    """The built-in images, each in a colour of its own on another, and their classes."""
    source, labels = plain(split)
    grey = source.stack["image"].astype(np.float32) / 255
    ink, ground = np.random.default_rng(draw).uniform(0, 255, (2, len(grey), 1, 1, 3))
    return Stored("coloured", (grey * ink + (1 - grey) * ground).astype(np.uint8)), labels


def recoloured():
    """Test images in colours, in other colours, and other images in the first ones' colours."""
    source, _ = plain("test")
    grey = source.stack["image"].astype(np.float32) / 255
    ink, ground = np.random.default_rng(2).uniform(0, 255, (2, len(grey), 1, 1, 3))
    sides = (grey, ink, ground), (grey, ink[::-1], ground[::-1]), (grey[::-1], ink, ground)
    return [Stored("coloured", (g * i + (1 - g) * o).astype(np.uint8)) for g, i, o in sides]


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
def embedded(trained, source):
    """Unit vectors of plain images: of the encoder and of the projector behind it."""
    encoder, head = trained.net.eval()
    plain, raw = plain_of(encoder.input), np.empty((len(source), 1, 28, 28, source.channels), "u1")
    plain.make(source.array, np.arange(len(source)), 0, {"encoder": raw})
    x = {"encoder": torch.from_numpy(raw)}
    [x] = plain.finish(x, {}, torch.zeros(0), torch.device("cpu")).views.values()
    h = torch.cat([encoder(part[:, 0]).pooled for part in x.split(500)])
    return unit(h), unit(head(h))


def neighbours(features, answers):
    """kNN accuracy: (training, test) features, and what is to be told of either."""
    known, wanted = answers
    votes = known[(features[1] @ features[0].T).topk(NEIGHBOURS, dim=1).indices]
    return (F.one_hot(votes, 10).sum(dim=1).argmax(dim=1) == wanted).float().mean().item()


def by_class(trained, parts):
    """kNN accuracy of the class by the encoder."""
    sources, classes = zip(*parts, strict=True)
    return neighbours([embedded(trained, source)[0] for source in sources], classes)


def shape_first(trained, sides):
    """How often an image is nearer itself in other colours than another in its own: projections."""
    one, same, other = (embedded(trained, source)[1] for source in sides)
    return ((one * same).sum(dim=1) > (one * other).sum(dim=1)).float().mean().item()


def colours(steps, seeds):
    """How often colours alone find the pair, and what is learnt."""
    parts, sides = [coloured(split) for split in ("train", "test")], recoloured()
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
            before = shape_first(trained, sides), by_class(trained, parts)
            trained.net.train()
            trained.train(steps)
            after = shape_first(trained, sides), by_class(trained, parts)
            pairs = zip(before, after, strict=True)
            found.append((statistics.fmean(alone), *(value for pair in pairs for value in pair)))
        rows.append([name, *(spread(column) for column in zip(*found, strict=True))])
        print(" | ".join(rows[-1]), flush=True)
    after = f"after {steps} steps"
    return table(
        [
            "views",
            "pairs found by colours alone",
            "nearer itself in other colours than another image in its own: untrained",
            after,
            "class by kNN (chance 0.1): untrained",
            after,
        ],
        rows,
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
