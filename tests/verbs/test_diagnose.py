"""The verb `diagnose` on runs, encoders and labelled data."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import manyviews
from manyviews.core import Batch, Given, Method, Step, UsageError
from manyviews.data import direct
from manyviews.data.sources import BUILTIN
from manyviews.diagnosis.explain import MEASURES
from manyviews.diagnosis.verdict import Next
from manyviews.methods.catalog import METHODS
from manyviews.runs import against as holding
from manyviews.runs import diagnose as diagnosing
from manyviews.runs import look as sight
from manyviews.training import checkpoint
from manyviews.verbs import cli

torch.set_num_threads(1)

LOOK = {"sample": 30, "views": 3, "clusters": 3}
TINY = {
    "train.steps": 6,
    "train.precision": "fp32",
    "train.health_every": 1,
    "train.checkpoint_every": 3,
    "data.batch_size": 8,
    "encoder.width": 8,
}
HEADS = {
    "simclr": {"method.hidden": 16, "method.out": 16},
    "swav": {"method.hidden": 16, "method.out": 16, "method.prototypes": 12, "method.queue": 0},
    "dino": {"method.hidden": 16, "method.bottleneck": 8, "method.prototypes": 12},
    "er": {"method.hidden": 16, "method.out": 16},
    "pirl": {"method.out": 16, "method.negatives": 16},
    "deepcluster": {"method.hidden": 16, "method.out": 16, "method.prototypes": (8, 8)},
    "mae": {},
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Three classes of blurred noise, told apart by colour."""
    root, random = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for c, name in enumerate("abc"):
        (root / name).mkdir()
        for i in range(14):
            small = random.normal(128, 40, (4, 4, 3))
            small[..., c] += 60
            pixels = np.clip(small.repeat(6, 0).repeat(6, 1), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def runs(photos, tmp_path_factory):
    """Trains a method for a few steps, once."""
    made = {}

    def run(name):
        if name not in made:
            made[name] = tmp_path_factory.mktemp("runs") / name
            mae = {"train.steps": 2, "data.batch_size": 8}
            settings = (mae if name == "mae" else TINY) | HEADS[name]
            manyviews.train(name, data=str(photos), out=made[name], overrides=settings)
        return made[name]

    return run


@pytest.mark.parametrize("name", HEADS)
def test_a_run_is_diagnosed_in_both_spaces(runs, name):
    found = manyviews.diagnose(runs(name), **LOOK)
    spaces = ["encoder"] if name == "mae" else ["encoder", "projector"]
    assert list(found.spaces) == spaces == list(found.invariance)
    assert found.images == 30
    assert found.encoder == f"trained encoder, step {2 if name == 'mae' else 6}"
    for numbers in found.spaces.values():
        assert {"rankme", "lidar", "alignment", "entropy_joe", "infonce_bound"} <= set(numbers)
        assert all(np.isfinite(value) for value in numbers.values())
    assert {"crop", "flip", "colour", "grey", "blur"} < set(found.invariance["encoder"])
    assert (found.prototypes is not None) == (name in ("swav", "dino", "deepcluster"))
    assert len(found.verdict.answers) == 3
    assert 1 <= len(found.verdict.next) <= 3
    assert found.verdict.light != "ok"  # six steps are nothing
    kept = json.loads((runs(name) / "diagnosis.json").read_text())
    assert kept["verdict"]["answers"][0]["sentence"] == found.verdict.answers[0].sentence
    assert found.lines()[0] == found.verdict.answers[0].line()


def test_the_encoder_that_changes_are_of_is_named(runs, photos):
    run = runs("mae")
    found = diagnosing.assembly_of(run)
    assert diagnosing._of_run(found, "", 0) == "untrained encoder"
    assert diagnosing._of_run(found, "video", 3000) == "trained encoder 'video', step 3,000"
    begun = replace(found, run=replace(found.run, start="other"))
    assert diagnosing._of_run(begun, "", 0) == "frozen start, encoder"
    assert diagnosing._of_file(f"{run}/start-video.safetensors") == f"frozen start of {run}"
    assert diagnosing._of_file("timm:resnet18") == "encoder timm:resnet18"
    said = "\n".join(manyviews.diagnose(run, **LOOK).numbers())
    assert "what one augmentation changes for the trained encoder, step 2" in said


def test_every_method_with_prototypes_can_be_asked_for_them():
    with_prototypes = {n for n, e in METHODS.items() if hasattr(e.config(), "prototypes")}
    assert with_prototypes == {n for n, e in METHODS.items() if hasattr(e.method, "assign")}


def test_the_projectors_numbers_are_those_of_the_methods_own_projection(runs, photos):
    """Against one forward pass of the method by hand."""
    assembly = diagnosing.assembly_of(runs("simclr"))
    look = sight.look_at_method(assembly)
    x = torch.randn(4, 3, *assembly.method.encoder.input.shape)
    found = look.encode(x) | {"projector": look.project(x, Batch({}, torch.arange(4)))}
    method = assembly.method.eval()
    with torch.no_grad():
        h = method.encoder(x.flatten(0, 1)).pooled
        z = torch.nn.functional.normalize(method.projector(h), dim=-1)
    torch.testing.assert_close(found["encoder"].flatten(0, 1), h)
    torch.testing.assert_close(found["projector"].flatten(0, 1), z)


def test_a_method_sees_its_own_families_and_samples(runs, monkeypatch):
    """PIRL reads tiles beside the views, and the bank's rows of the samples that they are of."""
    given = []
    real = sight._projected

    def projected(method, x, batch, **more):
        given.append((x, batch))
        return real(method, x, batch, **more)

    monkeypatch.setattr(sight, "_projected", projected)
    assembly = diagnosing.assembly_of(runs("pirl"))
    look = sight.look_at_method(assembly)
    index = np.arange(30, 10, -1)
    found = sight.see(look, assembly.source, index, views=3)
    assert {tuple(batch.index.tolist()) for _, batch in given} == {tuple(index.tolist())}
    (x, batch), method = given[0], assembly.method.eval()
    _, tiles, _ = direct.seen(assembly.source, assembly.pipeline, index.tolist())
    wanted = assembly.pipeline.inputs()["tiles"].finish(torch.from_numpy(tiles["tiles"]))
    assert torch.equal(batch.views["tiles"], wanted)
    with torch.no_grad():
        z = torch.nn.functional.normalize(method.head(method.encoder(x[:, 0]).pooled))
    torch.testing.assert_close(found.plain["projector"], z)
    assert found.views["projector"].shape == (20, 3, 16)


def test_on_other_data_a_method_that_knows_its_own_samples_is_not_asked(runs, caplog):
    caplog.set_level("INFO")
    found = manyviews.diagnose(runs("deepcluster"), data=BUILTIN, **LOOK | {"sample": 80})
    assert list(found.spaces) == ["encoder"]
    assert "the projector is left out: the method knows its own samples alone" in caplog.text
    assert list(manyviews.diagnose(runs("simclr"), data=BUILTIN, **LOOK).spaces) == [
        "encoder",
        "projector",
    ]


class Halves(Method):
    """Projects one view of the two that it reads."""

    def __init__(self, shown):
        super().__init__(Given({}))
        self.shown = shown

    def forward(self, batch, clock):
        z = batch.views["global"].flatten(2)[:, : self.shown]
        return Step({}, {}, projection=z)


@pytest.mark.parametrize("shown", [1, 2])
@pytest.mark.parametrize("views", [1, 2, 5])
def test_every_view_is_projected_once_whatever_the_method_shows(shown, views):
    x, batch = torch.randn(3, views, 4), Batch({}, torch.arange(3))
    found = sight._projected(Halves(shown), x, batch, family="global", count=2)
    assert torch.equal(found, x)


def test_numbers_are_held_against_the_untrained_on_the_same_samples_alone(
    runs, tmp_path, monkeypatch
):
    monkeypatch.setattr(holding, "SAMPLE", 20)
    run = tmp_path / "run"
    shutil.copytree(runs("simclr"), run)
    (run / "against.json").unlink()
    found = manyviews.diagnose(run, **LOOK)
    [held] = holding.read_against(run)[holding.UNTRAINED].values()
    assert (found.untrained, found.trained) == (held.before, held.after)
    name = "shared_neighbours"
    assert found.spaces["encoder"][name] != held.after[name]  # of 30 samples, and of 20

    def line(name, *, now, of_more):
        spaces = {"encoder": dict(found.spaces["encoder"]) | {name: of_more}}
        told = replace(found, spaces=spaces, trained={name: now}, untrained={name: 0.5})
        [only] = [x for x in told.numbers() if x.startswith(MEASURES[name].title)]
        return only

    for of_more in (0.1, 0.9):
        assert "ok      of the first answer's samples: 0.600, untrained 0.500" in line(
            name, now=0.6, of_more=of_more
        )
        assert "watch   below the untrained encoder" in line(name, now=0.4, of_more=of_more)
        fell = line("lidar", now=0.4, of_more=of_more)  # as it can in a training that helps
        assert "-       of the first answer's samples: 0.400, untrained 0.500" in fell


def test_diagnosing_changes_no_run(runs):
    run = runs("simclr")
    newest = checkpoint.latest(run / "checkpoints")
    before = (newest / "method.safetensors").read_bytes()
    first, second = (manyviews.diagnose(run, **LOOK).to_json() for _ in range(2))
    assert first == second
    assert (newest / "method.safetensors").read_bytes() == before


def test_checkpoints_are_compared_and_one_is_chosen(runs, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(runs("simclr"), run)
    steps = sorted(checkpoint.step_of(p) for p in (run / "checkpoints").glob("step_*"))
    assert len(steps) == 2
    found = manyviews.diagnose(run, **LOOK)
    assert list(found.checkpoints) == steps
    assert found.best in steps
    assert all(0 <= found.checkpoints[step]["graph_stability"] <= 1 for step in steps[1:])
    assert "graph_stability" not in found.checkpoints[steps[0]]


def test_which_checkpoint_looks_best_is_said_once(runs):
    found = replace(manyviews.diagnose(runs("simclr"), **LOOK), best=3)
    export = Next(command="manyviews export run --step best --out e", why="step 3 looks best.")
    for steps in ((), (export,)):
        lines = replace(found, verdict=replace(found.verdict, next=steps)).lines()
        assert sum("step 3 looks best" in line for line in lines) == 1


def test_an_encoder_without_its_run_is_diagnosed_on_given_images(runs, photos):
    found = manyviews.diagnose(runs("simclr") / "encoder.safetensors", data=str(photos), **LOOK)
    assert list(found.spaces) == ["encoder"]
    assert found.checkpoints == {}
    assert [answer.question for answer in found.verdict.answers] == ["Has it collapsed?"]
    assert found.verdict.next == ()


def test_clusters_are_held_against_labels_where_there_are_some(runs, photos):
    found = manyviews.diagnose(runs("simclr"), labels=str(photos), **LOOK)
    assert found.groups["clusters"] == 3
    assert 1 / 3 <= found.groups["purity"] <= 1
    assert not found.whole
    assert any("NMI" in line for line in found.lines())  # asked for, so it needs no --all
    assert manyviews.diagnose(runs("simclr"), **LOOK).groups == {}


def test_an_encoder_that_says_the_same_of_all_images_is_called_collapsed(runs, photos, monkeypatch):
    run = runs("simclr")
    real = diagnosing.assembly_of

    def constant(directory, data=""):
        assembly = real(directory, data)
        with torch.no_grad():
            for parameter in assembly.method.parameters():
                parameter.zero_()
        return assembly

    monkeypatch.setattr(diagnosing, "assembly_of", constant)
    monkeypatch.setattr(diagnosing, "checkpoints_of", lambda *_: [])
    found = manyviews.diagnose(run, **LOOK)
    assert (found.state.title, found.verdict.light) == ("complete collapse", "bad")
    assert "lidar" not in found.spaces["encoder"] or found.spaces["encoder"]["lidar"] < 2
    assert "Complete collapse" in found.lines()[1]


def test_the_command_prints_words_or_json(runs, capsys):
    capsys.readouterr()
    arguments = ["diagnose", str(runs("simclr")), "--sample", "30", "--views", "2"]
    with pytest.raises(SystemExit) as stop:
        cli.main([*arguments, "--json"])
    assert stop.value.code == 0
    assert "rankme" in json.loads(capsys.readouterr().out)["spaces"]["projector"]
    with pytest.raises(SystemExit):
        cli.main(arguments)
    out = capsys.readouterr().out
    assert out.startswith(("[ok] Did it learn", "[watch] Did it learn", "[alarm] Did it learn"))
    assert "Next:" in out
    assert "--all" in out
    assert "one augmentation" not in out
    with pytest.raises(SystemExit):
        cli.main([*arguments, "--all"])
    out = capsys.readouterr().out
    assert "LiDAR" in out
    assert "one augmentation" in out
    assert re.search(r"effective rank +[\d.]+ +[\d.]+ +(ok|watch|alarm)", out)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"sample": 5}, "--sample is 5; wanted 20 or more"),
        ({"views": 1}, "--views is 1; wanted 2 or more"),
        ({"data": "x", "labels": "y"}, "--labels brings its own data"),
        ({"encoder": "resnet18"}, "are for checkpoints"),
        ({"mean": (0.5,), "std": (0.5,)}, "are for checkpoints"),
        ({"data": "no such folder"}, "no such folder"),
    ],
)
def test_what_cannot_be_diagnosed_is_one_line(runs, given, words):
    with pytest.raises(UsageError, match=words) as error:
        manyviews.diagnose(runs("simclr"), **(LOOK | given))
    assert len(str(error.value).splitlines()) == 1


def test_an_encoder_needs_images(runs):
    with pytest.raises(UsageError, match="add --data DIR"):
        manyviews.diagnose(runs("simclr") / "encoder.safetensors")
