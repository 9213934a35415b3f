"""Does PMSN's prior help where few classes hold most of the data? MSN beside it, by seeds.

    python bench/unbalanced.py [--steps 1500] [--seeds 0 1] [--data builtin:fashion-tail]

`builtin:fashion-tail` has 1,122 images of its first class and 11 of its last; what is tested has
about as many of each. What raw pixels and the untrained encoder reach stands first. "No Sinkhorn"
is MSN with PMSN's other change alone, so that the prior is seen by itself.
"""

import argparse
import logging
import tempfile
from pathlib import Path

import manyviews

SETTINGS = {"data.batch_size": 64, "train.minutes": 0.0, "data.workers": 0}
ARMS = {
    "msn": ("msn", {}),
    "msn, no Sinkhorn": ("msn", {"method.rounds": 0}),
    "pmsn": ("pmsn", {}),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1])
    parser.add_argument("--data", default="builtin:fashion-tail")
    options = parser.parse_args()
    logging.getLogger("manyviews").setLevel(logging.ERROR)
    print("| arm | seed | kNN | 95 % interval |\n|---|---|---|---|")
    beside = False
    for seed in options.seeds:
        for arm, (recipe, given) in ARMS.items():
            with tempfile.TemporaryDirectory() as folder:
                run = Path(folder) / "run"
                settings = {**SETTINGS, **given, "train.steps": options.steps, "seed": seed}
                manyviews.train(recipe, data=options.data, out=run, overrides=settings)
                [found] = manyviews.evaluate(run, data=options.data, baselines=not beside).found
            rows = {} if beside else {f"{name} | ": row for name, row in found.beside.items()}
            beside = True
            for name, row in (rows | {f"{arm} | {seed}": found.result}).items():
                low, high = row.interval
                print(f"| {name} | {row.value:.3f} | {low:.3f} to {high:.3f} |", flush=True)


if __name__ == "__main__":
    main()
