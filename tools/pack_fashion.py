"""Pack the built-in data set: the first 12,000 and 2,000 images of Fashion-MNIST.

    python tools/pack_fashion.py /usr/share/datasets/fashion-mnist

reads the four IDX files and writes into src/manyviews/data/builtin:

- fashion-train.png and fashion-test.png, all images below one another in a strip 28 pixels wide
  (smaller than a zlib stream of the raw array, 5.5 against 6.1 MB, and any viewer opens it);
- labels.npz with uint8 arrays "train" and "test", which only manyviews.evaluation opens;
- fashion-tail.npy, the positions in the training part that builtin:fashion-tail has: of class k the
  first n 100^(-k/9), n of the first class (the long tail of Cui et al. 2019, arXiv:1901.05555).

The source files are those of Debian's package dataset-fashion-mnist, or of
https://github.com/zalandoresearch/fashion-mnist.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from manyviews.data.idx import find_idx, read_idx

BUILTIN = Path(__file__).parent.parent / "src" / "manyviews" / "data" / "builtin"
COUNTS = {"train": 12_000, "test": 2_000}


def tail(labels: np.ndarray) -> np.ndarray:
    """[n] uint16: positions of a long-tailed part, in their order."""
    first = int((labels == 0).sum())
    sizes = [round(first * 100 ** (-k / 9)) for k in range(10)]
    chosen = [np.flatnonzero(labels == k)[:size] for k, size in enumerate(sizes)]
    return np.sort(np.concatenate(chosen)).astype(np.uint16)


def main(folder: Path) -> None:
    """Write the four files and say how large they are."""
    BUILTIN.mkdir(exist_ok=True)
    labels: dict[str, np.ndarray] = {}
    for split, count in COUNTS.items():
        images = read_idx(find_idx(folder, split, "images"))[:count]
        labels[split] = read_idx(find_idx(folder, split, "labels"))[:count]
        strip = Image.fromarray(images.reshape(-1, images.shape[2]))
        strip.save(BUILTIN / f"fashion-{split}.png", optimize=True)
    np.savez_compressed(BUILTIN / "labels.npz", **labels)
    np.save(BUILTIN / "fashion-tail.npy", tail(labels["train"]))
    for path in sorted(BUILTIN.iterdir()):
        print(f"{path.stat().st_size:>9,} {path.name}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
