"""Trainings whose right verdict is known before they are judged; `verdict.py` judges them.

Every one is small: 28 pixels, `resnet_small` of width 16 or 4, 1,000 images (some 250 or 60), 64 or
32 a batch.
"""

import json
import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from collapse import FAULTS
from PIL import Image
from plans import plans

from manyviews.core.settings import parts
from manyviews.data.sources import BUILTIN, open_data
from manyviews.recipes import one_duration
from manyviews.runs import diagnose as diagnosing
from manyviews.runs import train as running
from manyviews.runs.assemble import assemble
from manyviews.verbs.flags import settle
from manyviews.verbs.train import _Begun, execute

COUNT = 1000
COUNTS = {"few": 250, "handful": 60}
"""Images of a kind of data where they are not as many as that."""
SMALL = {
    "encoder.width": 16,
    "data.batch_size": 64,
    "data.workers": 0,
    "train.log_every": 5,
    "train.keep": 99,
}


def make_data(root, kind):
    """A folder of pictures, made once."""
    folder = root / f"data-{kind}"
    if folder.is_dir():
        return folder
    draft = root / f"data-{kind}.tmp"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    source, random = (
        open_data(BUILTIN, ("image",), channels=1, max_pixels=1 << 20),
        np.random.default_rng(0),
    )
    for i in range(COUNTS.get(kind, COUNT)):
        if kind == "noise":
            pixels = random.integers(0, 256, (28, 28), dtype=np.uint8)
        else:
            pixels = source.read(0 if kind == "one" else i)[..., 0]
        Image.fromarray(pixels).save(draft / f"{i:04}.png")
    draft.rename(folder)
    return folder


def train(name, plan, root):
    """Train a plan in ROOT/NAME, unless it is there, and first what it starts from."""
    out = root / name
    if (out / "planted.json").is_file():
        return out
    if plan.start:
        train(plan.start, plans()[plan.start], root)
    shutil.rmtree(out, ignore_errors=True)
    start = str(root / plan.start) if plan.start else ""
    broken = FAULTS[plan.fault][2] if plan.fault else {}
    data = make_data(root, plan.data)
    begun = _Begun.of(plan.recipe, start, {})
    default = begun.default(begun.facts(str(data)))
    given = SMALL | broken | plan.given | {"train.steps": plan.steps, "seed": plan.seed}
    given |= {"optim.lr": default.optim.lr * given.pop("hotter", 1.0)}
    given |= {"train.checkpoint_every": max(1, plan.steps // 8)}
    known = parts(default.views)
    given = {
        k: v for k, v in given.items() if not k.startswith("views.") or k.split(".")[1] in known
    }
    if plan.recipe in ("mae", "maskfeat", "simmim") or start:
        del given["encoder.width"]
    run = one_duration(settle(default, given), default)

    with broken_as(plan):
        execute(run, out=out)
    if plan.cut >= 0:
        kill(out, plan.cut)
    (out / "planted.json").write_text(json.dumps({"name": name}))
    return out


@contextmanager
def broken_as(plan):
    """Whatever is put together is broken as a plan says."""
    change = FAULTS[plan.fault][1] if plan.fault else None

    def altered(run, **more):
        assembly = assemble(run, **more)
        if change is not None:
            change(assembly.method)
        return assembly

    running.assemble = diagnosing.assemble = altered
    try:
        yield
    finally:
        running.assemble = diagnosing.assemble = assemble


def kill(run, step):
    """Make of a finished run what it was when it was killed after a step."""
    for path in (run / "checkpoints").glob("step_*"):
        if int(path.name.removeprefix("step_")) > step:
            shutil.rmtree(path)
    (run / "checkpoints" / "latest").write_text(f"step_{step}\n")
    lines = (run / "metrics.jsonl").read_text().splitlines()
    kept = [line for line in lines if json.loads(line)["step"] <= step]
    (run / "metrics.jsonl").write_text("".join(f"{line}\n" for line in kept))
    for path in (*run.glob("*.json"), *run.glob("encoder*"), *run.glob("report*")):
        if path.name != "began.json":
            path.unlink()


if __name__ == "__main__":
    import argparse
    import logging

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("planted"))
    options = parser.parse_args()
    logging.getLogger("manyviews").setLevel(logging.ERROR)
    for key, one in plans().items():
        print(key, train(key, one, options.runs), flush=True)
