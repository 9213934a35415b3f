"""Runs on a folder of clouds: from files, good and bad, to features, measures and reports."""

import json

import numpy as np
import pytest
import torch

import clouds
import manyviews
from manyviews import encoders
from manyviews.core import UsageError
from manyviews.core.settings import parts
from manyviews.losses.points import height_share
from manyviews.runs.assemble import assemble
from manyviews.runs.folder.read import saved_run
from manyviews.verbs.report import report

torch.set_num_threads(1)

TINY = {
    "method.queue": 32,
    "train.steps": 4,
    "train.log_every": 1,
    "train.checkpoint_every": 2,
    "train.keep": 9,
    "train.precision": "fp32",
    "data.batch_size": 8,
    "data.workers": 1,
}
NETS = {
    "encoders.points.input.count": 64,
    "encoders.points.centres": (16, 6),
    "encoders.points.neighbours": (6, 4),
    "encoders.points.width": 4,
}
VOXELS = {
    "encoders.voxels.input.count": 64,
    "encoders.voxels.side": 8,
    "encoders.voxels.width": 4,
}
PAIRS = {"method.pairs": 16, "encoders.points.up_width": 8}
SETTINGS = {
    "depthcontrast": TINY | NETS | VOXELS,
    "depthcontrast-points": TINY | NETS,
    "pointcontrast": TINY | NETS | PAIRS,
    "pointcontrast-hardest": TINY | NETS | PAIRS | {"method.candidates": 8},
}
SONATA = {"encoders.points.input.count": 64, "encoders.points.side": 8}
SONATA |= {"encoders.points.width": 4, "method.hidden": 16, "method.prototypes": 8}
SETTINGS["sonata"] = TINY | SONATA
for name in ("pointcontrast", "pointcontrast-hardest", "sonata"):
    del SETTINGS[name]["method.queue"]


def train(recipe, tmp_path, *, out="run", **more):
    data = clouds.folder(tmp_path / "data")
    return manyviews.train(recipe, data=data, out=tmp_path / out, overrides=SETTINGS[recipe] | more)


@pytest.mark.parametrize("recipe", ["depthcontrast-points", "pointcontrast-hardest", "sonata"])
def test_recipes_of_clouds_beside_the_methods_train(recipe, tmp_path):
    """Of the others tests/faults/test_methods.py trains one each."""
    train(recipe, tmp_path)
    lines = [json.loads(x) for x in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [x["loss"] for x in lines if x["kind"] == "train"]
    assert len(losses) == 4
    assert np.isfinite(losses).all()


def test_features_of_clouds_are_written_measured_diagnosed_and_shown(tmp_path):
    train("depthcontrast", tmp_path)
    run, labelled = tmp_path / "run", clouds.folder(tmp_path / "labelled", labelled=True)
    for which, width in (("points", 16), ("voxels", 16)):
        manyviews.embed(run, which=which, data=str(tmp_path / "data"), out=tmp_path / "x.npy")
        features = np.load(tmp_path / "x.npy")
        assert features.shape == (24, width)
        _, seen = assemble(saved_run(run)).look(range(24))
        with torch.no_grad():
            wanted = manyviews.load(run, which=which)(seen[which][:, 0])
        torch.testing.assert_close(torch.from_numpy(features), wanted, rtol=1e-4, atol=1e-5)
    found = manyviews.evaluate(run, which="points", data=labelled, protocol=["knn", "linear"])
    assert [one.result.classes for one in found.found] == [4, 4]
    seen = manyviews.diagnose(run, which="points", sample=24, views=2, clusters=3)
    assert seen.spaces["encoder"]["rankme"] > 1
    report(run)
    page = (run / "report.html").read_text()
    assert "2 points of 64 x 3 + 2 voxels of 64 x 3" in page


def test_pointcontrast_is_diagnosed_and_measured_on_a_list(tmp_path):
    train("pointcontrast", tmp_path)
    folder, table = tmp_path / "data", tmp_path / "labels.csv"
    rows = [f"{folder}/{i:02}.ply,{i % 4},{'train' if i < 16 else 'test'}\n" for i in range(24)]
    table.write_text("path,label,split\n" + "".join(rows))
    [knn] = manyviews.evaluate(tmp_path / "run", data=str(table)).found
    assert knn.result.classes == 4
    assert manyviews.diagnose(tmp_path / "run", sample=24, views=2, clusters=3).images == 24
    with pytest.raises(UsageError, match=r"200 points|tokens"):
        train("pointcontrast", tmp_path, out="no", **{"encoders.points.up": 1})
    with pytest.raises(UsageError, match=r"needs 2 'global.origin' a sample"):
        train("pointcontrast", tmp_path, out="no", **{"views.global.origin": False})


def test_broken_clouds_are_set_aside(tmp_path):
    data = tmp_path / "data"
    clouds.folder(data)
    np.save(data / "nothing.npy", np.full((5, 3), np.nan))
    (data / "cut.ply").write_bytes((data / "00.ply").read_bytes()[:900])
    train("depthcontrast-points", tmp_path, **{"data.max_bad": 0.5})
    bad = (tmp_path / "run" / "quarantine.jsonl").read_text()
    assert "none of its 5 points has finite coordinates" in bad
    assert "is cut off: its header says 400 points" in bad


def test_the_doctor_tells_of_numbers_extents_and_what_is_wrong(tmp_path):
    data = tmp_path / "data"
    clouds.folder(data, count=8)
    xyz = clouds.shape("box", seed=9, count=100)
    xyz[:3] = np.nan
    xyz[3] = xyz[4]
    clouds.ply(data / "holes.ply", xyz, normals=np.ones((100, 3)))
    clouds.ply(data / "large.ply", 1e4 * clouds.shape("box"), colour=np.ones((400, 3)))
    flat = clouds.shape("ring") * np.float32([1, 1, 0])
    clouds.ply(data / "flat.ply", flat)
    (data / "copy.ply").write_bytes((data / "00.ply").read_bytes())
    (data / "empty.ply").write_bytes(b"")
    np.save(data / "none.npy", np.zeros((0, 3)))
    (data / "notes.txt").write_text("of the day")
    examined = manyviews.doctor(str(data), "depthcontrast")
    found = examined.report
    assert (found.count, found.examined) == (14, 14)
    assert found.points == (97, 400, 400)
    assert (found.not_finite, found.in_clouds) == (3, 1)
    assert {bad.path.rpartition("/")[2]: bad.reason for bad in found.unreadable} == {
        "empty.ply": "does not begin as a PLY file",
        "none.npy": "has no points",
    }
    assert (found.colour, found.normals, found.flat) == (1, 1, 1)
    assert [tuple(name.rpartition("/")[2] for name in pair) for pair in found.pairs] == [
        ("copy.ply", "00.ply")
    ]
    assert found.ignored == {".txt": 1}
    text = "\n".join(examined.lines())
    for words in (
        "14 clouds (manifest",
        "points: fewest 97, median 400, most 400",
        "longest side: shortest 1",
        "with colour: 1, with normals: 1 of 12",
        "exact duplicates: 1",
        "3 points in 1 clouds have a coordinate that is NaN or infinite",
        "1 clouds are planes or lines",
        "Some clouds have fewer than 256 points",
        "are some in millimetres",
        "above --data.max-bad 0.01: training would stop",
        "pointnet on 512 points + voxels on 512 points",
    ):
        assert words in text, words
    json.dumps(found.to_json())
    assert manyviews.doctor(str(data), "depthcontrast", sample=3).report.examined == 3
    with pytest.raises(UsageError, match="--sample -1 is not a number of files"):
        manyviews.doctor(str(data), "depthcontrast", sample=-1)
    with pytest.raises(UsageError, match=r"has images alone, and points is wanted"):
        manyviews.doctor("builtin:fashion", "depthcontrast")


def test_features_of_points_are_held_against_their_height(tmp_path):
    train("pointcontrast", tmp_path)
    found = manyviews.diagnose(tmp_path / "run", sample=20, views=2, clusters=2)
    assert 0 < found.geometry.height < 1
    assert 0 < found.geometry.untrained < 1
    assert found.to_json()["geometry"]["height"] == found.geometry.height
    assert "of what features of points tell" in "\n".join(found.numbers())


def test_height_is_along_the_axis_that_points_upwards_and_before_is_the_encoder_untrained(tmp_path):
    train("pointcontrast", tmp_path, **{"views.global.up": "y"})
    run = tmp_path / "run"
    found = manyviews.diagnose(run, sample=24, views=2, clusters=2).geometry
    _, seen = assemble(saved_run(run)).look(range(24))
    x = seen["points"][:, 0]
    torch.manual_seed(0)
    before = encoders.build(parts(saved_run(run).encoders)["points"]).eval()
    with torch.no_grad():
        tokens = {found.height: manyviews.load(run).tokens(x), found.untrained: before(x).tokens}
    for share, each in tokens.items():
        assert share == pytest.approx(float(height_share(each, x[..., 1])), rel=1e-3)
        assert share != pytest.approx(float(height_share(each, x[..., 2])), rel=1e-2)


def test_how_early_the_loss_fell_is_told_by_the_losses_of_training_alone(tmp_path):
    train("pointcontrast", tmp_path)
    losses = [("train", 9.0), ("train", 1.0), ("other", 0.1), ("train", 0.9), ("train", 0.9)]
    lines = [{"step": i, "kind": kind, "loss": loss} for i, (kind, loss) in enumerate(losses)]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "run" / "metrics.jsonl").write_text(text)
    found = manyviews.diagnose(tmp_path / "run", sample=20, views=2, clusters=2)
    assert found.geometry.early == 2 / 4
