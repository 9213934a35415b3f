"""What a step of MAE costs that shows its encoder a quarter of the patches, beside all of them.

    python bench/masking.py [--width 192] [--depth 12] [--batch 8] [--rounds 9] [--json]

A vision transformer of patches of 16 on images of 224 pixels, forward and backward, without
optimiser; one thread. The sides take turns, a step each, and what is said is the median over rounds
of the ratio within a round, so that a machine that is slower for a while slows both.
"""

# ruff: noqa: E402 (thread pools read their size from the environment when they are imported)
import os

for pool in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[pool] = "1"

import argparse
import json
import statistics
import time

import torch

from manyviews import encoders
from manyviews.core import Batch, Clock, Given
from manyviews.core.inputs import Pixels
from manyviews.encoders.settings import ViTConfig
from manyviews.methods.masked.mae import MAE, MAEConfig
from manyviews.parts.masking import visible

RATIO = 0.75
CLOCK = Clock(0, 10)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--depth", type=int, default=12)
    parser.add_argument("--decoder-width", type=int, default=128)
    parser.add_argument("--decoder-depth", type=int, default=2)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true", help="print the row as JSON")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    sides = steps_of(options)
    for step in sides.values():
        step()
    seconds = {name: [] for name in sides}
    for k in range(options.rounds):
        order = list(sides) if k % 2 else list(sides)[::-1]
        for name in order:
            seconds[name].append(timed(sides[name]))
    found = {"ratio": RATIO, **vars(options)}
    found |= {f"{name}, ms": 1e3 * statistics.median(values) for name, values in seconds.items()}
    found["encoder"] = ratio(seconds["encoder, visible"], seconds["encoder, all"])
    found["whole"] = ratio(seconds["MAE"], seconds["MAE, token inside"])
    found["whole to encoder"] = ratio(seconds["MAE"], seconds["encoder, all"])
    if options.json:
        print(json.dumps(found))
    else:
        for name in sides:
            print(f"{name:<20}{found[f'{name}, ms']:9.1f} ms")
        print(f"encoder, visible to all tokens: {found['encoder']:.3f}")
        print(f"whole step, visible to all tokens: {found['whole']:.3f}")
        print(f"whole step to the encoder alone on all tokens: {found['whole to encoder']:.3f}")
    return found


def steps_of(options):
    """Name -> a forward and backward."""
    torch.manual_seed(0)
    config = ViTConfig(
        input=Pixels(side=options.side),
        patch=16,
        width=options.width,
        depth=options.depth,
        positions="sincos",
        pool="mean",
    )
    encoder = encoders.build(config).train()
    decoder = {"width": options.decoder_width, "depth": options.decoder_depth, "heads": 4}
    light = MAE(Given({"image": encoder}), MAEConfig(**decoder))
    inside = MAE(Given({"image": encoder}), MAEConfig(**decoder, token_inside=True))
    images = torch.randn(options.batch, 3, options.side, options.side)
    tokens = encoder.num_tokens
    hidden = torch.rand(options.batch, tokens).argsort(dim=1) < int(tokens * RATIO)
    cues = {"global.mask": hidden[:, None]}
    batch = Batch({"global": images[:, None]}, torch.arange(options.batch), cues)
    keep = visible(hidden)
    return {
        "encoder, all": lambda: back(encoder(images).tokens.square().mean(), encoder),
        "encoder, visible": lambda: back(
            encoder(images, keep=keep).tokens.square().mean(), encoder
        ),
        "MAE, token inside": lambda: back(inside(batch, CLOCK).total, inside),
        "MAE": lambda: back(light(batch, CLOCK).total, light),
    }


def back(loss, module):
    """Backward, as at the first step of an optimiser."""
    module.zero_grad(set_to_none=True)
    loss.backward()


def timed(step):
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


def ratio(some, all_of_them):
    """The median of the ratios within rounds."""
    return statistics.median(a / b for a, b in zip(some, all_of_them, strict=True))


if __name__ == "__main__":
    main()
