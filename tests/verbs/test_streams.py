"""The verbs on encoders of video and of sound: embed, evaluate, diagnose, export."""

import csv
import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import killing
import manyviews
import media
from manyviews.core import Failure, UsageError
from manyviews.core.sample import Window
from manyviews.data.direct import made, seen
from manyviews.data.sources import open_media
from manyviews.evaluation.settings import Probe
from manyviews.runs import evaluate as measuring
from manyviews.runs.past import read_evaluations, read_past
from manyviews.verbs import cli
from manyviews.verbs.train import execute
from manyviews.views.by_input import plain_of
from manyviews.views.pipeline import Item
from manyviews.views.video.single import Change

torch.set_num_threads(1)

BOTH = ("video", "audio")


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Clips in a folder for each of four tones; one cannot be read."""
    folder = tmp_path_factory.mktemp("data") / "clips"
    media.clips(folder, labelled=True)
    (folder / "tone0" / "torn.mkv").write_bytes(b"no clip")
    return str(folder)


@pytest.fixture(scope="module")
def run(clips, tmp_path_factory):
    folder = tmp_path_factory.mktemp("avid")
    settings = killing.settings("avid", folder)
    data = replace(settings.data, source=clips, workers=0, max_bad=0.5)
    train = replace(settings.train, steps=4, checkpoint_every=2)
    settings = replace(settings, data=data, train=train, probe=Probe(source=clips, every=0))
    execute(settings, out=folder / "run")
    return folder / "run"


@pytest.mark.parametrize("name", BOTH)
def test_features_of_a_folder_are_those_of_the_plain_views(run, clips, tmp_path, name):
    out = tmp_path / "x.parquet"
    found = manyviews.embed(run, which=name, data=clips, out=out, thumbnails=16)
    assert any("1 unreadable" in note for note in found.notes)
    read = pq.read_table(out)
    rows = read["index"].to_pylist()
    assert len(rows) == 24
    network = manyviews.load(run / f"encoder-{name}.safetensors")
    where, raw, _ = seen(open_media(clips, (name,)), network.fixed, rows)
    assert where == rows
    [views] = network.fixed.finish(
        {n: torch.from_numpy(v) for n, v in raw.items()},
        {},
        torch.tensor(rows),
        torch.device("cpu"),
    ).views.values()
    with torch.no_grad():
        wanted = network(views[:, 0]).numpy()
    features = np.array(read["feature"].to_pylist(), dtype=np.float32)
    np.testing.assert_allclose(features, wanted, rtol=1e-5, atol=1e-6)
    assert all(picture["bytes"] for picture in read["image"].to_pylist())


def test_several_clips_and_crops_are_averaged_alike_by_both_verbs_and_kept_apart(
    run, clips, tmp_path
):
    several = {"which": "video", "data": clips, "clips": 2, "crops": 3}
    manyviews.embed(run, out=tmp_path / "x.npy", **several)
    network = manyviews.load(run / "encoder-video.safetensors")
    source = open_media(clips, ("video",))
    pipeline = plain_of(network.input, clips=2, crops=3)
    where, raw, _ = seen(source, pipeline, [0, 1, 2])
    [views] = pipeline.finish(
        {n: torch.from_numpy(v) for n, v in raw.items()},
        {},
        torch.tensor(where),
        torch.device("cpu"),
    ).views.values()
    assert views.shape[:2] == (3, 6)
    with torch.no_grad():
        wanted = torch.stack([network(views[:, v]) for v in range(6)]).mean(dim=0).numpy()
    np.testing.assert_allclose(np.load(tmp_path / "x.npy")[:3], wanted, rtol=1e-4, atol=1e-5)
    before = manyviews.evaluate(run, which="video", data=clips).found[0].result
    [own] = manyviews.evaluate(run, **several).found
    [stored] = manyviews.evaluate(tmp_path / "x.npy", data=clips).found
    assert (own.result.value, own.result.n) == (stored.result.value, stored.result.n)
    assert own.result.notes[0] == "features averaged over 2 clips x 3 crops"
    assert list(own.beside) == ["raw clip", "frame differences", "untrained encoder"]
    again = manyviews.evaluate(run, which="video", data=clips).found[0].result
    assert (again.value, again.notes) == (before.value, before.notes)
    kept = [json.loads(p.read_text()) for p in (run / "evaluation").glob("knn*.json")]
    assert {one.get("averaged", "") for one in kept} >= {"", "2 clips x 3 crops"}
    compared = read_evaluations(read_past(run, name="run", which="video"))
    assert compared
    assert not any(one.get("averaged") for one in compared)
    with pytest.raises(UsageError, match="attentive takes tokens"):
        manyviews.evaluate(run, protocol=["attentive"], **several)
    with pytest.raises(UsageError, match="--crops 3: an encoder that is fed LogMel"):
        manyviews.evaluate(run, **several | {"which": "audio"})
    with pytest.raises(UsageError, match="--clips 2 is for encoders"):
        manyviews.evaluate(tmp_path / "x.npy", data=clips, clips=2)


def test_features_in_a_file_are_measured_as_those_of_the_encoder(run, clips, tmp_path):
    manyviews.embed(run, which="video", data=clips, out=tmp_path / "x.npy")
    [stored] = manyviews.evaluate(tmp_path / "x.npy", data=clips).found
    [own] = manyviews.evaluate(run, which="video", data=clips, baselines=False).found
    assert (stored.result.n, stored.result.value) == (own.result.n, own.result.value)


def test_what_both_networks_say_is_measured_side_by_side(run, clips, tmp_path, monkeypatch):
    """As docs/questions.md has it, word for word."""
    monkeypatch.chdir(tmp_path)
    for name in BOTH:
        manyviews.embed(run, which=name, data=clips, out=f"{name}.npy")
    page = Path(__file__).parents[2] / "docs" / "questions.md"
    section = page.read_text().split("## Both networks of a run together?")[1]
    exec(section.split("```python\n")[1].split("```")[0], {})
    widths = [np.load(f"{name}.npy").shape[1] for name in BOTH]
    assert np.load("both.npy").shape[1] == sum(widths)
    [both] = manyviews.evaluate("both.npy", data=clips).found
    [own] = manyviews.evaluate(run, which="video", data=clips, baselines=False).found
    assert both.result.n == own.result.n


def test_every_place_of_a_clip_has_its_features(run, clips, tmp_path):
    manyviews.embed(run, which="video", data=clips, out=tmp_path / "x.npy", level="patch")
    network = manyviews.load(run / "encoder-video.safetensors")
    assert np.load(tmp_path / "x.npy").shape[1:] == (network.encoder.num_tokens, network.dim)


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("ending", [".parquet", ".npy"])
def test_every_window_of_a_file_has_a_row_with_its_times(run, tmp_path, name, ending):
    folder, out = tmp_path / "long", tmp_path / f"x{ending}"
    media.clips(folder, count=2, seconds=4.2)
    (folder / "torn.mkv").write_bytes(b"no clip")
    network = manyviews.load(run / f"encoder-{name}.safetensors")
    lasts = network.input.seconds
    found = manyviews.embed(run, which=name, data=folder, out=out, level="window")
    assert any("1 unreadable" in note for note in found.notes)
    if ending == ".npy":
        features, read = np.load(out), json.loads(out.with_name("x.npy.json").read_text())
    else:
        table = pq.read_table(out)
        read = {key: table[key].to_pylist() for key in ("path", "index", "start", "end")}
        features = np.array(table["feature"].to_pylist(), dtype=np.float32)
        assert {"x", "y", "file"} <= set(table.column_names)
    assert set(read["index"]) == {0, 1}
    rows = zip(read["index"], read["start"], read["end"], strict=True)
    first = [(s, e) for i, s, e in rows if not i]
    count = int(4.2 / lasts + 1e-6)
    np.testing.assert_allclose([s for s, _ in first[:count]], np.arange(count) * lasts, atol=1e-6)
    assert len(first) == count + (4.2 - count * lasts > 1e-3)
    np.testing.assert_allclose(first[-1], (4.2 - lasts, 4.2), atol=0.1)
    names = [Path(path).name for path in read["path"]]
    assert names == ["00.mkv" if i == 0 else "01.mkv" for i in read["index"]]
    # a row is what the encoder makes of that window alone
    stream = open_media(str(folder), (name,)).open(0)[name]
    [window] = network.fixed.asks(name, span=0.0)
    row = 1
    start = read["start"][row]
    piece = stream.read(Window(start, start + lasts, window.count))
    item = Item(windows={"encoder": [window]}, decoded={"encoder": [piece]})
    raw = {k: torch.from_numpy(v) for k, v in made(network.fixed, {0: item})[0].items()}
    [views] = network.fixed.finish(raw, {}, torch.tensor([0]), torch.device("cpu")).views.values()
    with torch.no_grad():
        wanted = network(views[:, 0])[0].numpy()
    np.testing.assert_allclose(features[row], wanted, rtol=1e-4, atol=1e-5)


def test_windows_as_often_as_is_asked(run, tmp_path):
    media.clips(tmp_path / "long", count=1, seconds=3.0)
    out = tmp_path / "x.npy"
    manyviews.embed(run, which="audio", data=tmp_path / "long", out=out, level="window", every=0.25)
    start = json.loads((tmp_path / "x.npy.json").read_text())["start"]
    np.testing.assert_allclose(np.diff(start)[:-1], 0.25, atol=1e-6)
    assert len(np.load(out)) == len(start)
    with pytest.raises(UsageError, match=r"x\.npy has several rows for .* --level image"):
        manyviews.evaluate(out, data=media.clips(tmp_path / "labelled", labelled=True))


def test_windows_that_cannot_be_had_are_refused_in_a_line(run, clips, tmp_path):
    image = killing.TEACHER / "encoder.safetensors"
    asked = {"data": clips, "out": tmp_path / "x.npy"}
    with pytest.raises(UsageError, match=r"--every is for windows\. Add --level window"):
        manyviews.embed(run, which="audio", every=1.0, **asked)
    with pytest.raises(UsageError, match=r"--every is -1; wanted seconds above 0"):
        manyviews.embed(run, which="audio", every=-1.0, level="window", **asked)
    with pytest.raises(UsageError, match=r"fed something without time\. Use --level image"):
        manyviews.embed(image, data="builtin:fashion", out=tmp_path / "x.npy", level="window")
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "torn.mkv").write_bytes(b"no clip")
    with pytest.raises(Failure, match=r"None of the 1 files could be read; the first is .*torn"):
        manyviews.embed(run, which="audio", data=bad, out=tmp_path / "x.npy", level="window")


@pytest.mark.parametrize("name", BOTH)
def test_protocols_that_need_no_images_are_measured_beside_an_untrained_encoder(
    run, clips, name, caplog
):
    with caplog.at_level(logging.INFO, "manyviews"):
        found = manyviews.evaluate(
            run, which=name, data=clips, protocol=["knn", "robustness", "linear", "retrieval"]
        )
    assert [one.result.protocol for one in found.found] == ["knn", "linear", "retrieval"]
    assert "robustness is for encoders of images" in caplog.text
    floor = {"video": ["raw clip", "frame differences"], "audio": ["mean log-mel"]}[name]
    assert all(list(one.beside) == [*floor, "untrained encoder"] for one in found.found)
    assert found.found[0].result.classes == 4
    kept = [json.loads(path.read_text()) for path in run.glob("evaluation/knn--*.json")]
    assert name in [one["which"] for one in kept]
    again = manyviews.evaluate(run, which=name, data=clips, protocol=["knn"])
    assert again.found[0].result.value == found.found[0].result.value


@pytest.mark.parametrize("name", BOTH)
def test_a_query_attends_to_tokens_of_clips_and_of_sounds(run, clips, name, monkeypatch):
    learn = measuring.attentive
    quick = {"rates": (1e-3,), "steps": 10}
    monkeypatch.setattr(measuring, "attentive", lambda *x, **told: learn(*x, **told | quick))
    told = {"protocol": "attentive", "layer": 2, "baselines": False}
    [found] = manyviews.evaluate(run, which=name, data=clips, **told).found
    assert found.result.settings["tokens"] > 1
    assert "  tokens of block 2" in found.lines()


def test_tones_are_told_apart_by_sound_however_it_is_labelled(run, clips, tmp_path):
    """Four tones are far apart even for random weights; a wrong label or sound is seen."""
    table = tmp_path / "labels.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split"])
        for i in range(24):
            part = "test" if i < 8 else "train"
            writer.writerow([f"{clips}/tone{i % 4}/{i:02}.mkv", f"tone {i % 4}", part])
    by_table = manyviews.evaluate(run, which="audio", data=str(table)).found[0]
    assert by_table.result.n == 8
    assert by_table.result.value == 1.0


def test_both_encoders_are_probed_beside_training(run):
    for name in BOTH:
        kept = json.loads((run / "evaluation" / f"knn-{name}.json").read_text())
        assert (kept["which"], kept["classes"]) == (name, 4)


def test_every_encoder_of_a_run_is_diagnosed_or_the_one_that_is_named(run, clips):
    looked = {"sample": 20, "views": 2, "clusters": 3}
    found = manyviews.diagnose(run, **looked)
    assert list(found.encoders) == ["video", "audio"]
    assert "the encoder audio" in found.lines()
    for name in BOTH:
        one = found.encoders[name]
        assert list(one.spaces) == ["encoder"]
        changes = one.invariance.get("encoder", {})
        # where all clips get the same features there is no distance to compare a change with
        told = name == "video" and one.state.light != "bad"
        assert set(changes) == (set(get_args(Change)) if told else set())
        assert all(bar.low <= bar.change <= bar.high for bar in changes.values())
        assert len(one.checkpoints) == 2
        kept = json.loads((run / f"diagnosis-{name}.json").read_text())
        assert kept["spaces"]["encoder"].keys() == one.spaces["encoder"].keys()
    alone = manyviews.diagnose(run, which="audio", **looked)
    assert alone.to_json() == found.encoders["audio"].to_json()
    of_file = manyviews.diagnose(run / "encoder-audio.safetensors", labels=clips, **looked)
    assert of_file.groups["purity"] > 0
    assert of_file.spaces["encoder"]["rankme"] > 1


def test_the_command_line_takes_which(run, clips, tmp_path, capsys):
    arguments = ["diagnose", str(run), "--which", "video", "--sample", "20", "--views", "2"]
    with pytest.raises(SystemExit) as stop:
        cli.main([*arguments, "--json"])
    assert stop.value.code == 0
    assert "rankme" in json.loads(capsys.readouterr().out)["spaces"]["encoder"]


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda run, data: manyviews.embed(run, data=data, out="x.npy"), "--which audio"),
        (lambda run, data: manyviews.evaluate(run, data=data), "--which audio"),
        (lambda run, data: manyviews.evaluate(run, which="depth", data=data), "audio and video"),
        (lambda run, data: manyviews.diagnose(run, which="depth"), "video and audio"),
        (
            lambda run, data: manyviews.evaluate(
                run, which="video", data=data, protocol=["finetune"]
            ),
            "finetune is for encoders of images",
        ),
        (
            lambda run, data: manyviews.evaluate(run, which="video", data="builtin:fashion"),
            "has images alone",
        ),
        (
            lambda run, data: manyviews.export(run, which="video", out="x", format="timm"),
            "timm has no r2plus1d",
        ),
    ],
)
def test_what_cannot_be_had_is_said_in_a_line(run, clips, ask, said):
    with pytest.raises(UsageError, match=said) as caught:
        ask(run, clips)
    assert "\n" not in str(caught.value)


def test_doctor_looks_at_clips_for_a_recipe_that_takes_them(tmp_path, capsys):
    data = Path(media.clips(tmp_path / "clips", count=6))
    (data / "03.mkv").write_bytes(b"no video")
    (data / "notes.txt").write_text("of the day")
    found = manyviews.doctor(str(data), "avid")
    assert (found.report.count, found.report.examined) == (6, 6)
    assert [Path(bad.path).name for bad in found.report.unreadable] == ["03.mkv"]
    lines = found.lines()
    assert lines[0].startswith(f"{data}: 6 files with video and audio (manifest ")
    assert "other files, ignored: .txt: 1" in lines
    assert any(line.startswith("unreadable: 1 (16.67%), each is replaced by") for line in lines)
    assert "shorter sides in pixels: 48: 5" in lines
    assert found.report.seconds[1] == pytest.approx(1.5, abs=0.1)
    assert any(f"manyviews train avid --data {data}" in line for line in lines)
    assert manyviews.doctor(str(data), "avid", sample=2).report.examined == 2


def test_each_encoder_of_a_run_has_a_row_of_its_own(run, clips, caplog):
    caplog.set_level(logging.WARNING, "manyviews")
    for name in BOTH:
        manyviews.evaluate(run, which=name, data=clips, protocol=["knn"], baselines=False)
    rows = {}
    for labelled in ("", clips):
        found = manyviews.compare([run], data=labelled).table
        rows[labelled] = {row.name: row for row in found.rows if row.trained}
        assert set(rows[labelled]) == {f"{run.name}, {name}" for name in BOTH}
        for name, row in rows[labelled].items():
            own = manyviews.evaluate(
                run, which=name.split(", ")[1], data=clips, protocol=["knn"], baselines=False
            )
            [knn] = [cell for key, cell in row.cells.items() if key.startswith(f"knn|{clips}|")]
            assert knn.value == own.found[0].result.value
            assert "effective_rank" in row.cells
    assert "has no images" not in caplog.text
