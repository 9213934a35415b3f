"""Whose features are looked at: in which network, and how their images were normalised."""

import json
import logging

import pytest
import safetensors.torch
import timm
import torch

from manyviews.core import UsageError
from manyviews.core.positions import sincos
from manyviews.encoders.resample import resample
from manyviews.runs import subject as subjects

torch.set_num_threads(1)

NAME = "vit_tiny_patch16_224"
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5,) * 3, (0.5,) * 3)
"""What timm says of its own weights of that name."""
CLASSIFIER = {"head.weight": torch.zeros(3, 192), "head.bias": torch.zeros(3)}
TOKEN = torch.zeros(1)


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(1)
    return timm.create_model(NAME, num_classes=0, img_size=32).state_dict()


def prefixed(state, prefix):
    return {prefix + name: value for name, value in state.items()}


def normal(subject):
    return subject.pixels.mean, subject.pixels.std


@pytest.mark.parametrize(
    ("wrap", "encoder", "project", "wanted", "why"),
    [
        (lambda s: {"teacher": prefixed(s, "backbone.")}, NAME, "dino", IMAGENET, "DINO's."),
        (lambda s: {"state_dict": s | {"masked_embed": TOKEN}}, NAME, "ibot", IMAGENET, "iBOT's."),
        (lambda s: {"model": s | {"decoder_embed": TOKEN}}, NAME, "mae", IMAGENET, "MAE's."),
        # names of timm's and nothing else: DINO's and MAE's published backbones, a classifier on
        # DINO's, lightly-train's export, DeiT's
        (lambda s: s, NAME, "", IMAGENET, "nothing tells what"),
        (lambda s: s | CLASSIFIER, NAME, "", IMAGENET, "nothing tells what"),
        (lambda s: {"model": s | CLASSIFIER}, NAME, "", IMAGENET, "nothing tells what"),
        (lambda s: s, f"{NAME}.augreg_in21k", "", HALF, "timm's for its weights"),
    ],
    ids=["dino", "ibot", "mae", "flat", "classifier", "deit", "tag"],
)
def test_pixels_are_normalised_as_the_project_did_and_it_is_told(
    state, tmp_path, caplog, wrap, encoder, project, wanted, why
):
    caplog.set_level(logging.INFO, "manyviews")
    torch.save(wrap(state), tmp_path / "weights.pth")
    subject = subjects.open_subject(tmp_path / "weights.pth", encoder=encoder, image_size=32)
    assert subject.info["method"] == project
    assert normal(subject) == wanted
    assert f"std {wanted[1]}: " in caplog.text
    assert why in caplog.text
    assert "150 tensors taken" in caplog.text


def test_a_published_file_is_known_by_its_name(state, tmp_path):
    torch.save(state, tmp_path / "dino_vittiny16_pretrain.pth")
    path = tmp_path / "dino_vittiny16_pretrain.pth"
    subject = subjects.open_subject(path, encoder=NAME, image_size=48)
    assert (subject.info["method"], subject.encoder.interpolation) == ("dino", "dino")
    wanted = resample(state["pos_embed"], (3, 3), old=(2, 2), prefix=1, rule="dino")
    assert torch.equal(subject.encoder.model.pos_embed, wanted)


@pytest.mark.parametrize("how", ["metadata", "config", "preprocessor"])
def test_what_a_file_states_goes_before_all_else(state, tmp_path, how):
    stated = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    words = {k: json.dumps(v) for k, v in stated.items()} if how == "metadata" else None
    safetensors.torch.save_file(state, tmp_path / "model.safetensors", words)
    if how == "config":
        text = json.dumps({"architecture": NAME, "pretrained_cfg": stated})
        (tmp_path / "config.json").write_text(text)
    if how == "preprocessor":
        text = json.dumps({f"image_{key}": values for key, values in stated.items()})
        (tmp_path / "preprocessor_config.json").write_text(text)
    path = tmp_path / "model.safetensors"
    subject = subjects.open_subject(path, encoder=NAME, image_size=32)
    assert normal(subject) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


def test_the_user_has_the_last_word(state, tmp_path, caplog):
    caplog.set_level(logging.INFO, "manyviews")
    torch.save(state, tmp_path / "weights.pth")
    given = {"encoder": NAME, "image_size": 32}
    path = tmp_path / "weights.pth"
    subject = subjects.open_subject(path, mean=(0.5,), std=(0.25,), **given)
    assert normal(subject) == ((0.5,), (0.25,))
    assert "nothing tells what" not in caplog.text
    for wrong, words in [
        ({"mean": (0.5,)}, "--mean and --std go together"),
        ({"mean": (0.5, 0.5), "std": (1.0, 1.0)}, "wanted one number for each of 3 channels"),
        ({"mean": (0.5,), "std": (0.0,)}, "above 0"),
        ({"mean": (float("nan"),), "std": (1.0,)}, "--mean is"),
    ]:
        with pytest.raises(UsageError, match=words):
            subjects.open_subject(path, **wrong, **given)


def test_moco_v3s_small_vit_is_built_with_its_twelve_heads(tmp_path):
    torch.manual_seed(1)
    model = timm.create_model("vit_small_patch16_224", num_classes=0, img_size=32, num_heads=12)
    table = sincos(384, (2, 2)).unflatten(0, (2, 2)).transpose(0, 1).flatten(0, 1)
    with torch.no_grad():
        model.pos_embed.zero_()[0, 1:] = table
    torch.save({"model": model.state_dict()}, tmp_path / "weights.pth")  # converted to DeiT's names
    subject = subjects.open_subject(
        tmp_path / "weights.pth", encoder="vit_small_patch16_224", image_size=32
    )
    x = torch.randn(2, 3, 32, 32)
    assert torch.allclose(subject(x), model.eval()(x), atol=1e-5)
    assert subject.config.heads == 12
    assert subjects.untrained(subject).encoder.model.blocks[0].attn.num_heads == 12


def test_simclrs_pixels_are_not_normalised_and_solos_stem_is_built(tmp_path):
    torch.manual_seed(1)
    state = timm.create_model("resnet26", num_classes=0).state_dict()
    first = {k: v for k, v in state.items() if "downsample" in k}
    torch.save({"state_dict": first | state}, tmp_path / "simclr.pth")
    subject = subjects.open_subject(tmp_path / "simclr.pth", encoder="resnet26")
    assert normal(subject) == ((0.0,) * 3, (1.0,) * 3)
    state = timm.create_model("resnet18", num_classes=0).state_dict()
    state["conv1.weight"] = torch.randn(64, 3, 3, 3)
    tree = prefixed(state, "backbone.") | {"classifier.weight": TOKEN}
    torch.save({"state_dict": tree}, tmp_path / "solo.ckpt")
    subject = subjects.open_subject(tmp_path / "solo.ckpt", encoder="resnet18")
    assert (subject.config.stem, subject.pixels.side) == ("small", 32)
    assert subject.encoder.model.conv1.padding == (2, 2)


def test_a_vit_without_class_token_pools_its_mean(tmp_path):
    name = "vit_medium_patch16_gap_240"
    torch.manual_seed(1)
    model = timm.create_model(name, num_classes=0, img_size=32)
    torch.save({"target_encoder": prefixed(model.state_dict(), "module.")}, tmp_path / "w.pth")
    subject = subjects.open_subject(tmp_path / "w.pth", encoder=name, image_size=32)
    assert subject.config.pool == "mean"


def test_where_only_its_makers_train_a_network_its_weights_are_theirs(tmp_path):
    name = "eva02_tiny_patch14_224"
    known = timm.models.get_pretrained_cfg(name)
    made = timm.create_model(name, num_classes=0, img_size=28)
    torch.save(made.state_dict(), tmp_path / "weights.pth")
    subject = subjects.open_subject(tmp_path / "weights.pth", encoder=name, image_size=28)
    assert subject.pixels.mean == known.mean
    assert known.mean != IMAGENET[0]


def test_a_torch_file_without_an_encoder_asks_for_its_name(state, tmp_path):
    torch.save(state, tmp_path / "weights.pth")
    with pytest.raises(UsageError, match=r"is a torch file, .* Name it: --encoder NAME"):
        subjects.open_subject(tmp_path / "weights.pth")


def test_timms_own_weights_are_normalised_as_timm_says(monkeypatch):
    real = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, *, pretrained, **g: real(name, **g))
    assert normal(subjects.open_subject(f"timm:{NAME}")) == HALF
