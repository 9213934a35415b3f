"""README's Python and the tutorial run as they are written, on small data."""

import contextlib
import json
import os
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import manyviews
import shapes
from manyviews.verbs.cli import main
from manyviews.verbs.parse import pop

ROOT = Path(__file__).parents[1]
TINY = {"train.steps": 4, "data.batch_size": 16, "encoder.width": 8, "train.precision": "fp32"}
TINY |= {"method.hidden": 16, "method.out": 16}


def show(code, names):
    """Run a cell and give what it would show: its last expression's HTML or text."""
    *_, last = [line for line in code.splitlines() if line.strip()]
    try:
        compile(last, "cell", "eval")
    except SyntaxError:
        exec(code, names)
        return ""
    exec(code[: code.rindex(last)], names)
    value = eval(last, names)
    html = getattr(value, "_repr_html_", None)
    return html() if html else repr(value)


@contextlib.contextmanager
def within(folder):
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with photos, labelled, photo.jpg and a run, as README has them."""
    root = tmp_path_factory.mktemp("place")
    rng = np.random.default_rng(0)
    for i in range(40):
        level = 150 if i % 2 else 30
        pixels = rng.integers(level, level + 80, (16, 16, 3), dtype=np.uint8)
        for folder in ("photos", "labelled"):
            path = root / folder / ("bright" if i % 2 else "dark") / f"{i:02d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
        if i < 12:
            (root / "masked").mkdir(exist_ok=True)
            Image.fromarray(pixels).save(root / "masked" / f"{i:02d}.jpg")
            mask = np.repeat(np.uint8([0, 1]), 8)[:, None].repeat(16, axis=1)
            Image.fromarray(mask).save(root / "masked" / f"{i:02d}.png")
    Image.fromarray(pixels).save(root / "photo.jpg")
    (root / "photos" / "._00.jpg").write_bytes(b"\0\5\26\7")  # beside 00.jpg on another's disk
    shapes.draw(root / "boxed", 6, folder=".")
    (root / "videos" / "one").mkdir(parents=True)
    for t in range(3):
        there = np.zeros((32, 48), np.uint8)
        there[8:24, 8 * t : 8 * t + 16] = 1
        Image.fromarray(np.uint8([40, 220])[there]).save(root / "videos" / "one" / f"{t}.jpg")
        Image.fromarray(there).save(root / "videos" / "one" / f"{t}.png")
    with within(root):
        manyviews.train("simclr", data="photos", out="run", overrides=TINY)
    return root


def test_the_readme_s_python_runs_as_written(place):
    pytest.importorskip("pandas")
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 2
    names = {}
    with within(place):
        for code in blocks:
            exec(code, names)
    assert names["vector"].shape == (1, names["encoder"].dim)
    assert names["features"].shape == (40, names["encoder"].dim)
    assert "accuracy" in names["result"]._repr_html_()


ELSEWHERE = (
    "--videos", "visits.csv", "timm:", ".pth", "train.npy", "imagenet", "--which video",
    "--format timm",
    "--format huggingface", "--train-data other", "adapt", "--help",
    "manyviews resume run", "--out run ", "--bench", "robustness", "finetune", "swav", "mae",
    "slides", "manyviews see run  ",
    "byol", "--encoder.name vit", "--clips", "discovery",
)  # fmt: skip
"""In lines that want what is not here: weights, ImageNet, videos, or minutes of work. That their
settings are there, `test_docs.py` asks of each training."""


def shortened(arguments):
    """A command of README made small enough for a test."""
    if "detection" in arguments:  # five minutes of the suite otherwise
        return [*arguments, "--detection.steps", "2"]
    if arguments[0] != "train":
        return arguments
    kept = list(arguments)
    for flag in ("--train.minutes", "--train.epochs"):
        pop(kept, flag)
    kept += [
        "--train.steps",
        str(TINY["train.steps"]),
        "--train.precision",
        "fp32",
        "--data.batch-size",
        "16",
    ]
    return [*kept, "--method.hidden", "16", "--method.out", "16"]


def test_the_readme_s_commands_do_what_they_say(place, capsys):
    """In their order; where a line is for something that is not here it is left out."""
    text = (ROOT / "README.md").read_text()
    lines = [
        line.partition(" #")[0].strip()
        for block in re.findall(r"```\n(.*?)```", text, re.DOTALL)
        for line in block.splitlines()
        if line.startswith("manyviews ") and not any(word in line for word in ELSEWHERE)
    ]
    typed = []
    with within(place):
        for line in lines:
            arguments = shortened(shlex.split(line)[1:])
            with pytest.raises(SystemExit) as stop:
                main(arguments)
            assert stop.value.code == 0, f"{line}: {capsys.readouterr().err[-500:]}"
            typed.append(arguments[0])
    wanted = {
        "doctor",
        "pack",
        "search",
        "train",
        "embed",
        "report",
        "diagnose",
        "evaluate",
        "compare",
    }
    assert set(typed) == {*wanted, "export", "list"}
    assert len(typed) >= 14
    for name in ("features.parquet", "run/report.html", "table/compare.html", "encoder.onnx"):
        assert (place / name).is_file(), name


def test_a_folder_becomes_a_table(place):
    pytest.importorskip("pandas")
    encoder = manyviews.load(place / "run")
    table = encoder.predict(str(place / "photos"))
    assert table.shape == (40, encoder.dim)
    path = place / "photos" / "bright" / "01.jpg"
    row = torch.tensor(table.loc[str(path)].to_numpy())
    torch.testing.assert_close(row, encoder(encoder.transform(path)[None])[0], rtol=1e-4, atol=1e-5)


def test_an_image_finds_itself_and_then_those_like_it(place):
    image = place / "photos" / "bright" / "03.jpg"
    with within(place):
        found = manyviews.search("run", image=image, count=5)
        assert found.near[0][0].endswith("bright/03.jpg")
        assert found.near[0][1] == pytest.approx(1.0, abs=1e-4)
        assert [c for _, c in found.near] == sorted((c for _, c in found.near), reverse=True)
        assert all("bright" in name for name, _ in found.near)
        assert len(found.lines()) == 6
        for wrong, words in [({"image": "no.jpg"}, "--image no.jpg is no file"),
                             ({"image": image, "count": 0}, "--count is 0")]:  # fmt: skip
            with pytest.raises(manyviews.core.UsageError, match=words):
                manyviews.search("run", **wrong)
        with pytest.raises(manyviews.core.UsageError, match=r"say where to look: --data DIR\."):
            manyviews.search("run/encoder.safetensors", image=image)


def test_an_encoder_says_what_it_is_and_what_it_wants(place):
    encoder = manyviews.load(place / "run")
    assert repr(encoder) == f"Embedder(simclr, resnet_small: 3 x 16 x 16 -> {encoder.dim})"
    image = encoder.transform(place / "photo.jpg")
    with pytest.raises(manyviews.core.UsageError, match=r"is no batch.*encoder\(x\[None\]\)"):
        encoder(image)


def test_tensors_arrays_and_pillow_images_are_the_same_image(place):
    encoder = manyviews.load(place / "run")
    with Image.open(place / "photo.jpg") as image:
        array = np.asarray(image)
        wanted = encoder.transform(image)
    tensor = torch.from_numpy(array.copy()).permute(2, 0, 1)
    for other in (array, tensor, tensor / 255, place / "photo.jpg"):
        torch.testing.assert_close(encoder.transform(other), wanted, rtol=0, atol=0.05)
    assert torch.equal(encoder.transform(tensor / 255), encoder.transform(tensor))


def test_the_tutorial_runs(tmp_path):
    cells = json.loads((ROOT / "docs" / "tutorial.ipynb").read_text())["cells"]
    codes = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] for cell in cells if cell["cell_type"] == "code")
    short = [code.replace('{"train.minutes": 3.0}', repr(TINY)) for code in codes]
    short = [code.replace("range(400)", "range(60)") for code in short]
    assert sum(a != b for a, b in zip(codes, short, strict=True)) == 2
    names = {}
    with within(tmp_path):
        shown = [show(code, names) for code in short]
    assert "60 images" in shown[1]
    assert "done: 4 steps" in shown[2]
    assert "Did it learn anything?" in shown[3]
    assert shown[4].startswith("<svg")
    assert "Embedder(simclr" in shown[5]
    assert 'alt="0' in shown[6]
    assert "untrained encoder" in shown[7]
