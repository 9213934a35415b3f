"""Choose without labels among checkpoints, and among settings, and see what labels would have had.

    python bench/choosing.py [--parts checkpoints settings] [--steps 240] [--out FILE.md]

Trainings are small: the built-in images, `resnet_small` of width 8 or a short ViT, 64 images a
step. Labels come afterwards and choose nothing: kNN on 2,000 test images is what a choice is worth.
Of each training eight checkpoints are kept. The oracle is the best of them by kNN, which is luck
to a part, as kNN has an interval of ± 2 points. The settings are chosen between by
`manyviews compare --choose`: 12 runs, six settings of each of two methods. What is measured is kept
in FILE.json, and only what is not there is made.
"""

import argparse
import json
import logging
import math
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import late
import torch

from manyviews.data.sources import BUILTIN
from manyviews.diagnosis.choosing import Candidate, choose_setting, spearman
from manyviews.diagnosis.course import choose, trend
from manyviews.diagnosis.rank import rankme
from manyviews.evaluation.features import extract
from manyviews.evaluation.knn import knn
from manyviews.evaluation.labelled import open_labelled
from manyviews.recipes import RECIPES, one_duration
from manyviews.runs import diagnose
from manyviews.runs import train as running
from manyviews.runs.assemble import assemble, embed_with
from manyviews.runs.facts import facts
from manyviews.runs.folder.paths import Paths
from manyviews.runs.look import look_at_method, see
from manyviews.training import checkpoint
from manyviews.verbs.flags import settle
from manyviews.verbs.train import execute
from manyviews.views.by_input import plain_of

KEPT, BANK, NEAR = 8, 4000, 0.005
RESNET = {"encoder.width": 8}
COMMON = {"data.batch_size": 64, "data.workers": 0, "train.log_every": 50, "train.keep": 99}
MARK = "<!-- made by bench/choosing.py -->\n"
"""What stands before it in the document stays."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A training; `fault` breaks it after each step of its second half, as in `late.py`."""

    recipe: str
    fault: object = None
    given: dict = field(default_factory=lambda: RESNET)


CHECKPOINTS = {
    **{
        name: Plan(recipe=name)
        for name in (
            *("simclr", "moco", "nnclr", "byol", "simsiam"),
            *("barlow", "vicreg", "swav", "dino"),
        )
    },
    "ijepa": Plan(recipe="ijepa", given=late.SHORT),
    "variance no longer held (vicreg)": Plan(recipe="vicreg", fault=late.spread_unheld),
    "directions die (simclr)": Plan(recipe="simclr", fault=late.directions_die),
    "weights are shaken (byol)": Plan(recipe="byol", fault=late.learns_too_fast),
}
SETTINGS = {
    "simclr": ("method.temperature", (0.05, 0.1, 0.2, 0.5, 1.0, 3.0)),
    "vicreg": ("method.covariance", (0.0, 0.1, 0.3, 1.0, 4.0, 16.0)),
}


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="*", default=["checkpoints", "settings"])
    parser.add_argument("--only", nargs="*", default=list(CHECKPOINTS))
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="for instance docs/experiments/choosing.md")
    options = parser.parse_args(arguments)
    logging.getLogger("manyviews").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    running._report = running._held = lambda *_, **__: None  # a page for each costs more than it
    kept = options.out.with_suffix(".json") if options.out else None
    found = json.loads(kept.read_text()) if kept and kept.is_file() else {}
    for name, plan, given in asked(options):
        if name not in found:
            found[name] = followed(plan, given, options)
            print(
                name, [round(c["knn"], 3) for c in found[name]["checkpoints"].values()], flush=True
            )
        if kept:
            kept.write_text(json.dumps(found, indent=1) + "\n")
    text = "\n".join(PARTS[part](found, options) for part in options.parts)
    print(text)
    if options.out:
        before = options.out.read_text() if options.out.is_file() else "# Choosing\n\n"
        options.out.write_text(before.partition(MARK)[0] + MARK + "\n" + text)
    return found


def asked(options):
    """(name, plan, settings) of each training."""
    if "checkpoints" in options.parts:
        for name in options.only:
            yield name, CHECKPOINTS[name], {}
    if "settings" in options.parts:
        for recipe, (path, values) in SETTINGS.items():
            for value in values:
                yield f"{recipe}, {path} {value}", Plan(recipe=recipe), {path: value}


def followed(plan, given, options):
    """Train, and measure every checkpoint without labels and by kNN."""
    default = RECIPES[plan.recipe](facts(BUILTIN))
    told = COMMON | plan.given | given | {"train.steps": options.steps, "seed": options.seed}
    every = options.steps // KEPT if not given else options.steps
    run = one_duration(settle(default, told | {"train.checkpoint_every": every}), default)

    def altered(run, **more):
        assembly = assemble(run, **more)
        if plan.fault is not None:
            late.later(assembly.method, plan.fault)
        return assembly

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        running.assemble = altered
        try:
            execute(run, out=out)
        finally:
            running.assemble = assemble
        lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        assembly = diagnose.assembly_of(out)
        look, rows = look_at_method(assembly), range(len(assembly.source))
        history = dict(diagnose.checkpoints_of(assembly, out, look, assembly.source, rows))
        history = {step: dict(numbers) for step, numbers in history.items() if step > 0}
        for step in [s for s in checkpoint.steps(Paths(out).checkpoints) if s > 0]:
            checkpoint.load(
                checkpoint.path_of(Paths(out).checkpoints, step), method=assembly.method
            )
            history.setdefault(step, {})["knn"] = accuracy(assembly)
        last = max(history)
        history[last]["projector"] = rank_of_projector(look, assembly)
    alarms = [line["name"] for line in lines if line["kind"] == "alarm"]
    return {"checkpoints": {str(s): n for s, n in history.items()}, "alarms": alarms}


def accuracy(assembly):
    """Of kNN, by labels of other images."""
    embed, parts = embed_with(assembly.method.encoder, assembly.device), []
    for split, count in (("train", BANK), ("test", None)):
        data = open_labelled(BUILTIN, channels=1, max_pixels=10**6, split=split)
        rows = range(len(data.labels))[slice(-count if count else None, None)]
        seen = extract(embed, data.source, plain_of(assembly.method.encoder.input), rows=rows)
        parts += [seen.features, data.labels[list(rows)]]
    return (knn(*parts[:3]) == parts[3]).float().mean().item()


def rank_of_projector(look, assembly):
    """RankMe of what the loss sees, of 1,000 samples of the training."""
    index = torch.linspace(0, len(assembly.source) - 1, 1000).long().unique().numpy()
    seen = see(look, assembly.source, index, views=2)
    return rankme(seen.plain.get("projector", seen.plain["encoder"]))


def by_highest(measure):
    """The checkpoint at which a measure is highest."""
    return lambda known, _: max(known, key=lambda s: known[s].get(measure, -math.inf))


def last(known, alarms):
    """The newest checkpoint."""
    del alarms
    return max(known)


def last_unless(known, alarms):
    """The newest one, unless an alarm was raised or `trend` says that it gets worse."""
    worse = alarms or trend(sorted(known.items())).state == "getting worse"
    return choose(known) if worse else max(known)


RULES = {
    "last": last,
    "LiDAR": by_highest("lidar"),
    "view consistency": by_highest("view_consistency"),
    "RankMe": by_highest("rankme"),
    "DSE": by_highest("dse"),
    "LiDAR, ties by views": lambda known, _: choose(known),
    "last, LiDAR after an alarm": last_unless,
}


def checkpoints(found, options):
    """The table of checkpoints, a row a training: points below the best by labels."""
    lines = ["| training | best of labels | " + " | ".join(RULES) + " |"]
    lines.append("|" + "---|" * (2 + len(RULES)))
    lost = {rule: {} for rule in RULES}
    for name in options.only:
        known = {int(s): n for s, n in found[name]["checkpoints"].items()}
        best = max(known, key=lambda s: known[s]["knn"])
        cells = []
        for rule, chooses in RULES.items():
            step = chooses(known, found[name]["alarms"])
            lost[rule][name] = known[best]["knn"] - known[step]["knn"]
            cells.append(f"{100 * lost[rule][name]:.1f} (step {step})")
        cells = [name, f"{100 * known[best]['knn']:.1f} (step {best})", *cells]
        lines.append("| " + " | ".join(cells) + " |")
    for said, of in (
        ("as they are", [n for n in options.only if CHECKPOINTS[n].fault is None]),
        ("broken half-way", [n for n in options.only if CHECKPOINTS[n].fault is not None]),
    ):
        near = [str(sum(by[n] <= NEAR + 1e-9 for n in of)) for by in lost.values()]
        cells = [f"**within half a point, of {len(of)} {said}**", "", *near]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def settings(found, options):
    """The table of settings, a row a run, and what was chosen."""
    del options
    lines = ["| run | RankMe of the projector | kNN |", "|---|---|---|"]
    said = []
    for recipe, (path, values) in SETTINGS.items():
        some = []
        for value in values:
            known = found[f"{recipe}, {path} {value}"]["checkpoints"]
            one = known[max(known, key=int)]
            some.append(
                Candidate(
                    name=f"{recipe}-{value}", rank=one["projector"], settings={path: value},
                    accuracies={"kNN": one["knn"]},
                )
            )  # fmt: skip
            lines.append(
                f"| {recipe}, {path} {value} | {one['projector']:.1f} | {100 * one['knn']:.1f} |"
            )
        chosen = choose_setting(some)
        [oracle] = chosen.oracles
        agreement = spearman([c.rank for c in some], [c.accuracies["kNN"] for c in some])
        said.append(
            f"{recipe}: chosen {chosen.setting} ({chosen.why}), "
            f"{100 * (oracle.value - oracle.chosen):.1f} points below {oracle.setting}, the best; "
            f"rank correlation {agreement:.2f}."
        )
    return "\n".join([*lines, "", *said, ""])


PARTS = {"checkpoints": checkpoints, "settings": settings}

if __name__ == "__main__":
    main()
