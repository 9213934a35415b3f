"""Whose features are looked at: with which mean and deviation other projects' images were."""

import pytest
import timm
import torch

from manyviews.runs import subject as subjects

torch.set_num_threads(1)

NAME = "vit_tiny_patch16_224"
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5,) * 3, (0.5,) * 3)
"""What timm says of its own weights of that name."""
CLASSIFIER = {"head.weight": torch.zeros(3, 192), "head.bias": torch.zeros(3)}


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(1)
    return timm.create_model(NAME, num_classes=0, img_size=32).state_dict()


def prefixed(state, prefix):
    return {prefix + name: value for name, value in state.items()}


@pytest.mark.parametrize(
    ("wrap", "encoder", "method", "wanted"),
    [
        (lambda s: {"teacher": prefixed(s, "backbone.")}, NAME, "dino", IMAGENET),
        (lambda s: {"state_dict": s | {"masked_embed": torch.zeros(1)}}, NAME, "ibot", IMAGENET),
        (lambda s: {"model": s | {"mask_token": torch.zeros(1)}}, NAME, "mae", IMAGENET),
        # DINO's and MAE's published backbones have timm's names and nothing else
        (lambda s: s, NAME, "timm", IMAGENET),
        (lambda s: {"model": s}, NAME, "timm", IMAGENET),
        (lambda s: {"model": s | CLASSIFIER}, NAME, "timm", IMAGENET),  # DeiT's
        (lambda s: s | CLASSIFIER, NAME, "timm", HALF),
        (lambda s: s, f"{NAME}.augreg_in21k", "timm", HALF),
    ],
    ids=["dino", "ibot", "mae", "flat", "model", "deit", "timm", "tag"],
)
def test_others_images_are_normalised_as_they_did(state, tmp_path, wrap, encoder, method, wanted):
    torch.save(wrap(state), tmp_path / "weights.pth")
    subject = subjects.open_subject(tmp_path / "weights.pth", encoder=encoder, image_size=32)
    assert subject.info["method"] == method
    assert (subject.about.encoder.input.mean, subject.about.encoder.input.std) == wanted
    assert (subject.plain.input.mean, subject.plain.input.std) == wanted


def test_where_timms_weights_have_no_classifier_a_file_without_one_is_timms(tmp_path):
    name = "eva02_tiny_patch14_224"
    known = timm.models.get_pretrained_cfg(name)
    made = timm.create_model(name, num_classes=0, img_size=28)
    torch.save(made.state_dict(), tmp_path / "weights.pth")
    subject = subjects.open_subject(tmp_path / "weights.pth", encoder=name, image_size=28)
    assert (known.num_classes, subject.pixels.mean) == (0, known.mean)
    assert known.mean != IMAGENET[0]


def test_timms_own_weights_are_normalised_as_timm_says(monkeypatch):
    real = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, *, pretrained, **g: real(name, **g))
    subject = subjects.open_subject(f"timm:{NAME}")
    assert (subject.plain.input.mean, subject.plain.input.std) == HALF
