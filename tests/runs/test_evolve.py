"""A search over loss weights: what it tries, what it measures, and how it goes on.

What fails if a bug is planted: weights that do not reach the method, or features of other rows,
`test_a_candidate_is_measured_as_a_training_of_its_weights_is`; a trial that is made twice,
`test_an_interrupted_search_goes_on_and_tries_nothing_twice`.
"""

import json
import math
from dataclasses import replace

import pytest
import torch

import killing
import manyviews
import media
from manyviews.core import Failure, UsageError
from manyviews.data.sources import open_source
from manyviews.diagnosis.zipf import zipf_divergence
from manyviews.evaluation.features import extract
from manyviews.recipes import RECIPES
from manyviews.runs import evolve as evolving
from manyviews.runs import train as training
from manyviews.runs.facts import facts
from manyviews.verbs import cli
from manyviews.verbs.train import execute

torch.set_num_threads(1)

SMALL = {"steps": 3, "batch_size": 16, "population": 2, "generations": 1, "clusters": 4}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return killing.few(tmp_path_factory.mktemp("few") / "data")


def test_a_candidate_is_measured_as_a_training_of_its_weights_is(data, tmp_path, monkeypatch):
    found = manyviews.evolve("joint", data=data, out=tmp_path / "x.jsonl", sample=40, **SMALL)
    assert found.names == ("simclr", "vicreg")
    assert len(found.found) == 4
    assert len({one.fitness for one in found.found}) == 4  # weights matter
    best = found.found[0]
    assert found.command.endswith(f"--method.weights {best.weights[0]:g} {best.weights[1]:g}")
    monkeypatch.setattr(training, "_held", killing.nothing)
    monkeypatch.setattr(training, "_report", killing.nothing)
    run = RECIPES["joint"](facts(data))
    run = replace(
        run,
        method=replace(run.method, weights=best.weights),
        train=replace(run.train, steps=3, minutes=0.0, epochs=0),
        data=replace(run.data, batch_size=16),
    )
    execute(run, out=tmp_path / "run")
    encoder = manyviews.load(tmp_path / "run")
    source = open_source(data, channels=1, max_pixels=10**6)
    drawn = torch.randperm(len(source), generator=torch.Generator().manual_seed(0))[:40]
    seen = extract(encoder, source, encoder.fixed, rows=drawn.sort().values.tolist())
    assert zipf_divergence(seen.features, clusters=4) == pytest.approx(best.fitness, abs=1e-5)
    shown = found.lines()
    assert shown[0] == "divergence  simclr vicreg"
    assert any(line.endswith("1.000 1.000") for line in shown)


def planted(weights):
    return math.dist(weights, (0.2, 0.7))


def searched(trial, out, *, told=None, **more):
    more = {"population": 4, "generations": 3, "tournament": 2, "spread": 0.2, "seed": 0} | more
    return evolving.evolve(trial, ("a", "b"), out, told=told or {"recipe": "joint"}, **more)


def test_an_interrupted_search_goes_on_and_tries_nothing_twice(tmp_path):
    whole = searched(planted, tmp_path / "whole.jsonl")
    tried = []

    def stopping(weights):
        if len(tried) == 6:
            raise Failure("interrupted")
        tried.append(weights)
        return planted(weights)

    with pytest.raises(Failure, match="interrupted"):
        searched(stopping, tmp_path / "cut.jsonl")
    with (tmp_path / "cut.jsonl").open("a") as file:
        file.write('{"weights": [0.1,')  # of a process that was killed while it wrote

    def going_on(weights):
        assert weights not in tried
        tried.append(weights)
        return planted(weights)

    assert searched(going_on, tmp_path / "cut.jsonl") == whole
    cut, other = ((tmp_path / f"{n}.jsonl").read_text() for n in ("cut", "whole"))
    assert cut == other
    lines = [json.loads(line) for line in cut.splitlines()]
    assert lines[0] == {"recipe": "joint"}
    assert lines[1] == {"weights": [1.0, 1.0], "fitness": planted((1.0, 1.0)), "generation": 0}
    longer = searched(planted, tmp_path / "cut.jsonl", generations=4)
    assert len(longer) == len(whole) + 4


def test_a_file_of_another_search_is_left_alone(tmp_path):
    out = tmp_path / "x.jsonl"
    searched(planted, out)
    before = out.read_text()
    with pytest.raises(UsageError, match=r"recipe is joint there, and elo was asked for"):
        searched(planted, out, told={"recipe": "elo"})
    assert out.read_text() == before
    out.write_text("notes")
    with pytest.raises(UsageError, match="Choose another --out"):
        searched(planted, out)
    assert out.read_text() == "notes"


def test_weights_that_came_to_nothing_are_kept_as_such(tmp_path):
    out = tmp_path / "x.jsonl"

    def half(weights):
        return math.inf if weights[0] > 0.5 else planted(weights)

    found = searched(half, out)
    assert math.isfinite(found[0].fitness)
    assert '"fitness": null' in out.read_text()
    assert searched(half, out) == found
    with pytest.raises(Failure, match="No candidate came to anything"):
        searched(lambda _: math.inf, tmp_path / "none.jsonl")


def test_a_training_that_fails_costs_its_candidate_alone(data, monkeypatch, tmp_path):
    real = evolving.fit

    def failing(job):
        if set(job.method.mixed.weights.values()) == {1.0}:
            raise Failure("Numbers stay non-finite.")
        return real(job)

    monkeypatch.setattr(evolving, "fit", failing)
    found = manyviews.evolve("joint", data=data, out=tmp_path / "x.jsonl", sample=40, **SMALL)
    assert found.ones.fitness == math.inf
    assert math.isfinite(found.found[0].fitness)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"recipe": "simclr"}, "simclr has no loss weights. Give a recipe that mixes"),
        ({"recipe": "jiont"}, "no recipe 'jiont'. Did you mean 'joint'"),
        ({"steps": 0}, "--steps is 0; wanted 1 or more"),
        ({"which": "audio"}, "--which is audio; joint has image"),
        ({"population": 1}, "population is 1; wanted 2 or more"),
    ],
)
def test_what_is_no_search_is_one_line(data, tmp_path, change, words):
    given = {"recipe": "joint", "data": data, "out": tmp_path / "x.jsonl"} | SMALL | change
    with pytest.raises(UsageError, match=words):
        manyviews.evolve(given.pop("recipe"), **given)


def test_it_is_a_verb(data, tmp_path, capsys):
    arguments = ["evolve", "joint", "--data", data, "--out", str(tmp_path / "x.jsonl")]
    arguments += ["--steps", "2", "--batch-size", "16", "--population", "2", "--generations", "0"]
    with pytest.raises(SystemExit) as stop:
        cli.main([*arguments, "--clusters", "4", "--json"])
    assert stop.value.code == 0
    said = json.loads(capsys.readouterr().out)
    assert said["names"] == ["simclr", "vicreg"]
    assert len(said["found"]) == 2


def test_weights_of_tasks_and_of_distillation_are_searched_for_on_videos(tmp_path):
    (tmp_path / "data").mkdir()
    for i in range(12):  # of other lengths, so that the clips in their middles show other bars
        times = [k / 16 for k in range(24 + 4 * i)]
        wave = media.clicks([0.1 + 0.05 * i], seconds=1.5 + i / 4, rate=16000)
        media.write(tmp_path / "data" / f"{i}.mkv", times=times, wave=wave, size=(48, 64))
    run = killing.settings("elo-sound", tmp_path)
    trial = evolving.Trial(
        run=replace(run, train=replace(run.train, steps=2)),
        held=run.data.source,
        which=run.method.main,
        sample=12,
        clusters=4,
    )
    names = run.method.weighed
    assert names[-2:] == ("from_flow", "from_audio")
    ones = (1.0,) * len(names)
    found = [trial(weights) for weights in (ones, (*ones[:-2], 0.0, 0.0))]
    assert all(math.isfinite(one) for one in found)
    assert found[0] != found[1]
