"""Real methods on real data, killed with SIGKILL at a given step and resumed."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

from safetensors.torch import load_file

import media
from manyviews.core.inputs import Frames
from manyviews.core.settings import parts, struct
from manyviews.data.sources import BUILTIN
from manyviews.recipes import RECIPES, streams_of
from manyviews.runs import watch
from manyviews.runs.facts import facts
from manyviews.runs.settings import Teacher
from manyviews.verbs.resume import resume
from manyviews.verbs.train import execute

STEPS = 12
TEACHER = Path(__file__).parent / "golden" / "runs" / "simclr"
"""Of whom asks for one."""
TIMES = {"seconds", "images_per_second", "data_wait"}


def settings(name, folder):
    """A recipe for the built-in images, or for clips made in a folder, that takes seconds."""
    streams = streams_of(name)
    data = BUILTIN if streams == ("image",) else media.clips(folder / "clips")
    run = RECIPES[name](facts(data, streams))
    taught = {n: Teacher(source=str(TEACHER)) for n in parts(run.teachers)}
    return replace(
        run,
        teachers=struct("Teachers", taught),
        method=replace(run.method, **shrunk(run.method)),
        encoders=struct("Encoders", {n: narrow(c) for n, c in parts(run.encoders).items()}),
        data=replace(run.data, batch_size=32 if data == BUILTIN else 8, workers=0),
        train=replace(
            run.train,
            minutes=0.0,
            steps=STEPS,
            checkpoint_every=5,
            log_every=1,
            health_every=1,
            precision="fp32",
        ),
    )


def narrow(encoder):
    """An encoder's settings with few channels."""
    if encoder.name == "vit":
        return replace(encoder, width=64, heads=2, depth=3)
    if isinstance(encoder.input, Frames):
        return replace(encoder, width=4, input=replace(encoder.input, side=32))
    return replace(encoder, width=8)


def shrunk(method):
    sizes = {
        "hidden": 32,
        "out": 16,
        "bottleneck": 16,
        "queue": 64,
        "width": 32,
        "negatives": 16,
        "heads": 2,
    }
    sizes["prototypes"] = (24, 24) if isinstance(getattr(method, "prototypes", 0), tuple) else 24
    return {k: v for k, v in sizes.items() if getattr(method, k, 0)}


def train(name, path, *, kill_at=None, workers=0):
    """Train, or resume if there is a run; with `kill_at` the process kills itself in that step."""
    if kill_at is not None:
        look = watch.Watch.__call__

        def killing(self, method, step, clock, losses):
            if clock.step == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return look(self, method, step, clock, losses)

        watch.Watch.__call__ = killing
    if (path / "config.yaml").exists():
        resume(path)
    else:
        run = settings(name, path.parent)
        execute(replace(run, data=replace(run.data, workers=workers)), out=path)


def ending(path: Path):
    """Tensors of the last checkpoint, and what was logged of each step and check, without times."""
    last = path / "checkpoints" / (path / "checkpoints" / "latest").read_text().strip()
    tensors = {
        f"{file}:{name}": tensor
        for file in ("method", "optimizer")
        for name, tensor in load_file(last / f"{file}.safetensors").items()
    }
    lines = [json.loads(x) for x in (path / "metrics.jsonl").read_text().splitlines()]
    steps = [
        {k: v for k, v in line.items() if k not in TIMES}
        for line in lines
        if line["kind"] in ("train", "health", "alarm")
    ]
    return tensors, steps


def differences(path: Path, reference: Path) -> list[str]:
    """Names of tensors and numbers of steps that are not bit for bit the same."""
    (a, log_a), (b, log_b) = ending(path), ending(reference)
    found = sorted(a.keys() ^ b.keys())
    found += [name for name in a.keys() & b.keys() if not bool((a[name] == b[name]).all())]
    pairs = zip(log_a, log_b, strict=False)
    found += [f"{x['kind']} of step {x['step']}" for x, y in pairs if x != y]
    trained = [sum(x["kind"] == "train" for x in log) for log in (log_a, log_b)]
    return found + (["number of lines"] if len(log_a) != len(log_b) or trained[0] != STEPS else [])
