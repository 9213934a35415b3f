"""The report of a method of several families and encoders, and of a figure that fails."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from PIL import Image

from manyviews.core import Method, Step, UsageError
from manyviews.core.inputs import Pixels
from manyviews.core.settings import struct
from manyviews.data import groups
from manyviews.data.sources import BUILTIN
from manyviews.encoders import ResNetSmallConfig, ViTConfig
from manyviews.methods import catalog
from manyviews.methods.catalog import Entry
from manyviews.recipes import RECIPES
from manyviews.runs import report, strips
from manyviews.runs.assemble import assemble
from manyviews.runs.facts import facts
from manyviews.runs.folder.write import begin
from manyviews.verbs.train import execute
from manyviews.views.plan import Crops, Mask

torch.set_num_threads(1)


@dataclass(frozen=True, kw_only=True)
class PairConfig:
    weight: float = 1.0


class Pair(Method):
    """Two encoders of images; it says of the masked family that it predicts it perfectly."""

    needs: Mapping = {"wide": 1, "seen": 1, "seen.mask": 1}
    trains = ("left", "right")

    def __init__(self, given, config):
        super().__init__(given)
        self.left, self.right = given.encoders["left"], given.encoders["right"]

    def forward(self, batch, clock):
        a = self.left(batch.views["wide"][:, 0]).pooled
        b = self.right(batch.views["seen"][:, 0]).pooled
        loss = (a.mean(dim=1) - b.mean(dim=1)).square().mean()
        return Step({"alike": loss}, {"left": a.detach()[:, None], "right": b.detach()[:, None]})

    def reconstruct(self, batch):
        return batch.views["seen"][:, 0]


VIEWS = {
    "wide": Crops(to="left", count=1),
    "seen": Crops(to="right", count=1, mask=Mask(ratio=0.5)),
}


def settings():
    run = RECIPES["mae"](facts(BUILTIN))
    left, right = (Pixels(side=side, channels=1, mean=(0.3,), std=(0.3,)) for side in (20, 16))
    encoders = {
        "left": ResNetSmallConfig(input=left, stem="small", width=8),
        "right": ViTConfig(input=right, patch=4, width=16, depth=1, heads=2),
    }
    return replace(
        run,
        method=PairConfig(),
        encoders=struct("Encoders", encoders),
        views=struct("Views", VIEWS),
        data=replace(run.data, batch_size=8, workers=0),
        train=replace(run.train, minutes=0.0, epochs=0, steps=1, precision="fp32"),
    )


@pytest.fixture
def pair(monkeypatch):
    monkeypatch.setitem(catalog.METHODS, "pair", Entry(Pair, PairConfig))
    monkeypatch.setattr(report, "SAMPLE", 40)


@pytest.fixture
def run(pair, tmp_path):
    assembly = assemble(settings())
    begin(
        tmp_path,
        assembly.run,
        digest=assembly.source.digest,
        contents="",
        images=len(assembly.source),
        command="manyviews train pair",
        threads=1,
    )
    return assembly, tmp_path


def missing(caplog):
    return re.findall(r"The report is without (.*) \(", caplog.text)


def test_each_image_keeps_the_value_that_is_known_of_its_file(pair, tmp_path, monkeypatch):
    photos = tmp_path / "photos"
    for i in range(12):
        place = photos / f"patient{i % 3}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((20, 20), 20 * i, np.uint8)).save(place / f"{i}.png")
    (photos / "patient1" / "cut.png").write_bytes(b"no image")  # has no row, and moves no other
    begun = settings()
    assembly = assemble(replace(begun, data=replace(begun.data, source=str(photos))))
    values = groups.values(assembly.source, "folder:1", flag="--colour")
    for found in report.embedded_by(assembly, values).values():
        assert len(found.values) == len(found.names) == 12
        for value, name in zip(found.values, found.names, strict=True):
            assert f"/{value}/" in name
    with pytest.raises(UsageError, match="--colour nobody is a column"):
        report.gather(assembly, tmp_path, colour="nobody")


def test_every_encoder_is_shown_what_it_is_fed_and_every_family_what_it_hides(run, caplog):
    assembly, folder = run
    found = report.gather(assembly, folder)
    assert missing(caplog) == []
    assert list(found.insight) == ["Reconstructions", f"{strips.PATCHES}: right"]
    strip = found.insight["Reconstructions"][0]
    assert list(strip.captions) == ["view", "what it sees", "what it makes"]
    view, sees, makes = strip.pictures
    assert np.array_equal(view, makes)
    batch = strips._training_views(assembly)
    hidden = batch.cues["seen.mask"][0, 0].reshape(4, 4).numpy().repeat(4, 0).repeat(4, 1)
    assert (sees[hidden] == 128).all()
    assert np.array_equal(sees[~hidden], view[~hidden])
    assert list(found.encoders) == ["left", "right"]
    for name, seen in found.encoders.items():
        assert seen.verdict is not None, name
        assert len(seen.spectrum) > 2
        assert seen.embedded.features.shape == (40, assembly.method.encoders[name].dim)
        side = {"left": 20, "right": 16}[name]
        assert seen.embedded.images[0].shape == (side, side, 1)  # what that encoder is fed
    assert found.insight[f"{strips.PATCHES}: right"][0].pictures[0].shape == (16, 16, 1)
    report.write(assembly, folder)
    assert "what it makes" in (folder / "report.html").read_text()


def test_cells_are_enlarged_as_the_image_is_in_both_directions():
    cells = np.arange(6).reshape(2, 3, 1)
    image = np.zeros((8, 6, 3), dtype=np.uint8)
    assert np.array_equal(strips._enlarge(cells, image), cells.repeat(4, 0).repeat(2, 1))


@pytest.mark.parametrize(
    ("part", "lost"),
    [
        ("views", ["views"]),
        ("_reconstructions", ["reconstructions"]),
        ("_patches", ["patches of 'right'"]),
        ("embedded_by", ["what needs features"]),
        ("state_of", ["a state of 'left'", "a state of 'right'"]),
        ("standing", ["a verdict"]),
    ],
)
def test_a_figure_that_fails_costs_that_figure_and_a_line(run, monkeypatch, caplog, part, lost):
    def failing(*_, **__):
        raise RuntimeError("no such axis\nand more")

    monkeypatch.setattr(report if hasattr(report, part) else strips, part, failing)
    report.write(*run)
    assert missing(caplog) == lost
    assert "(RuntimeError: no such axis)." in caplog.text
    page = (run[1] / "report.html").read_text()
    assert ("The features could not be looked at" in page) == (
        part in ("embedded_by", "state_of", "standing")
    )


def test_a_chart_or_a_map_that_fails_costs_no_report(run, monkeypatch, caplog):
    from manyviews.reports import page

    def failing(*_):
        raise ValueError("nothing to draw")

    for part in ("_map", "_gallery", "spectrum"):
        monkeypatch.setattr(page, part, failing)
    report.write(*run)
    assert sorted(missing(caplog)) == [
        "a gallery of 'left'",
        "a gallery of 'right'",
        "a map of 'left'",
        "a map of 'right'",
        "the charts 'Spectrum'",
    ]


def test_a_training_says_what_it_does_before_its_first_step_and_after_its_last(
    pair, capsys, tmp_path
):
    execute(settings(), out=tmp_path / "run")
    said = capsys.readouterr().err
    assert said.startswith("checking one batch ...\n")
    assert "holding it against the untrained encoder ...\nwriting the report ...\n" in said


def test_a_training_is_done_whatever_becomes_of_its_report(pair, monkeypatch, caplog, tmp_path):
    def failing(*_, **__):
        raise RuntimeError("no page")

    monkeypatch.setattr(report, "render", failing)
    assert execute(settings(), out=tmp_path / "run").status == "done"
    assert "The report could not be made (RuntimeError: no page)" in caplog.text
    assert (tmp_path / "run" / "encoder-right.safetensors").exists()


def kept(folder, name, **changes):
    """A result of kNN in a run's folder."""
    measures = {"accuracy": {"value": 0.6, "low": 0.5, "high": 0.7}}
    result = {"protocol": "knn", "metric": "accuracy", "value": 0.6, "measures": measures}
    result |= {"train": 10, "n": 10, "version": 1, "data": "labelled", "settings": {}, "beside": {}}
    path = folder / "evaluation" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result | changes))


def beside(**values):
    return {
        name.replace("_", " "): {
            "protocol": "knn",
            "metric": "accuracy",
            "value": value,
            "measures": {"accuracy": {"value": value, "low": 0.0, "high": 1.0}},
            "train": 10,
            "n": 10,
            "version": 1,
        }
        for name, value in values.items()
    }


def test_no_accuracy_stands_without_pixels_and_untrained(tmp_path):
    kept(tmp_path, "knn")  # as a training leaves it
    [label] = report._accuracies(tmp_path)
    own = "trained encoder: knn, accuracy"
    assert label == f"{own} (manyviews evaluate adds baselines)"
    there = beside(raw_pixels=0.4, untrained_encoder=0.45)
    kept(tmp_path, "a--labelled", beside=there)  # before and after the training's own
    kept(tmp_path, "z--other", beside=beside(raw_pixels=0.3), data="other", value=0.7)
    kept(tmp_path, "knn--labelled", step="20")
    assert report._accuracies(tmp_path) == {
        f"{own} on labelled; raw pixels 0.400, untrained encoder 0.450": "0.600",
        f"{own} at step 20 on labelled (manyviews evaluate adds baselines)": "0.600",
        f"{own} on other; raw pixels 0.300": "0.700",
    }
    levels = {"knn": {"raw pixels": 0.4, "untrained encoder": 0.45}}
    assert report._levels(tmp_path, "labelled") == levels
    assert report._levels(tmp_path, "") == {}


def test_steps_and_speed_are_of_the_whole_training_and_rank_is_not_said_thrice(run):
    assembly, folder = run
    line = {"kind": "train", "step": 270, "loss": 1.5, "images_per_second": 58.0, "seconds": 9.0}
    (folder / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    (folder / "outcome.json").write_text(json.dumps({"steps": 274, "images_per_second": 232.4}))
    found = report.gather(assembly, folder)
    assert found.figures == {"loss, at last": "1.5000", "steps": "274", "samples/s": "232"}
    (folder / "outcome.json").unlink()
    assert report.gather(assembly, folder).figures["steps"] == "270"
