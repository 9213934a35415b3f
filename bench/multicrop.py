"""Forward and backward of multi-crop through a ViT: resolutions packed against one by one.

    python bench/multicrop.py --sides 64 32 --patch 8 --batch 8 --threads 1

Interleaved; prints the median time of each and the median of the ratios within pairs.
"""

import argparse
import json
import statistics
import time

import torch

from manyviews import encoders
from manyviews.encoders import EncoderConfig, vit


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="vit_tiny_patch16_224")
    parser.add_argument("--patch", type=int, default=8)
    parser.add_argument("--sides", type=int, nargs=2, default=(64, 32), help="global, local")
    parser.add_argument("--counts", type=int, nargs=2, default=(2, 6))
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="fp32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    vit.PACKED = 1 << 60  # always pack, to see where it pays
    config = EncoderConfig(name=options.name, image_size=options.sides[0], patch=options.patch)
    encoder = encoders.build(config).train().to(options.device)
    images = [
        torch.randn(options.batch * count, 3, side, side, device=options.device)
        for count, side in zip(options.counts, options.sides, strict=True)
    ]
    ways = {
        "separate": lambda: [encoder(x).pooled for x in images],
        "packed": lambda: encoder.pooled(images),
    }
    times = {name: [] for name in ways}
    for repeat in range(options.repeats + 2):
        for name, encode in ways.items():
            spent = timed(encoder, encode, options)
            if repeat > 1:
                times[name].append(spent)
    ratios = [a / b for a, b in zip(times["separate"], times["packed"], strict=True)]
    tokens = sum(len(x) * (x.shape[2] // options.patch) ** 2 for x in images)
    row = {f"{name}_ms": round(1000 * statistics.median(t), 1) for name, t in times.items()}
    row |= {"tokens": tokens, "separate_to_packed": round(statistics.median(ratios), 3)}
    print(json.dumps([row]) if options.json else row)


def timed(encoder, encode, options):
    kind = torch.device(options.device).type
    if kind == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    with torch.autocast(kind, torch.bfloat16, enabled=options.precision == "bf16"):
        encoded = encode()
    sum(e.float().square().sum() for e in encoded).backward()
    encoder.zero_grad()
    if kind == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
