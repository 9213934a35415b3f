"""`see` from the files to the page."""

import re

import numpy as np
import pytest
import torch
from PIL import Image

import manyviews
from manyviews.core import UsageError, progress
from manyviews.core.inputs import LogMel, Pixels
from manyviews.diagnosis.settings import Samples
from manyviews.encoders import ResNetSmallConfig, ViTConfig, build
from manyviews.encoders.audio import AudioConvConfig
from manyviews.runs.embedder import save_encoder

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    root = tmp_path_factory.mktemp("pictures")
    for i in range(12):
        pixels = np.full((64, 64, 3), 40, np.uint8)
        pixels[3 * i : 3 * i + 24, 20:44] = 220
        Image.fromarray(pixels).save(root / f"<b>{i}.png")
    return root


def saved(folder, config):
    folder.mkdir(exist_ok=True)
    save_encoder(folder / "encoder.safetensors", build(config), config=config, info={})
    return folder


@pytest.mark.parametrize(
    ("config", "what"),
    [
        (ViTConfig(input=Pixels(side=64), patch=8, width=16, depth=1, heads=2), "the keys"),
        (ResNetSmallConfig(input=Pixels(side=64), width=8), "its features, less a mean"),
    ],
)
def test_a_page_of_objects_is_one_file_with_five_pictures_an_image(
    tmp_path, pictures, config, what, monkeypatch, capsys
):
    monkeypatch.setattr(progress, "_FIRST", 0.0)
    run = saved(tmp_path / "run", config)
    done = manyviews.see(run, data=str(pictures), show="objects", count=3)
    assert done.path == run / "see.html"
    page = done.path.read_text()
    assert "looking for objects: 0 of 3" in capsys.readouterr().err
    assert len(re.findall(r'<img src="data:image/', page)) == 15
    assert what in page
    assert "8 x 8" in page
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert not re.search(r'(src|href)="(?!data:)', page)


def test_what_cannot_be_shown_is_said(tmp_path, pictures):
    small = saved(tmp_path / "small", ResNetSmallConfig(input=Pixels(side=16), width=8))
    with pytest.raises(UsageError, match="2 x 2 places in an image; objects want 4 x 4"):
        manyviews.see(small, data=str(pictures), show="objects")
    sound = saved(tmp_path / "sound", AudioConvConfig(input=LogMel()))
    with pytest.raises(UsageError, match="is fed LogMel"):
        manyviews.see(sound, data=str(pictures))
    with pytest.raises(UsageError, match="is no run, so say which images: --data DIR"):
        manyviews.see(small)
    with pytest.raises(UsageError, match=r"say where to write: --out see\.html"):
        manyviews.see(small / "encoder.safetensors", data=str(pictures))
    with pytest.raises(UsageError, match=r"show is 'object'\. Did you mean 'objects'"):
        manyviews.see(small, data=str(pictures), show="object")
    with pytest.raises(UsageError, match="--count is 0"):
        manyviews.see(small, data=str(pictures), count=0)


FEW = Samples(side=8, steps=2, batch_size=4, width=8, each=2)


def test_samples_of_an_encoder_alone_are_drawn_and_judged(tmp_path, pictures):
    run = saved(tmp_path / "run", ResNetSmallConfig(input=Pixels(side=64), width=8))
    done = manyviews.see(run, data=str(pictures), show="samples", count=2, samples=FEW)
    page = done.path.read_text()
    assert len(re.findall(r"<img ", page)) == 2 * 3
    assert re.search(r"encoder: 2 steps, loss \d\.\d+\. Reciprocal rank of samples 0\.\d\d", page)
    assert "projector" not in page


def test_of_a_run_the_projector_is_drawn_from_beside_the_encoder(tmp_path, pictures):
    tiny = {"train.steps": 1, "train.precision": "fp32", "data.batch_size": 4, "encoder.width": 8}
    tiny |= {"method.hidden": 16, "method.out": 16}
    manyviews.train("simclr", data=str(pictures), out=tmp_path / "run", overrides=tiny)
    done = manyviews.see(tmp_path / "run", show=["samples", "objects"], count=2, samples=FEW)
    page = done.path.read_text()
    assert len(re.findall(r"<img ", page)) == 2 * 5 + 2 * 5
    assert "projector: 2 steps" in page
    assert page.count("Reciprocal rank of samples") == 2


def test_a_side_that_cannot_be_halved_twice_is_refused(tmp_path, pictures):
    run = saved(tmp_path / "run", ResNetSmallConfig(input=Pixels(side=64), width=8))
    with pytest.raises(UsageError, match=r"samples\.side is 30; wanted a multiple of 4"):
        manyviews.see(run, data=str(pictures), samples=Samples(side=30))
