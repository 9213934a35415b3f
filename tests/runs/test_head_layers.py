"""`evaluate --head-layers N`: an encoder that ends within its projection head."""

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import manyviews
from manyviews.core import UsageError
from manyviews.core.depth import layers_of
from manyviews.runs.at_step import open_at
from manyviews.training import checkpoint

TINY = {
    "train.steps": 4,
    "train.precision": "fp32",
    "train.checkpoint_every": 2,
    "data.batch_size": 8,
    "data.workers": 0,
    "encoder.width": 8,
    "method.hidden": 12,
    "method.out": 4,
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root, random = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for name in ("a", "b"):
        (root / name).mkdir()
        for i in range(10):
            pixels = random.integers(0, 256, (24, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i}.png")
    return root


def trained(recipe, photos, out):
    manyviews.train(recipe, data=photos, out=out, overrides=TINY)
    return out


@pytest.fixture(scope="module")
def run(photos, tmp_path_factory):
    return trained("simclrv2", photos, tmp_path_factory.mktemp("runs") / "run")


def by_hand(run, step, pooled, layers):
    """So many layers of the head in a checkpoint: linear, batch norm in evaluation mode, ReLU."""
    state = load_file(checkpoint.path_of(run / "checkpoints", step) / "method.safetensors")
    for i in range(0, 3 * layers, 3):
        kept = {
            name: state[f"projector.{i + 1}.{name}"]
            for name in ("weight", "bias", "running_mean", "running_var")
        }
        x = pooled @ state[f"projector.{i}.weight"].T
        x = (x - kept["running_mean"]) / (kept["running_var"] + 1e-5).sqrt()
        pooled = (x * kept["weight"] + kept["bias"]).clamp(min=0)
    return pooled


@pytest.mark.parametrize(("step", "layers"), [("", 1), ("", 2), ("2", 1)])
def test_features_are_those_behind_the_layers(run, step, layers):
    found, plain = open_at(run, step=step, head=layers), open_at(run, step=step)
    x = torch.randn(3, *plain.input.shape)
    expected = by_hand(run, int(step or 4), plain(x), layers)
    torch.testing.assert_close(found(x), expected)
    assert found.dim == 12
    assert len(layers_of(found.encoder, "")) == len(layers_of(plain.encoder, "")) + 1


def test_the_head_belongs_to_the_encoder_that_is_beside_it(photos, tmp_path):
    """MoCo has two; the one that trains has the head."""
    run = trained("moco", photos, tmp_path / "run")
    state = load_file(checkpoint.path_of(run / "checkpoints", 4) / "method.safetensors")
    found = open_at(run, head=1)
    for name, value in found.encoder.encoder.state_dict().items():
        assert torch.equal(value, state[f"online.encoder.{name}"]), name
    assert torch.equal(found.encoder.layers[0].weight, state["online.head.0.weight"])


def test_protocols_take_them(run, photos):
    given = {"data": photos, "baselines": False}
    [plain] = manyviews.evaluate(run, **given).found
    [headed] = manyviews.evaluate(run, head_layers=1, **given).found
    assert plain.result.protocol == headed.result.protocol == "knn"
    quick = manyviews.evaluation.image.settings.FineTune(epochs=1, batch_size=8)
    tuned = [
        manyviews.evaluate(run, protocol=["finetune"], finetune=quick, head_layers=n, **given)
        for n in (0, 1)
    ]
    counts = [found.found[0].result.settings["trained_parameters"] for found in tuned]
    dim = open_at(run).dim
    classes = 2
    more = dim * 12 + 2 * 12 + 12 * classes - dim * classes
    assert counts[1] - counts[0] == more


def test_what_is_not_there_is_refused_in_a_line(run, photos, tmp_path):
    with pytest.raises(
        UsageError, match=r"--head-layers is 3 and the head of simclr has 3 layers\. Give less"
    ):
        manyviews.evaluate(run, data=photos, head_layers=3)
    with pytest.raises(UsageError, match="--head-layers is -1"):
        manyviews.evaluate(run, data=photos, head_layers=-1)
    with pytest.raises(UsageError, match="is for a run directory"):
        manyviews.evaluate(run / "encoder.safetensors", data=photos, head_layers=1)
