"""The encoder as an ONNX model."""

import errno
import json
import os
from dataclasses import replace

import numpy as np
import pytest
import torch

from manyviews import encoders
from manyviews.core import Failure
from manyviews.core.inputs import Frames, LogMel, Pixels
from manyviews.encoders import ResNetSmallConfig, ViTConfig
from manyviews.encoders.audio import AudioConvConfig
from manyviews.encoders.settings import TubeletsConfig
from manyviews.encoders.slow import SlowConfig
from manyviews.encoders.video import R2Plus1DConfig
from manyviews.runs import embedder as export
from manyviews.verbs.export import onnx_model

torch.set_num_threads(1)

CASES = {
    "resnet_small": ResNetSmallConfig(
        input=Pixels(side=24, channels=1, mean=(0.25,), std=(0.5,)), width=4, grid=4
    ),
    "vit": ViTConfig(
        input=Pixels(side=16, mean=(0.25,), std=(0.5,)),
        patch=4,
        width=16,
        depth=2,
        heads=2,
        positions="sincos",
        pool="mean",
    ),
    "r2plus1d": R2Plus1DConfig(input=Frames(side=32, frames=4, rate=8.0), width=4, depth=1),
    "slow": SlowConfig(input=Frames(side=32, frames=4, rate=8.0), layers=10, width=4),
    "tubelets": TubeletsConfig(
        input=Frames(side=16, frames=4, rate=8.0), patch=8, width=16, depth=2, heads=2
    ),
    "audio_conv": AudioConvConfig(input=LogMel(seconds=0.5, bins=32), width=4, depth=1),
}


def images(config, count):
    return torch.randn(count, *config.input.shape, generator=torch.Generator().manual_seed(0))


def save(path, config):
    torch.manual_seed(0)
    encoder = encoders.build(config).eval()
    export.save_encoder(path, encoder, config=config, info={"method": "simclr"})
    return encoder


@pytest.mark.parametrize(
    ("name", "stream"),
    [
        ("resnet_small", "image"),
        ("vit", "image"),
        ("r2plus1d", "video"),
        ("slow", "video"),
        ("tubelets", "video"),
        ("audio_conv", "audio"),
    ],
)
def test_onnx_gives_what_torch_gives_for_any_batch(tmp_path, name, stream):
    onnxruntime = pytest.importorskip("onnxruntime")
    config = CASES[name]
    encoder = save(tmp_path / "encoder", config)
    difference = onnx_model.export_onnx(tmp_path / "encoder", tmp_path / "encoder.onnx")
    assert 0 <= difference < 1e-4
    session = onnxruntime.InferenceSession(tmp_path / "encoder.onnx")
    x = images(config, 5)
    [output] = session.run(None, {stream: x.numpy()})
    with torch.no_grad():
        assert np.abs(output - encoder(x).pooled.numpy()).max() < 1e-4
    meta = session.get_modelmeta().custom_metadata_map
    fed = json.loads(json.dumps([config.input.mean, config.input.std]))
    assert [json.loads(meta["mean"]), json.loads(meta["std"])] == fed
    assert meta["method"] == "simclr"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["encoder", "encoder.onnx"]


def test_onnx_with_the_normalisation_inside_takes_pixels(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    config = replace(CASES["vit"], input=replace(CASES["vit"].input, mean=(0.1,), std=(0.4,)))
    encoder = save(tmp_path / "encoder", config)
    assert onnx_model.export_onnx(tmp_path / "encoder", tmp_path / "x.onnx", normalise=True) < 1e-4
    session = onnxruntime.InferenceSession(tmp_path / "x.onnx")
    x = torch.rand(3, *config.input.shape, generator=torch.Generator().manual_seed(0))
    [output] = session.run(None, {"image": x.numpy()})
    with torch.no_grad():
        wanted = encoder((x - 0.1) / 0.4).pooled
    np.testing.assert_allclose(output, wanted.numpy(), atol=1e-4)
    meta = session.get_modelmeta().custom_metadata_map
    assert meta["normalised"] == "inside"


def wrapped(disk):
    """As torch.onnx reports what went wrong beneath it."""
    error = RuntimeError("Failed to export the model to ONNX")
    error.__cause__ = disk
    return error


@pytest.mark.parametrize("where", ["trace", "within", "save"])
def test_a_full_disk_is_not_the_encoders_fault(tmp_path, monkeypatch, where):
    onnx = pytest.importorskip("onnx")
    save(tmp_path / "encoder", CASES["resnet_small"])
    (tmp_path / "encoder.onnx").write_bytes(b"an older one")
    disk = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    real = onnx.save

    def full(*given, **_):
        given[2].write_bytes(b"half")
        raise wrapped(disk) if where == "within" else disk

    def full_later(model, path, **more):
        if more:  # torch's own call
            return real(model, path, **more)
        path.write_bytes(b"half")
        raise disk

    if where == "save":
        monkeypatch.setattr(onnx, "save", full_later)
    else:
        monkeypatch.setattr(torch.onnx, "export", full)
    with pytest.raises(Failure) as error:
        onnx_model.export_onnx(tmp_path / "encoder", tmp_path / "encoder.onnx")
    said = "No space left on device. Free some space or choose another place."
    assert str(error.value) == f"Cannot write {tmp_path / 'encoder.onnx'}: {said}"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["encoder", "encoder.onnx"]
    assert (tmp_path / "encoder.onnx").read_bytes() == b"an older one"


@pytest.mark.parametrize(
    "problem",
    [RuntimeError("no such thing\nand much more"), OSError(errno.ENOENT, "no such thing", "cc")],
)
def test_what_the_compiler_cannot_do_is_one_line(tmp_path, monkeypatch, problem):
    pytest.importorskip("onnx")
    save(tmp_path / "encoder", CASES["resnet_small"])

    def broken(*_, **__):
        raise problem

    monkeypatch.setattr(torch.onnx, "export", broken)
    with pytest.raises(
        Failure, match=r"cannot be had in ONNX \(.*no such thing.*\)\. Use"
    ) as error:
        onnx_model.export_onnx(tmp_path / "encoder", tmp_path / "encoder.onnx")
    assert "\n" not in str(error.value)
    assert [p.name for p in tmp_path.iterdir()] == ["encoder"]


def test_an_onnx_model_that_differs_is_not_written(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    save(tmp_path / "encoder", CASES["resnet_small"])
    monkeypatch.setattr(onnx_model, "_difference", lambda *_: 0.5)
    with pytest.raises(Failure, match=r"differs from torch by 0\.5"):
        onnx_model.export_onnx(tmp_path / "encoder", tmp_path / "encoder.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["encoder"]
