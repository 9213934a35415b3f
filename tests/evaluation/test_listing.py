"""Folders of labelled images as people have them: read as meant, or refused in one line."""

import logging

import numpy as np
import pytest
from PIL import Image

from manyviews.core import UsageError
from manyviews.evaluation.labelled import open_labelled
from manyviews.evaluation.listing import role


def opened(spec, split="train"):
    return open_labelled(str(spec), channels=3, max_pixels=10**6, split=split)


def names(part, root):
    return [part.source.name(i).removeprefix(f"{root}/") for i in range(len(part))]


def picture(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((2, 2, 3), value, np.uint8)).save(path)


def tree(root, *folders, count=3):
    for place, folder in enumerate(folders):
        for i in range(count):
            picture(root / folder / f"{i}.png", 10 * place + i)


def refusal(spec, split="train"):
    with pytest.raises(UsageError) as caught:
        opened(spec, split)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        *(
            (name, "train")
            for name in ("train", "Training", "TRAIN", "training_set", "train-images")
        ),
        *((name, "test") for name in ("test", "Testing", "test_set", "Test Data", "testset")),
        *(
            (name, "validation")
            for name in ("val", "valid", "validation", "Validation_Set", "eval")
        ),
        *((name, None) for name in ("trains", "tester", "cat", "set", "", "data", "value", "dev")),
    ],
)
def test_a_name_of_a_part_is_known_by_its_word(name, part):
    assert role(name) == part


@pytest.mark.parametrize(
    ("train", "held"),
    [("Training", "Testing"), ("training_set", "test_set"), ("Train", "Val"), ("train", "valid")],
)
@pytest.mark.parametrize("below", [False, True])
def test_parts_by_any_of_their_names_are_parts_and_no_classes(tmp_path, train, held, below):
    for name in ("glioma", "pituitary"):
        for part, count in ((train, 4), (held, 2)):
            tree(tmp_path, f"{name}/{part}" if below else f"{part}/{name}", count=count)
    for split, count in (("train", 4), ("test", 2)):
        part = opened(tmp_path, split)
        assert part.classes == ("glioma", "pituitary")
        assert part.split == "given"
        assert part.labels.tolist() == [0] * count + [1] * count
        used = train if split == "train" else held
        assert all(used in name and part.classes[y] in name
                   for name, y in zip(names(part, tmp_path), part.labels, strict=True))  # fmt: skip


def test_validation_is_the_test_part_only_where_there_is_no_other(tmp_path, caplog):
    tree(tmp_path, *(f"{part}/{name}" for part in ("train", "val", "test") for name in "ab"))
    assert all(name.startswith("test/") for name in names(opened(tmp_path, "test"), tmp_path))
    opened(tmp_path)
    assert "val beside train and test is not used" in caplog.text


def test_two_folders_of_one_part_are_refused(tmp_path):
    tree(tmp_path, *(f"{part}/{name}" for part in ("train", "Training", "test") for name in "ab"))
    assert "Training, train, which mean the same part. Keep one" in refusal(tmp_path)


def test_parts_without_a_training_part_are_refused(tmp_path):
    tree(tmp_path, "test/a", "test/b", "val/a", "val/b")
    assert "test, val, which are parts and not classes" in refusal(tmp_path)


def test_a_class_that_looks_like_a_part_is_read_and_said(tmp_path, caplog):
    tree(tmp_path, "cat", "dog", "val")
    assert opened(tmp_path).classes == ("cat", "dog", "val")
    assert "val is read as a class and looks like a part of the data" in caplog.text


def test_one_folder_around_all_is_named(tmp_path):
    tree(tmp_path, "archive/Training/a", "archive/Testing/a", "archive/Training/b")
    assert f"If the class folders are in {tmp_path}/archive, give that." in refusal(tmp_path)


def test_the_classes_are_said(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    tree(tmp_path, *"abcdefghijkl")
    opened(tmp_path, "test")
    assert f"{tmp_path}: 12 test images (split by hash), 12 classes: a, b, c" in caplog.text
    assert "i, j and 2 more" in caplog.text
