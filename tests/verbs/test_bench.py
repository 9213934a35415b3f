"""What bounds a training is found, whichever part it is."""

import json
import time
from dataclasses import replace

import pytest
from pictures import folder_of

from manyviews.core.settings import struct
from manyviews.data.streams.image import ImageFile
from manyviews.methods.contrastive.simclr import SimCLR
from manyviews.recipes import RECIPES
from manyviews.runs import assemble
from manyviews.runs.facts import facts
from manyviews.verbs import bench as benching
from manyviews.verbs.cli import main
from manyviews.views.image.engine import Engine


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    data = folder_of(tmp_path_factory.mktemp("bench") / "data", 40)
    found = RECIPES["simclr"](facts(str(data)))
    return replace(
        found,
        method=replace(found.method, hidden=16, out=8),
        encoders=struct("Encoders", {"image": replace(found.encoders.image, width=8)}),
        data=replace(found.data, batch_size=16, workers=0),
        train=replace(found.train, precision="fp32"),
    )


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on by a millisecond whenever it is read, and as told: machines are busy."""
    now = [0.0]

    def read():
        now[0] += 1e-3
        return now[0]

    monkeypatch.setattr(time, "perf_counter", read)
    return now


def slower(monkeypatch, clock, owner, name, seconds):
    real = getattr(owner, name)

    def slow(*arguments, **options):
        clock[0] += seconds
        return real(*arguments, **options)

    monkeypatch.setattr(owner, name, slow)


@pytest.mark.parametrize(
    ("bound", "owner", "name", "seconds", "advice"),
    [
        ("decode", ImageFile, "read", 0.01, "manyviews pack"),
        ("views", Engine, "__call__", 0.15, "--views."),
        ("copy", assemble.Assembly, "to_batch", 0.15, "--views."),
        ("step", SimCLR, "forward", 0.15, "Data keeps up"),
    ],
)
def test_the_slowest_part_is_named(monkeypatch, clock, run, bound, owner, name, seconds, advice):
    slower(monkeypatch, clock, owner, name, seconds)
    if bound == "copy":  # which is no waiting for workers
        monkeypatch.setattr(benching, "_MUCH", 2.0)
    found = benching.bench(run, seconds=0.05)
    assert found.bound == bound
    assert advice in " ".join(found.advice)
    speed = {stage.name: stage.images_per_second for stage in found.stages}
    parts = {name: speed[name] for name in ("decode", "views", "copy", "step")}
    assert min(parts, key=parts.get) == bound
    each = 16 * seconds if bound == "decode" else seconds
    assert 0.5 * 16 / each < speed[bound] <= 16 / each
    assert speed["together"] <= speed[bound]
    assert (found.waits > 0.5) == (bound in ("decode", "views", "copy"))
    last = replace(found.stages[-1], images_per_second=0.9 * speed[bound])
    lines = replace(found, stages=[*found.stages[:-1], last]).lines()
    assert max(lines, key=lambda line: line.count("#")).startswith("all together")


def test_a_batch_that_takes_long_is_halved(monkeypatch, run):
    assert benching.bench(run, seconds=0.05).batch == 16
    monkeypatch.setattr(benching, "_FEW", 2)
    monkeypatch.setattr(benching, "_STEP", 0.0)
    found = benching.bench(run, seconds=0.05)
    assert (found.batch, found.batch_size) == (2, 16)
    assert found.budget[0].startswith("20 minutes are about ")
    assert found.lines()[-len(found.budget) :] == found.budget
    assert "the run has 16" in found.lines()[0]


def test_the_verb_prints_one_screen_or_json(monkeypatch, capsys, run):
    seen = []

    def bench(wanted):
        seen.append(wanted)
        return found

    found = benching.bench(run, seconds=0.05)
    monkeypatch.setattr(benching, "bench", bench)
    with pytest.raises(SystemExit) as stop:
        main(["doctor", "--bench", run.data.source, "mae"])
    assert stop.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 24
    assert seen[0].recipe == "mae"
    with pytest.raises(SystemExit):
        main(["doctor", run.data.source, "--bench", "--json", "--max-pixels", "1000"])
    said = json.loads(capsys.readouterr().out)
    assert [stage["name"] for stage in said["stages"]] == [
        "decode", "views", "data", "copy", "step", "together"
    ]  # fmt: skip
    assert (seen[1].recipe, seen[1].data.max_pixels) == ("simclr", 1000)
    with pytest.raises(SystemExit) as stop:
        main(["doctor", run.data.source, "smclr"])
    assert stop.value.code == 2
    assert "no recipe 'smclr'. Did you mean 'simclr'?" in capsys.readouterr().err
