"""Folders of images with masks: what is found, in which part, and what is said of bad ones."""

import logging

import numpy as np
import pytest
import torch
from PIL import Image

from manyviews.core import UsageError
from manyviews.core.inputs import Pixels
from manyviews.evaluation.dense.masked import VOID, open_masked
from manyviews.evaluation.features import extract
from manyviews.views.by_input import plain_of

FED = Pixels(side=8, channels=3)
MOST = 10_000


def picture(path, size=(8, 8), value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value,) * 3).save(path)


def mask(path, numbers, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(numbers))
    if mode == "P":
        image = image.convert("P")
        image.putdata(np.asarray(numbers).flatten().tolist())
    image.save(path)


def opened(root, split="train", most=MOST):
    return open_masked(str(root), channels=3, max_pixels=most, split=split)


def halves(first=0, second=1, size=8):
    return np.repeat([[first] * (size // 2) + [second] * (size - size // 2)], size, 0).astype("u1")


def names(part):
    return [part.source.name(i).rpartition("/")[2] for i in range(len(part))]


@pytest.mark.parametrize(
    ("image", "beside"),
    [
        ("a/dog.jpg", "a/dog.png"),
        ("a/dog.png", "a/dog_mask.png"),
        ("images/train/dog.jpg", "masks/train/dog.png"),
        ("x/JPEGImages/dog.jpg", "x/SegmentationClass/dog.png"),
        ("images/dog.png", "annotations/dog.png"),
    ],
)
def test_a_mask_is_found_where_data_sets_have_it(tmp_path, image, beside):
    for name in ("dog", "cat"):
        picture(tmp_path / image.replace("dog", name))
        mask(tmp_path / beside.replace("dog", name), halves())
    parts = [opened(tmp_path, split) for split in ("train", "test")]
    assert sorted(n[:3] for part in parts for n in names(part)) == ["cat", "dog"]
    assert all([m.name[:3] for m in p.masks] == [n[:3] for n in names(p)] for p in parts)
    assert torch.equal(parts[0].classes(FED, [0], ignore=())[0], torch.tensor(halves()).int())


def test_parts_are_folders_or_by_hash_and_do_not_move(tmp_path):
    for part in ("train", "val", "extra"):
        for i in range(3):
            picture(tmp_path / part / f"{part}{i}.jpg")
            mask(tmp_path / part / f"{part}{i}.png", halves())
    assert names(opened(tmp_path)) == ["train0.jpg", "train1.jpg", "train2.jpg"]
    assert names(opened(tmp_path, "test")) == ["val0.jpg", "val1.jpg", "val2.jpg"]
    hashed = tmp_path / "extra"
    train, test = opened(hashed), opened(hashed, "test")
    assert (len(train), len(test), train.split) == (2, 1, "hashed")
    mine = names(test)
    for i in range(3, 9):
        picture(hashed / f"extra{i}.jpg")
        mask(hashed / f"extra{i}.png", halves())
    more = names(opened(hashed, "test"))
    assert len(more) == 2
    assert set(mine) <= {*more, *mine}
    assert not set(more) & set(names(opened(hashed)))


@pytest.mark.parametrize("mode", [None, "P"])
def test_numbers_are_as_stored_also_of_palettes_and_16_bits(tmp_path, mode):
    numbers = halves(3, 255)
    for name in ("a", "b", "c"):
        picture(tmp_path / f"{name}.jpg")
        mask(tmp_path / f"{name}.png", numbers, mode)
    picture(tmp_path / "d.jpg")
    mask(tmp_path / "d.png", halves(3, 255).astype("u2") * 200)
    (tmp_path / "classes.txt").write_text("sky\nsea\nland\ndog\n")
    part = opened(tmp_path)
    seen = {
        tuple(part.classes(FED, [row], ignore=(255,)).unique().tolist()) for row in range(len(part))
    }
    assert seen <= {(VOID, 3), (600, 51000)}
    assert (VOID, 3) in seen
    assert (part.called(3), part.called(4)) == ("dog", "4")


def test_masks_are_cut_as_images_are(tmp_path):
    random = np.random.default_rng(0)
    blocks = random.integers(0, 2, (10, 15)).repeat(10, 0).repeat(10, 1).astype("u1")
    for name in ("a", "b"):
        Image.fromarray(blocks * 255).convert("RGB").save(tmp_path / f"{name}.bmp")
        mask(tmp_path / f"{name}.png", blocks)
    fed = Pixels(side=112, channels=3, mean=(0,) * 3, std=(1,) * 3)
    part = opened(tmp_path, most=20_000)
    seen = extract(lambda x: x[:, 0].flatten(1), part.source, plain_of(fed)).features.view(112, 112)
    classes = part.classes(fed, [0], ignore=())[0]
    assert ((seen > 0.5) == classes.bool()).float().mean() > 0.99


def test_images_without_a_mask_are_left_out_with_a_line(tmp_path, caplog):
    for name in ("a", "b", "c"):
        picture(tmp_path / f"{name}.jpg")
        if name != "b":
            mask(tmp_path / f"{name}.png", halves())
    with caplog.at_level(logging.WARNING, logger="manyviews"):
        part = opened(tmp_path)
    assert len(part) + len(opened(tmp_path, "test")) == 2
    assert "1 images of" in caplog.text
    assert "have no mask and are left out: b.jpg" in caplog.text


def bad_folder(root):
    picture(root / "a.jpg")
    picture(root / "b.jpg")
    return "2 images and a mask beside none"


def one_image(root):
    picture(root / "a.jpg")
    mask(root / "a.png", halves())
    return "has no train part of its 1 images with masks|has no test part of its 1 images"


@pytest.mark.parametrize("make", [bad_folder, one_image])
def test_folders_that_cannot_be_used_are_named(tmp_path, make):
    said = make(tmp_path)
    with pytest.raises(UsageError, match=said):
        (opened(tmp_path), opened(tmp_path, "test"))
    with pytest.raises(UsageError, match="nowhere is no folder"):
        opened("nowhere")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda p: mask(p, np.zeros((8, 8, 3), "u1")), "holds RGB colours; wanted one number"),
        (lambda p: mask(p, halves(size=6)), "has 6 x 6 pixels and its image 8 x 8"),
        (lambda p: p.write_bytes(b"nothing"), "cannot be read as a mask"),
        (
            lambda p: mask(p, np.zeros((200, 200), "u1")),
            "200 x 200 pixels are more than --max-pixels",
        ),
    ],
)
def test_a_bad_mask_is_one_line_that_names_it(tmp_path, spoil, said):
    for name in "abcde":
        picture(tmp_path / f"{name}.jpg")
        mask(tmp_path / f"{name}.png", halves())
    part = opened(tmp_path)
    spoil(part.masks[1])
    with pytest.raises(UsageError, match=rf"(?s)1 of {len(part)} masks.*{said}") as caught:
        part.classes(FED, range(len(part)), ignore=())
    assert str(part.masks[1]) in str(caught.value)


def test_a_photograph_stored_on_its_side_has_an_upright_mask(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("a", "b"):
        Image.new("RGB", (12, 8)).save(tmp_path / f"{name}.jpg", exif=exif)
        mask(tmp_path / f"{name}.png", np.zeros((12, 8), "u1"))
    assert opened(tmp_path).classes(FED, [0], ignore=()).shape == (1, 8, 8)
    for name in ("a", "b"):
        mask(tmp_path / f"{name}.png", np.zeros((8, 12), "u1"))  # on its side as well
    with pytest.raises(UsageError, match="has 12 x 8 pixels and its image 8 x 12"):
        opened(tmp_path).classes(FED, [0], ignore=())


def test_masks_that_number_things_are_refused(tmp_path):
    for name in ("a", "b"):
        picture(tmp_path / f"{name}.jpg", (40, 40))
        mask(tmp_path / f"{name}.png", np.arange(1600, dtype="u2").reshape(40, 40))
    with pytest.raises(UsageError, match="1600 different numbers; wanted up to 1000 classes"):
        opened(tmp_path).classes(Pixels(side=40, channels=3), [0], ignore=())
