"""Break trainings on purpose and see after how many steps an alarm says so.

    python bench/collapse.py [--steps 300] [--methods byol dino] [--out FILE.md]

Every method is trained for --steps on the built-in images with its own recipe on a small encoder:
once as it is (any alarm is a false one), and once with each fault that can be put into it. An
alarm "before training" comes from the check of the wiring, the others from the health checks.
"""

import argparse
import json
import logging
import re
import tempfile
from pathlib import Path

import torch
from torch import nn

from manyviews.core.settings import parts
from manyviews.data.sources import BUILTIN
from manyviews.recipes import RECIPES, needs_start, one_duration, streams_of
from manyviews.runs import train as running
from manyviews.runs.assemble import assemble
from manyviews.runs.facts import facts
from manyviews.verbs.flags import settle
from manyviews.verbs.train import execute

SMALL = {
    "encoder.width": 16,
    "data.batch_size": 128,
    "train.health_every": 10,
    "train.log_every": 100,
    "data.workers": 0,
}
OFF = {"scale": (1.0, 1.0), "ratio": (1.0, 1.0), "flip": 0.0, "jitter": 0.0, "grey": 0.0}
OFF |= {"blur": (0.0,), "solarize": (0.0,)}
LOCAL = "views.local.count"
METHODS = [
    n
    for n in RECIPES
    if "-" not in n and streams_of(n) == ("image",) and not needs_start(n) and n != "distill"
]


def predictor_removed(method):
    """BYOL without what keeps it from agreeing on a constant."""
    method.predictor = nn.Identity()


def target_is_student(method):
    """The slow copy is the trained network itself."""
    online = method.online
    method.target.copy = online


class Constant(nn.Module):
    """Always the same output, whatever comes in; it has a gradient, so nothing else is wrong."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, *given, **named):
        out = self.inner(*given, **named)
        fixed = torch.linspace(-1, 1, out.shape[-1], device=out.device).to(out.dtype)
        return out * 1e-8 + fixed


def constant_head(method):
    """The projector, or MAE's decoder, says the same of every image."""
    for owner, name in (
        *((getattr(method, "online", None), n) for n in ("head",)),
        *((method, n) for n in ("head", "projector", "decoder")),
    ):
        inner = getattr(owner, name, None)
        if isinstance(inner, nn.Module):
            setattr(owner, name, wrap(inner))
            return
    raise LookupError(f"{type(method).__name__} has no head that is known here")


def wrap(inner):
    """A DINO head keeps its prototypes; what they see becomes constant."""
    if hasattr(inner, "embed") and hasattr(inner, "last_layer"):
        real = inner.embed
        inner.embed = lambda x: Constant(lambda y: real(y))(x)
        return inner
    if isinstance(inner, nn.Sequential):
        return nn.Sequential(Constant(inner))
    return Constant(inner)


FAULTS = {
    "predictor removed": (("byol",), predictor_removed, {}),
    "teacher temperature 1": (
        ("dino",),
        None,
        {"method.teacher_temperature.start": 1.0, "method.teacher_temperature.end": 1.0},
    ),
    "teacher shares storage": (("byol", "dino"), target_is_student, {}),
    "constant head": (None, constant_head, {}),
    "no augmentation": (
        ("simclr", "moco", "byol", "swav", "dino", "barlow", "vicreg", "er", "deepcluster"),
        None,
        {f"views.global.{k}": v for k, v in OFF.items()} | {LOCAL: 0},
    ),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--methods", nargs="*", default=METHODS)
    parser.add_argument("--faults", nargs="*", default=["none", *FAULTS])
    parser.add_argument("--out", type=Path, help="for instance docs/experiments/collapse.md")
    options = parser.parse_args()
    logging.getLogger("manyviews").setLevel(logging.ERROR)
    rows = []
    print(f"{'method':<12}{'fault':<26}{'first alarm':>16}  names")
    for name in options.methods:
        for fault in options.faults:
            methods, change, settings = FAULTS.get(fault, (None, None, {}))
            if methods is not None and name not in methods:
                continue
            alarms = train(name, options.steps, change, settings)
            rows.append({"method": name, "fault": fault, "alarms": alarms})
            when = alarms[0]["step"] if alarms else None
            said = "none" if when is None else "before training" if when == 0 else f"step {when}"
            names = ", ".join(dict.fromkeys(a["name"] for a in alarms))
            print(f"{name:<12}{fault:<26}{said:>16}  {names}", flush=True)
    if options.out:
        options.out.write_text(page(rows, options.steps))


def page(rows, steps):
    """The table as Markdown, a row a method."""
    faults = list(dict.fromkeys(row["fault"] for row in rows))
    found = {(row["method"], row["fault"]): row["alarms"] for row in rows}
    lines = [
        "# Broken on purpose: after how many steps does an alarm say so?",
        "",
        f"Each method trained for {steps} steps of 128 images on `builtin:fashion` with its recipe "
        "(`resnet_small` of width 16; MAE its own ViT), seed 0, a health check every 10 steps: as "
        "it is, and with each fault that can be put into it. The step is that of the first alarm; "
        '"before" is the check of the wiring, before the first step. An empty cell: the method has '
        "no such part. With other settings the steps differ: most rules want three checks in a row "
        "and wait for 5 to 20 % of the training where something was wrong from the start.",
        "",
        "| method | " + " | ".join("as it is" if f == "none" else f for f in faults) + " |",
        "|" + "---|" * (len(faults) + 1),
    ]
    for method in dict.fromkeys(row["method"] for row in rows):
        cells = [cell(found.get((method, fault)), fault) for fault in faults]
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", "Made by `python bench/collapse.py --out FILE`.", ""])


def cell(alarms, fault):
    if alarms is None:
        return ""
    if not alarms:
        return "no alarm" if fault == "none" else "**not found**"
    step = alarms[0]["step"]
    return ("before" if step == 0 else f"{step}") + f": {alarms[0]['name']}"


def train(name, steps, change, settings):
    """The alarms of one training."""
    default = RECIPES[name](facts(BUILTIN))
    given = {k: v for k, v in SMALL.items() if name != "mae" or not k.startswith("encoder")}
    given |= {k: v for k, v in settings.items() if k != LOCAL or "local" in parts(default.views)}
    run = one_duration(settle(default, given | {"train.steps": steps}), default)

    def altered(run):
        assembly = assemble(run)
        if change is not None:
            change(assembly.method)
        return assembly

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        running.assemble = altered
        try:
            execute(run, out=out)
        finally:
            running.assemble = assemble
        lines = (out / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines if re.search(r'"kind": "alarm"', line)]
    return [{"step": r["step"], "name": r["name"]} for r in records]


if __name__ == "__main__":
    main()
