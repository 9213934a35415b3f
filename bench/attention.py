"""Attention on the CPU in bfloat16: torch's own gradient beside that of training/precision.py.

    OMP_NUM_THREADS=1 python bench/attention.py [--rounds 9]

Forward and backward by turns, the median of the ratios of neighbours; one thread.
"""

import argparse
import statistics
import time

import torch
import torch.nn.functional as F

from manyviews.training import precision

SHAPES = {
    "ViT, 28 px, patch 4": (64, 3, 50, 64),
    "narrower heads": (128, 6, 50, 32),
    "small crops": (128, 3, 17, 64),
    "256 tokens": (32, 6, 256, 32),
    "ViT, 224 px, patch 16": (16, 12, 197, 64),
    "clip of 8 x 7 x 7 tubelets": (8, 6, 392, 64),
    "clip of 16 x 7 x 7 tubelets": (4, 6, 784, 64),
}
"""[samples, heads, tokens, channels]."""


def seconds(parts, gradient, *, wide):
    began = time.perf_counter()
    if wide:
        with precision.mixed(torch.device("cpu"), torch.bfloat16):
            out = F.scaled_dot_product_attention(*parts)
    else:
        out = F.scaled_dot_product_attention(*parts)
    out.backward(gradient)
    return time.perf_counter() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(1)
    precision._SHORT = 1 << 30  # to see where it stops to pay
    print("| | samples, heads, tokens, channels | torch's | ours | torch's / ours |")
    print("|---|---|---:|---:|---:|")
    for name, shape in SHAPES.items():
        *heads, gradient = (torch.randn(shape, dtype=torch.bfloat16) for _ in range(4))
        parts = [x.requires_grad_() for x in heads]
        for wide in (False, True):
            seconds(parts, gradient, wide=wide)
        found = [
            [seconds(parts, gradient, wide=wide) for wide in (False, True)]
            for _ in range(options.rounds)
        ]
        theirs, ours = (1e3 * statistics.median(column) for column in zip(*found, strict=True))
        ratio = statistics.median(a / b for a, b in found)
        print(f"| {name} | {shape} | {theirs:.0f} ms | {ours:.0f} ms | {ratio:.1f} |", flush=True)


if __name__ == "__main__":
    main()
