"""The benches of choices without labels, of clouds and of dense features say what they should."""

import csv
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import clouds
import media
from manyviews.core.inputs import Pixels
from manyviews.encoders import ViTConfig, build
from manyviews.evaluation.dense.masked import open_masked
from manyviews.runs.embedder import save_encoder

BENCH = Path(__file__).parent.parent / "bench"
torch.set_num_threads(1)


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))

    def loaded(name):
        spec = importlib.util.spec_from_file_location(f"bench_{name}", BENCH / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        if hasattr(module, "running"):  # which it alters, as a bench may that runs by itself
            monkeypatch.setattr(module.running, "_report", module.running._report)
            monkeypatch.setattr(module.running, "_held", module.running._held)
        return module

    return loaded


def test_the_height_bench_plants_a_shortcut_and_judges_by_the_other_half(bench, monkeypatch):
    height = bench("height")
    monkeypatch.setattr(height, "TRAININGS", (("pointcontrast", "voxels"),))
    few = ["--steps", "2", "--count", "16", "--halves", "a"]
    rows = height.main(few)
    assert [r["views"] for r in rows] == [*height.VIEWS, "shortcut"]
    assert all(0 <= r["height"] <= 1 for r in rows)
    base = {"of": "scenes", "training": "it", "first": 0.1, "said": [], "seconds": 1.0}
    made = [
        base | {"half": half, "views": views, "height": value}
        for half, views, value in (
            *(("a", "as the recipe", 0.2), ("a", "shortcut", 0.6)),
            *(("b", "as the recipe", 0.5), ("b", "shortcut", 0.7), ("b", "shortcut", 0.3)),
        )
    ]
    assert height.threshold(made) == pytest.approx(0.4)
    said = height.page(made)
    assert 'Half "a", scenes: 1 of 1 planted ones found, 0 of 1 healthy ones accused.' in said
    assert 'Half "b", scenes: 1 of 2 planted ones found, 1 of 1 healthy ones accused.' in said


def test_the_points_bench_keeps_near_copies_on_one_side(bench, tmp_path, monkeypatch):
    points = bench("points")
    folder = Path(clouds.folder(tmp_path / "parts", count=24))
    with (tmp_path / "parts.labels.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "label", "group"])
        rows.writerows(
            [f"{i:02}.ply", clouds.SHAPES[i % 4], f"{i % 4}-{i // 8}"] for i in range(24)
        )
    asked = points.Asked(folder)
    groups = np.array([f"{i % 4}-{i // 8}" for i in range(24)])
    for test in asked.tested:
        sides = [set(groups[np.flatnonzero(side.numpy())]) for side in (test, ~test)]
        assert not sides[0] & sides[1]
        assert all(sides)
    perfect = torch.nn.functional.one_hot(asked.labels).float()
    assert asked.accuracy(perfect)[0] > 0.9
    assert asked.accuracy(torch.randn(24, 4))[0] < 0.7
    assert {x.shape[0] for x in points.raw(folder, asked.files).values()} == {24}
    monkeypatch.setattr(points, "COMMON", points.COMMON | {"data.batch_size": 8})
    out = tmp_path / "points.md"
    few = ["--steps", "2", "--recipes", "sonata", "--seeds", "0", "--out", str(out)]
    found = points.main(["--data", str(folder), *few])
    assert set(found) == {"raw", "sonata-2-0"}
    monkeypatch.setattr(points, "trained", None)  # what is there is not made again
    points.main(["--data", str(folder), *few])
    assert "| **sonata** |" in out.read_text()


def test_the_choosing_bench_counts_what_each_rule_loses(bench, monkeypatch):
    choosing = bench("choosing")
    rising = {
        str(step): {"knn": knn, "lidar": lidar, "view_consistency": 0.5, "effective_rank": 9.0}
        for step, knn, lidar in ((1, 0.5, 3.0), (2, 0.6, 9.0), (3, 0.604, 2.0))
    }
    monkeypatch.setattr(choosing, "CHECKPOINTS", {"it": choosing.Plan(recipe="simclr")})
    options = type("Options", (), {"only": ["it"]})
    text = choosing.checkpoints({"it": {"checkpoints": rising, "alarms": []}}, options)
    row = next(line for line in text.splitlines() if line.startswith("| it |"))
    assert row.startswith("| it | 60.4 (step 3) | 0.0 (step 3) | 0.4 (step 2) |")
    assert row.endswith("| 0.0 (step 3) |")
    warned = choosing.checkpoints(
        {"it": {"checkpoints": rising, "alarms": ["rank_falls"]}}, options
    )
    assert "| 0.4 (step 2) |\n" in warned
    assert "**within half a point, of 1 as they are** |  | 1 | 1 |" in text


def test_the_dense_bench_teaches_an_encoder_masks(bench, tmp_path):
    dense = bench("dense")
    for split, count in (("train", 12), ("test", 4)):
        for i in range(count):
            mask = np.zeros((32, 32), "u1")
            mask[:, :16] = i % 2
            for kind, pixels in (("images", 200 * mask + 20), ("masks", mask)):
                path = tmp_path / "masked" / kind / split / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
    assert (
        len(open_masked(str(tmp_path / "masked"), channels=1, max_pixels=10**6, split="test")) == 4
    )
    fed = Pixels(side=32, channels=1, mean=(0.2,), std=(0.3,))
    config = ViTConfig(input=fed, patch=8, depth=1, width=16, heads=2)
    encoder = build(config)
    options = type("Options", (), {"data": tmp_path, "supervised": 60})
    dense.supervise(encoder, 0, options)
    found = dense.scores(
        saved(tmp_path, encoder, config), options, dense.Detection(), protocols=["segmentation"]
    )
    assert found["mIoU"] > 0.9


def saved(folder, encoder, config):
    file = folder / "encoder.safetensors"
    save_encoder(file, encoder, config=config, info={"method": "none"})
    return file


def test_a_table_of_methods_is_made_of_any_kind_of_data(bench, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    methods = bench("methods")
    data = media.clips(Path("clips"), labelled=True)
    of = ["--kind", "audio-video", "--data", data, "--labelled", data, "--passes", "0.1"]
    with pytest.raises(SystemExit):
        methods.main(of[:4])
    assert "--kind audio-video wants --data and --labelled" in capsys.readouterr().err
    methods.main([*of, "--recipes", "avid"])
    page = Path("docs/results-audio-video.md").read_text()
    assert f"on the 24 samples of `{data}`" in page
    assert "Left out: `cma` wants an AVID run" in page
    for row in ("avid-0, video", "avid-0, audio", "raw clip", "mean log-mel"):
        assert f"\n| {row} |" in page
    before = capsys.readouterr().out
    assert "-m manyviews train avid" in before
    methods.main([*of, "--recipes", "avid"])  # nothing is made twice
    assert "-m manyviews train" not in capsys.readouterr().out
    assert Path("docs/results-audio-video.md").read_text() == page


def test_masked_models_are_measured_after_their_best_block_and_fine_tuned(bench, tmp_path):
    masked = bench("masked")
    masked.EVERY = {"train": 100, "test": 50}
    masked.LABELLED = str(tmp_path / "tenth.csv")
    out = tmp_path / "masked.md"
    asked = ["--passes", "0.02", "--epochs", "1", "--out", str(out)]
    asked += ["--runs", str(tmp_path / "runs"), "--recipes", "autoencoder"]
    masked.main(asked)
    [row] = masked.read(out.with_suffix(".json")).values()
    assert row["encoder"] == "resnet_small"
    assert 1 <= row["best block"] <= row["blocks"]
    for name in ("linear", "linear, best block", "tuned", "tuned, untrained"):
        value, low, high = row[name]
        assert 0 <= low <= value <= high <= 1
    listed = (tmp_path / "tenth.csv").read_text().splitlines()
    assert (len(listed), listed[0]) == (1 + 120 + 40, "path,label,split")
    page = out.read_text()
    assert f"| autoencoder | resnet_small | {row['steps']} |" in page
    out.write_text(page + "It says much.\n")
    masked.main(asked)  # nothing is made twice, and what is said stays
    assert out.read_text() == page + "It says much.\n"
