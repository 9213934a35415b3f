"""Does multi-crop improve every method? Four methods, two views or more, with equal work.

    nice -n 10 python bench/multicrop.py [--passes 5] [--seeds 0 1] [--methods NAME ...]

Work is counted as in bench/methods.py: the operations of all calls of the encoder, those with
gradient three times, heads not. The budget is what SimCLR with two views needs for `--passes` over
the built-in images; a step with small crops costs more, so there are fewer of them. What was
trained lies below --runs, and what was measured of it in a JSON file beside the page: as long as
settings and steps stay what they are, nothing is done twice. What the page says below "What this
says" is kept.
"""

import argparse
import json
import logging
import platform
from pathlib import Path
from statistics import fmean

import methods as table
import torch
import work

import manyviews
from manyviews.core.settings import parts
from manyviews.evaluation.intervals import bootstrap

METHODS = {
    "SimCLR": "simclr-multicrop",
    "SeLa-v2": "sela-v2",
    "DeepCluster-v2": "deepcluster",
    "SwAV": "swav",
}
VIEWS = {"2 views": {"views.local.count": 0}, "multi-crop": {}}
MEASURED = {"knn": "kNN", "linear": "linear"}
KEPT = "## What this says"


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--passes", type=float, default=5.0, help="of SimCLR with two views")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1])
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--runs", type=Path, default=Path("runs/multicrop"))
    parser.add_argument("--out", type=Path, default=Path("docs/experiments/multicrop.md"))
    options = parser.parse_args(arguments)
    logging.getLogger("manyviews").setLevel(logging.ERROR)
    plan = planned(options.methods, options.passes)
    store = options.out.with_suffix(".json")
    for seed in options.seeds:
        for case in plan:
            kept = read(store)
            if not is_there(kept, case, seed, plan):
                found = made(case, seed, plan, options.runs)
                if found is not None:
                    beside = kept["beside"] or found.pop("beside")
                    rows = kept["rows"] | {key(case, seed): found}
                    store.write_text(json.dumps({"beside": beside, "rows": rows}, indent=1) + "\n")
                    options.out.write_text(page(plan, read(store), options))
    text = page(plan, read(store), options)
    options.out.write_text(text)
    print(text)


def planned(names, passes):
    """(method, views) -> its cost and as many steps as the budget allows."""
    budget = work.of_passes(work.cost(table.UNIT), passes)
    plan = {}
    for name in names:
        for views, given in VIEWS.items():
            cost = work.cost(METHODS[name], given)
            plan[name, views] = cost, cost.steps(budget)
            print(f"{name}, {views}: {plan[name, views][1]} steps", flush=True)
    return plan


def key(case, seed):
    return f"{case[0]}, {case[1]}, {seed}"


def digest(case, plan):
    """Of what the row was trained with."""
    return table.digest(METHODS[case[0]], plan[case][1], VIEWS[case[1]])


def is_there(kept, case, seed, plan):
    return kept["rows"].get(key(case, seed), {}).get("digest") == digest(case, plan)


def read(store):
    return json.loads(store.read_text()) if store.exists() else {"beside": {}, "rows": {}}


def made(case, seed, plan, runs):
    """Train a case and measure it with labels; None where training fails."""
    name, views = case
    mark = digest(case, plan)
    run = runs / f"{METHODS[name]}-{views.replace(' ', '-')}-{seed}-{mark}"
    done = table.train(METHODS[name], plan[case][1], seed, run, VIEWS[views])
    if done is None:
        return None
    measured = manyviews.evaluate(done, data=work.DATA, protocol=tuple(MEASURED)).found
    found = {"digest": mark, "torch": torch.__version__, "machine": platform.machine()}
    found["beside"] = {
        protocol: {other: result.value for other, result in one.beside.items()}
        for protocol, one in zip(MEASURED, measured, strict=True)
    }
    for protocol, one in zip(MEASURED, measured, strict=True):
        [right] = one.result.right[one.result.metric]
        found[protocol] = {
            "value": one.result.value,
            "interval": one.result.interval,
            "right": f"{int(right, 2):0{len(right) // 4}x}",
            "of": len(right),
        }
    print(f"{key(case, seed)}: kNN {found['knn']['value']:.3f}", flush=True)
    return found


def page(plan, kept, options):
    """The tables as Markdown, and what was written below them."""
    before = options.out.read_text() if options.out.exists() else ""
    said = before[before.index(KEPT) :] if KEPT in before else f"{KEPT}\n"
    there = {
        (case, seed): kept["rows"][key(case, seed)]
        for case in plan
        for seed in options.seeds
        if is_there(kept, case, seed, plan)
    }
    lines = [introduction(options), "", *of_work(plan), ""]
    for protocol, word in MEASURED.items():
        lines += [*of_accuracy(plan, there, protocol, word, options.seeds), ""]
        others = kept["beside"].get(protocol, {})
        if others:
            beside = ", ".join(f"{name} {value:.3f}" for name, value in others.items())
            lines += [f"Beside, {word}: {beside}.", ""]
    return "\n".join(lines) + "\n" + said.rstrip() + "\n"


def introduction(options):
    """What was done."""
    seeds = " ".join(map(str, options.seeds))
    [local] = {parts(work.settled(name).views)["local"] for name in METHODS.values()}
    return (
        "# Multi-crop with equal work\n\n"
        "Caron et al. ([arXiv:2006.09882](https://arxiv.org/abs/2006.09882), figure 3) report "
        "that small crops beside the two views improve SimCLR, SeLa-v2, DeepCluster-v2 and SwAV. "
        f"Here each trains on the 12,000 images of `{work.DATA}` by its own recipe, with two "
        f"views of 28 px or with {local.count} crops of {local.size} px more, and with the same "
        f"work of the encoder: what SimCLR with two views needs for {options.passes:g} passes, "
        "counted as in [results](../results.md). So multi-crop has fewer steps. kNN (cosine, "
        "k=20, T=0.07) and a linear layer learn from 12,000 training labels and are tested on "
        "2,000 images; in brackets the 95 % interval over these.\n\n"
        f"Made by `python bench/multicrop.py --passes {options.passes:g} --seeds {seeds}` "
        f"({platform.machine()}, torch {torch.__version__}, no GPU)."
    )


def of_work(plan):
    """A row a case: what it costs, and what the budget comes to."""
    lines = ["| method | views | GFLOP an image | steps | passes |", "|---|---|---:|---:|---:|"]
    for (name, views), (cost, steps) in plan.items():
        image, passes = cost.step / cost.batch / 1e9, cost.passes(steps)
        lines.append(f"| {name} | {views} | {image:.3f} | {steps:,} | {passes:.1f} |")
    return lines


def of_accuracy(plan, there, protocol, word, seeds):
    """A row a method: each side by seed, and what multi-crop adds."""
    sides = [f"{views}, seed {seed}" for views in VIEWS for seed in seeds]
    lines = [
        f"| {word} | {' | '.join(sides)} | multi-crop less 2 views |",
        "|---|" + "---:|" * (len(sides) + 1),
    ]
    for name in dict.fromkeys(name for name, _ in plan):
        cells, right = [], {views: [] for views in VIEWS}
        for views in VIEWS:
            for seed in seeds:
                row = there.get(((name, views), seed), {}).get(protocol)
                cells.append("" if row is None else estimate(row["value"], *row["interval"]))
                right[views].append(None if row is None else bits(row))
        lines.append(f"| {name} | {' | '.join(cells)} | {gain(right)} |")
    return lines


def gain(right):
    """The mean over images and seeds of what is right with multi-crop and not without."""
    pairs = [(a, b) for a, b in zip(*right.values(), strict=True) if not (a is None or b is None)]
    if not pairs:
        return ""
    found = bootstrap(torch.stack([b - a for a, b in pairs]).mean(dim=0))
    seeds = [float((b - a).mean()) for a, b in pairs]
    assert abs(fmean(seeds) - found.value) < 1e-9
    return estimate(found.value, found.low, found.high, sign="+")


def bits(row):
    """[Q] float64, 1 where the test image was classified rightly."""
    text = f"{int(row['right'], 16):0{row['of']}b}"
    return torch.tensor([float(c) for c in text], dtype=torch.float64)


def estimate(value, low, high, sign=""):
    return f"{value:{sign}.3f} ({low:{sign}.3f} to {high:{sign}.3f})"


if __name__ == "__main__":
    main()
