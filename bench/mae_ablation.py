"""MAE's ablations at a small size, and where what it learns is to be found there.

    python bench/mae_ablation.py [--cases NAME ...] [--seeds 0 1 2] [--steps 150] [--out FILE.md]

Each training is the recipe `mae` on the built-in images with a narrow encoder and one thing
changed. One process, one thread. Each row is kept beside the page as it is made (FILE.json), with a
digest of its settings, so an interrupted bench goes on, and rows of other --cases or --seeds stay
in the page; what the page says below "What this says" is kept too. Without --out nothing is kept.

Of each encoder come kNN and a linear probe, on its output (the mean of the tokens after the final
norm) and after the best block, chosen on held-out training labels. Of the cases in WHERE, and of an
untrained encoder, also of each block, of the class token, and of the means of parts of the grid.
"""

# ruff: noqa: E402 (thread pools read their size from the environment when they are imported)
import os

for pool in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[pool] = "1"

import argparse
import hashlib
import json
import logging
import statistics
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import cv2
import torch
import torch.nn.functional as F

import manyviews
from manyviews import encoders
from manyviews.data.settings import MAX_PIXELS
from manyviews.data.sources import BUILTIN
from manyviews.evaluation import baselines
from manyviews.evaluation.knn import knn
from manyviews.evaluation.layer_choice import Tap, compare_taps
from manyviews.evaluation.linear import linear_probe
from manyviews.runs.probe import open_probe
from manyviews.runs.subject import open_subject

NARROW = {
    "encoder.width": 96,
    "encoder.depth": 4,
    "method.width": 64,
    "data.batch_size": 128,
}
"""What every training changes of the recipe, so that one takes less than a minute."""
QUIET = {"data.workers": 0, "train.health_every": 10**6, "train.log_every": 10**6}
CHOOSERS = 4000
"""Training images that the best block is chosen with."""
PARTS = 4
"""Rows and columns of parts that the grid of tokens is averaged over."""
KEPT = "## What this says"
MASK, CROP = "views.global.mask.", "views.global."
WHOLE = {CROP + "ratio": (1.0, 1.0)}
BASE, RAW, UNTRAINED = "as it is", "raw pixels", "untrained"
GROUPS = {
    "Share of hidden patches": {
        f"ratio {ratio:g}": {MASK + "ratio": ratio} for ratio in (0.25, 0.5, 0.6, 0.85, 0.9)
    },
    "Kind of mask": {
        "block 0.75": {MASK + "kind": "block"},
        "block 0.5": {MASK + "kind": "block", MASK + "ratio": 0.5},
        "grid": {MASK + "kind": "grid"},
    },
    "Decoder": {
        "depth 1": {"method.depth": 1},
        "depth 4": {"method.depth": 4},
        "depth 8": {"method.depth": 8},
        "width 32": {"method.width": 32},
        "width 128": {"method.width": 128},
    },
    "Mask token": {"token inside": {"method.token_inside": True}},
    "Targets": {
        "plain pixels": {"method.normalise_patches": False},
        "first 4 components": {
            "method.normalise_patches": False,
            "method.target": "components",
            "method.count": 4,
        },
        "all but 2 components": {
            "method.normalise_patches": False,
            "method.target": "components",
            "method.first": 2,
        },
        "codes": {"method.target": "codes"},
    },
    "Augmentation": {
        "none": {**WHOLE, CROP + "scale": (1.0, 1.0), CROP + "flip": 0.0},
        "fixed crop": {**WHOLE, CROP + "scale": (0.5, 0.5)},
        "small crops": {CROP + "scale": (0.2, 1.0)},
        "and colour": {CROP + "scale": (0.2, 1.0), CROP + "jitter": 0.8},
    },
    "Length and size": {
        "4 x the steps": {"train.steps": 4.0},
        "4 x the steps, a quarter of the batch": {"train.steps": 4.0, "data.batch_size": 32},
        "4 x the rate": {"optim.lr": 6e-3},
        "depth 8 of the encoder": {"encoder.depth": 8},
        "the recipe's own sizes": {"encoder.width": 192, "encoder.depth": 6, "method.width": 128},
    },
}
"""Group -> case -> what it changes; steps are a multiple of --steps."""
CASES = {BASE: {}} | {name: case for group in GROUPS.values() for name, case in group.items()}
WHERE = (BASE, "4 x the steps", "none")
"""The cases of which all places are looked at."""


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--out", type=Path, help="for instance docs/experiments/mae-ablation.md")
    options = parser.parse_args(arguments)
    logging.getLogger("manyviews").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    store = options.out.with_suffix(".json") if options.out else None
    rows = json.loads(store.read_text()) if store and store.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = Tokenizer(Path(folder) / "tokenizer", 2 * options.steps)
        for name in options.cases:
            for seed in options.seeds:
                key, asked = f"{name} | {seed}", settings(name, seed, options.steps)
                if rows.get(key, {}).get("digest") == digest(asked):
                    continue
                began = time.perf_counter()
                found = measured(name, asked, seed=seed, tokenizer=tokenizer)
                took = time.perf_counter() - began
                rows[key] = {"digest": digest(asked), "seconds": round(took, 1), "places": found}
                print(f"{key} ({took:.0f} s): {found['output']} {found['best']}", flush=True)
                if store:
                    store.write_text(json.dumps(rows, indent=1) + "\n")
    text = page({key: row for key, row in rows.items() if current(key, row, options)}, options)
    if options.out:
        before = options.out.read_text() if options.out.exists() else ""
        text += before[before.index(KEPT) :] if KEPT in before else f"{KEPT}\n"
        options.out.write_text(text)
    print(text)
    return rows


def settings(name, seed, steps):
    """All that a training is told beside the recipe."""
    asked = {**NARROW, "train.steps": 1.0, **CASES[name], "seed": seed}
    return asked | {"train.steps": round(asked["train.steps"] * steps)}


def current(key, row, options):
    """Whether a kept row is of a case as it is now."""
    name, _, seed = key.rpartition(" | ")
    return name in CASES and row["digest"] == digest(settings(name, int(seed), options.steps))


def digest(asked):
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]


class Tokenizer:
    """The run whose codes are predicted, trained when it is first asked for."""

    def __init__(self, run, steps):
        self.run, self.steps = run, steps

    def __str__(self):
        if not self.run.exists():
            given = {"train.steps": self.steps, "data.batch_size": 64, **QUIET}
            manyviews.train("tokenizer", data=BUILTIN, out=self.run, overrides=given)
        return str(self.run)


def measured(name, asked, *, seed, tokenizer):
    """Place -> [kNN, linear]; "best" also has which blocks. Train, then look."""
    given = {**asked, **QUIET}
    if CASES[name].get("method.target") == "codes":
        given["teachers.tokenizer"] = str(tokenizer)
    recipe = "mae-codes" if "teachers.tokenizer" in given else "mae"
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        with patch.multiple("manyviews.runs.train", _held=nothing, _report=nothing):
            manyviews.train(recipe, data=BUILTIN, out=run, overrides=given)
        subject = open_subject(run).eval()
    probe = open_probe(BUILTIN, subject.input, max_pixels=MAX_PIXELS, device=torch.device("cpu"))
    found = places(subject.encoder, probe, everywhere=name in WHERE)
    if name == BASE:
        torch.manual_seed(seed)
        before = places(encoders.build(subject.config).eval(), probe, everywhere=True)
        found |= {f"{UNTRAINED}, {place}": values for place, values in before.items()}
        split = probe.split(baselines.pixels(subject.input))
        near = knn(split.train_x, split.train_y, split.test_x, k=20)
        found[RAW] = share(near == split.test_y)
    return found


def nothing(*_, **__):
    """Instead of verdict and report, which would take longer than the training."""


def places(encoder, probe, *, everywhere):
    """Place -> [kNN, linear], of one encoder."""
    names, widths = ["output", "class token", "parts"], []
    blocks = [f"block {k + 1}" for k in range(len(encoder.model.blocks))]

    def embed(x):
        made = encoder(x, blocks=len(blocks))
        grid = made.tokens.transpose(1, 2).unflatten(2, encoder.grid)
        parts = F.adaptive_avg_pool2d(grid, PARTS).flatten(1)
        every = [made.pooled, made.class_token, parts, *(h.mean(dim=1) for h in made.hidden)]
        widths[:] = [one.shape[1] for one in every]
        return torch.cat(every, dim=1)

    split = probe.split(embed)
    train, test = (
        dict(zip([*names, *blocks], x.split(widths, dim=1), strict=True))
        for x in (split.train_x, split.test_x)
    )
    labels = split.train_y, split.test_y
    asked = [*names, *blocks] if everywhere else ["output"]
    found = {name: both(train[name], test[name], *labels) for name in asked}
    drawn = torch.randperm(len(labels[0]), generator=torch.Generator().manual_seed(0))
    few = drawn[:CHOOSERS]
    taps = {Tap(k + 1): train[name][few] for k, name in enumerate(blocks)}
    scores = compare_taps(taps, labels[0][few])
    near, apart = (f"block {scores.best(nearest=n).block}" for n in (True, False))
    both_best = (both(train[name], test[name], *labels) for name in (near, apart))
    best = [values[k] for k, values in enumerate(both_best)]
    return found | {"best": [*best, near, apart]}


def both(train_x, test_x, train_y, test_y):
    """KNN and linear accuracy."""
    near = knn(train_x, train_y, test_x, k=20)
    apart, _ = linear_probe(train_x, train_y, test_x)
    return [share(near == test_y), share(apart == test_y)]


def share(right):
    return round(float(right.double().mean()), 4)


def page(rows, options):
    """All rows that are kept, as Markdown."""
    narrow = ", ".join(f"`--{key.replace('_', '-')} {value}`" for key, value in NARROW.items())
    lines = [
        "# MAE's ablations at a small size",
        "",
        f"MAE's recipe on `{BUILTIN}` for {options.steps} steps, with {narrow}; each row changes "
        f"what it names and nothing else. Mean and standard deviation over the seeds of a row; "
        "where one stands alone there was one seed. kNN is cosine, k=20, T=0.07; linear is batch "
        "norm without affine and a linear layer, its decay chosen on held-out training labels; "
        "12,000 labels to learn from, 2,000 images to test. Output: the mean of the patch tokens "
        f"after the final norm. Best block: their mean after the block that {CHOOSERS:,} training "
        "images choose, on labels held out of them.",
    ]
    for group, cases in GROUPS.items():
        made = [line for name in (BASE, *cases) if (line := row(name, rows))]
        if len(made) > 1 or (made and group == next(iter(GROUPS))):
            lines += ["", f"## {group}", "", *HEAD, *made]
    return "\n".join([*lines, *where(rows), *commands(options), "", ""])


HEAD = (
    "| | kNN, output | linear, output | kNN, best block | linear, best block | blocks | changed |",
    "|---|---:|---:|---:|---:|---|---|",
)


def row(name, rows):
    """One case's, "" where there is none."""
    found = [value["places"] for value in of(name, rows)]
    if not found:
        return ""
    cells = [spread([p[at][k] for p in found]) for at in ("output", "best") for k in (0, 1)]
    blocks = ", ".join(f"{p['best'][2][6:]}/{p['best'][3][6:]}" for p in found)
    return f"| {name} | {' | '.join(cells)} | {blocks} | {flags(CASES[name])} |"


def of(name, rows):
    return [value for key, value in rows.items() if key.rpartition(" | ")[0] == name]


def spread(values):
    """Mean and deviation."""
    mean = statistics.fmean(values)
    return f"{mean:.3f} ± {statistics.stdev(values):.3f}" if len(values) > 1 else f"{mean:.3f}"


def flags(changed):
    """As the command line takes them."""
    said = []
    for key, value in changed.items():
        name = key.replace("_", "-")
        if key == "train.steps":
            said.append(f"{value:g} x `--{name}`")
        elif value is True or value is False:
            first, last = name.rsplit(".", 1)
            said.append(f"`--{first}.{'' if value else 'no-'}{last}`")
        else:
            several = value if isinstance(value, tuple) else (value,)
            said.append(f"`--{name} {' '.join(str(v) for v in several)}`")
    return " ".join(said)


def where(rows):
    """A row a place; two columns a case."""
    cases = [(name, "") for name in WHERE if of(name, rows)]
    cases += [(BASE, f"{UNTRAINED}, ")] if cases and cases[0][0] == BASE else []
    if not cases:
        return []
    titles = [UNTRAINED if before else name for name, before in cases]
    kinds = " | ".join(f"{title}, kNN | linear" for title in titles)
    lines = ["", "## Where in the encoder", ""]
    lines += [f"| features | {kinds} |", "|---|" + "---:|" * (2 * len(cases))]
    first = of(*cases[0][:1], rows)[0]["places"]
    named = [p for p in first if p != "best" and not p.startswith((UNTRAINED, RAW))]
    for place in sorted(named, key=lambda p: (not p.startswith("block"), p)):
        cells = [
            spread([value["places"][before + place][k] for value in of(name, rows)])
            for name, before in cases
            for k in (0, 1)
        ]
        lines.append(f"| {place} | {' | '.join(cells)} |")
    if RAW in first:
        lines += ["", f"Raw pixels: kNN {first[RAW]:.3f}."]
    return [
        *lines,
        "",
        f"A block's is the mean of its patch tokens; parts are the means of {PARTS} x {PARTS} "
        "parts of the output's tokens, side by side; the class token is taken after the final "
        "norm. "
        '"none" trains without crops and flips.',
    ]


def commands(options):
    """How to make the page, and one of its rows by hand."""
    asked = {**NARROW, "train.steps": options.steps, "seed": 0}
    by_hand = " ".join(f"--{key.replace('_', '-')} {value}" for key, value in asked.items())
    return [
        "",
        "## Commands",
        "",
        "    python bench/mae_ablation.py --out docs/experiments/mae-ablation.md",
        f"    manyviews train mae --data {BUILTIN} --out RUN {by_hand}",
        f"    manyviews evaluate RUN --data {BUILTIN} --protocol knn linear",
        "",
        "A row's flags are added to the second line; `codes` is the recipe `mae-codes` with a "
        f"tokenizer trained for {2 * options.steps} steps of 64 images.",
    ]


if __name__ == "__main__":
    main()
