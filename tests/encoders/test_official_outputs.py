"""Files of authors' networks, read as one reads them, give what their networks give.

The arrays were made with the authors' code: tests/reference/data/README.md.
"""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from raw import hashed

from layouts import build, other, prefixed, small_beit
from manyviews.core.inputs import Pixels
from manyviews.encoders import ViTConfig, load_weights
from manyviews.encoders.official import OFFICIAL
from manyviews.encoders.settings import CodedConfig, VQGANConfig

DATA = Path(__file__).parents[1] / "reference" / "data"
VIT = ViTConfig(input=Pixels(side=32), patch=8, width=12, depth=2, heads=2)


def saved(name):
    """The network's tensors, and all else that was written down of it."""
    with np.load(DATA / f"{name}.npz") as file:
        arrays = {key: torch.from_numpy(file[key]) for key in file.files}
    state = {key[2:]: value for key, value in arrays.items() if key.startswith("p.")}
    return state, {key: value for key, value in arrays.items() if not key.startswith("p.")}


def read(encoder, tree, path):
    torch.save(tree, path)
    return load_weights(encoder, path)


def close(found, wanted):
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_maes_pre_trained_file_gives_the_authors_class_token(tmp_path):
    state, known = saved("mae_vit")
    encoder = build(VIT, 7)
    tree = {"model": state, "optimizer": {}, "epoch": 799, "scaler": {}}
    assert read(encoder, tree, tmp_path / "checkpoint-799.pth").project == "mae"
    close(encoder(known["images"]).pooled, known["output"])


@torch.no_grad()
def test_ijepas_file_gives_the_authors_target_tokens(tmp_path):
    state, known = saved("ijepa_vit")
    encoder = build(replace(VIT, name="vit_base_patch16_gap_224", pool="mean"), 7)
    tree = {
        "encoder": prefixed(other(state), "module."),
        "predictor": {"module.mask_token": torch.zeros(1, 1, 6)},
        "target_encoder": prefixed(state, "module."),
        "epoch": 300,
    }
    assert read(encoder, tree, tmp_path / "jepa-ep300.pth.tar").project == "ijepa"
    features = encoder(known["images"])
    close(features.tokens, known["output"])
    close(features.pooled, known["output"].mean(dim=1))


@torch.no_grad()
@pytest.mark.parametrize("stage", ["beit_vit", "beit_tuned"])
def test_beits_files_give_the_authors_tokens_and_mean(tmp_path, stage):
    state, known = saved(stage)
    encoder = small_beit(7, width=12)
    assert read(encoder, {"model": state}, tmp_path / "weights.pth").project == "beit"
    features = encoder(known["images"])
    if stage == "beit_vit":
        close(features.tokens, known["output"][:, 1:])
        close(features.pooled, known["output"][:, 1:].mean(dim=1))
    else:
        close(features.pooled, known["output"])


MAGE = CodedConfig(
    input=Pixels(side=16, mean=(0.0,), std=(1.0,)),
    tokenizer="vqgan",
    patch=4,
    codes=24,
    filters=32,
    width=12,
    depth=2,
    heads=2,
)


def weighed(name, shape):
    """As `raw.weigh` does, by the authors' name of a tensor."""
    drawn = hashed(name, *shape)
    if len(shape) > 1:
        return drawn * math.sqrt(6 / math.prod(shape[1:]))
    return 1 + 0.2 * drawn if name.endswith("weight") else 0.1 * drawn


@torch.no_grad()
def test_mages_file_gives_the_authors_codes_and_class_token(tmp_path):
    with np.load(DATA / "mage_vit.npz") as file:
        known = {key: torch.from_numpy(file[key]) for key in file.files}
    encoder = build(MAGE, 7).double()
    shapes = {key: tuple(value.shape) for key, value in encoder.state_dict().items()}
    shapes |= {"words.weight": (24 + 1001, 12), "positions": (17, 12)}  # classes and a mask too
    [names] = zip(*(OFFICIAL["mage"].spelling(key) for key in shapes), strict=True)
    state = {name: weighed(name, shape) for name, shape in zip(names, shapes.values(), strict=True)}
    state["vqgan.quantize.embedding.weight"] = hashed("codes", 24, 256)
    del state["class_token"]
    # what lies beside them: parts of timm's that nobody uses, and what training needs
    state |= {"cls_token": torch.zeros(1, 1, 12), "pos_embed": torch.zeros(1, 17, 12)}
    state |= {"patch_embed.proj.weight": torch.zeros(12, 3, 4, 4), "mlm_layer.bias": torch.ones(9)}
    state |= {"decoder_embed.weight": torch.zeros(6, 12), "vqgan.decoder.x": torch.zeros(2)}
    loaded = read(encoder, {"model": state}, tmp_path / "mage-vitb-1600.pth")
    assert loaded.project == "mage"
    images = (hashed("images", 6, 3, 16, 16) + 1) / 2
    tokenizer = {k.removeprefix("vqgan."): v for k, v in state.items() if k[:6] == "vqgan."}
    alone = build(VQGANConfig(input=MAGE.input, patch=4, width=32, codes=24), 8).double()
    assert read(alone, {"state_dict": tokenizer}, tmp_path / "alone.ckpt").project == "vqgan"
    assert torch.equal(alone(images).tokens.argmax(dim=2), known["codes"])
    assert torch.equal(encoder.codes(images), known["codes"])
    close(encoder(images).class_token, known["output"])
    assert any("first 24 are taken" in note for note in loaded.notes)
