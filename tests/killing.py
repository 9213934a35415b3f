"""Real methods on real data, killed with SIGKILL at a given step and resumed."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors.torch import load_file

import clouds
import media
from manyviews.core.inputs import Frames, Points
from manyviews.core.settings import parts, struct
from manyviews.data.sources import BUILTIN, open_source
from manyviews.encoders.settings import ViTConfig
from manyviews.recipes import RECIPES, streams_of
from manyviews.runs import train as training
from manyviews.runs import watch
from manyviews.runs.diagnose import assembly_of
from manyviews.runs.facts import facts
from manyviews.runs.look import look_at_method, see
from manyviews.verbs.resume import resume
from manyviews.verbs.train import execute
from tiny import COLOURED, shrink

STEPS, EPOCH, BATCH = 12, 4, 16
TEACHER = Path(__file__).parent / "golden" / "runs" / "simclr"
"""Of whom asks for one."""
KILLED = (EPOCH, 2 * EPOCH)
"""In one of these steps a run is killed: an epoch has begun before the checkpoint from which it
goes on, and another begins after it."""
TIMES = {"seconds", "images_per_second", "data_wait"}


def settings(name, folder):
    """A recipe for a few images, or for clips or clouds made in a folder, that takes seconds.

    A teacher that is taken whole is the run of its name in that folder.
    """
    streams = streams_of(name)
    images = streams == ("image",)
    data = made(streams, folder / "data")
    run = RECIPES[name](facts(data, streams, channels=3 if name in COLOURED else 0))
    taught = {
        name: replace(each, source=str(folder / name if each.whole else TEACHER))
        for name, each in parts(run.teachers).items()
    }
    small = {n: narrow(c) for n, c in parts(run.encoders).items()}
    if "tokenizer" in taught:  # whose codes lie on the teacher's grid of 4 x 4, and it is no dvae
        fed = small["image"].input
        small["image"] = ViTConfig(input=fed, patch=7, width=64, heads=2, depth=3)
    return replace(
        run,
        teachers=struct("Teachers", taught),
        method=shrink(run.method),
        encoders=struct("Encoders", small),
        data=replace(run.data, batch_size=BATCH if images else 8, workers=0),
        train=replace(
            run.train,
            minutes=0.0,
            steps=STEPS,
            checkpoint_every=2,
            log_every=1,
            health_every=1,
            precision="fp32",
        ),
    )


def made(streams, folder):
    """Data of some streams in a folder, made if they are not there, as a DATA argument."""
    makers = {("image",): few, ("points",): clouds.folder}
    return makers.get(streams, media.clips)(folder)


def few(folder):
    """So many of the built-in images that an epoch has `EPOCH` steps, as a DATA argument."""
    if not folder.exists():
        folder.mkdir()
        images = open_source(BUILTIN, channels=1, max_pixels=10**6).stack["image"][: EPOCH * BATCH]
        sizes = np.array(images.shape[:3], dtype=">i4").tobytes()
        (folder / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03" + sizes + images.tobytes())
    return f"fashion-mnist:{folder}"


def narrow(encoder):
    """An encoder's settings with few channels."""
    if encoder.name == "vit":
        return replace(encoder, width=64, heads=2, depth=3)
    heads = {"heads": 1} if hasattr(encoder, "heads") else {}
    if isinstance(encoder.input, Frames):
        return replace(encoder, width=4, input=replace(encoder.input, side=32), **heads)
    if isinstance(encoder.input, Points):
        small = {"pointnet": {"centres": (16, 6), "neighbours": (6, 4)}, "voxels": {"side": 8}}
        fed = replace(encoder.input, count=64)
        return replace(encoder, width=4, input=fed, **small[encoder.name])
    return replace(encoder, width=8, **heads)


def nothing(*_, **__):
    """Instead of verdict and report of an ended training, which take longer than it."""


def train(name, path, *, kill_at=None, workers=0):
    """Train, or resume if there is a run; with `kill_at` the process kills itself in that step.

    To be called in a process of its own: what is changed for it is not changed back.
    """
    if kill_at is not None:
        look = watch.Watch.__call__

        def killing(self, method, step, clock, losses):
            if clock.step == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return look(self, method, step, clock, losses)

        watch.Watch.__call__ = killing
    training._held = training._report = nothing
    if (path / "config.yaml").exists():
        resume(path)
    else:
        run = settings(name, path.parent)
        execute(replace(run, data=replace(run.data, workers=workers)), out=path)


def looked_at(path):
    """What `diagnose` is made of, of each encoder. To be called in a process of its own."""
    assembly = assembly_of(path)
    for name in assembly.method.encoders:
        look = look_at_method(assembly, name)
        found = see(look, assembly.source, np.arange(12), views=3)
        assert found.rows == list(range(12))
        for space in found.views.values():
            assert space.shape[:2] == (12, 3)


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
