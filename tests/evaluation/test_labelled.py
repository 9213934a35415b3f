import gzip
import struct

import numpy as np
import pytest
import torch
from PIL import Image

from manyviews.core import UsageError
from manyviews.evaluation.labelled import open_labelled


def opened(spec, split="train"):
    return open_labelled(str(spec), channels=3, max_pixels=10**6, split=split)


def picture(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((2, 2, 3), value, np.uint8)).save(path)


def names(part, root):
    return [part.source.name(i).removeprefix(f"{root}/") for i in range(len(part))]


@pytest.fixture
def folder(tmp_path):
    for name, count in {"cat": 10, "dog": 6, "ant": 2, "rare": 1}.items():
        for i in range(count):
            picture(tmp_path / name / ("deep" if i % 2 else ".") / f"{i}.png", i)
    return tmp_path


def test_a_class_folder_is_a_label_and_a_fifth_of_each_is_the_test_part(folder):
    train, test = opened(folder), opened(folder, "test")
    assert train.classes == test.classes == ("ant", "cat", "dog", "rare")
    assert torch.bincount(train.labels).tolist() == [1, 8, 5, 1]
    assert torch.bincount(test.labels).tolist() == [1, 2, 1]
    for part in (train, test):
        assert [part.classes[y] for y in part.labels] == [
            name.split("/")[0] for name in names(part, folder)
        ]
        assert part.split == "hashed"
    both = names(train, folder) + names(test, folder)
    assert len(set(both)) == len(both) == 19


def test_arrays_of_many_channels_have_labels_too(tmp_path):
    for i in range(20):
        path = tmp_path / "ab"[i % 2] / f"{i}.npy"
        path.parent.mkdir(exist_ok=True)
        np.save(path, np.full((2, 2, 5), i, np.uint8))
    train = open_labelled(str(tmp_path), channels=5, max_pixels=100, split="train")
    assert torch.bincount(train.labels).tolist() == [8, 8]
    assert all(train.source.read(i).shape == (2, 2, 5) for i in range(16))


def test_the_split_of_a_class_does_not_depend_on_the_other_classes(folder):
    before = [n for n in names(opened(folder, "test"), folder) if n.startswith("cat")]
    for i in range(7):
        picture(folder / "bee" / f"{i}.png")
    after = [n for n in names(opened(folder, "test"), folder) if n.startswith("cat")]
    assert before == after
    assert len(before) == 2


def test_the_test_part_is_a_fair_draw_that_hardly_moves_when_images_are_added(tmp_path):
    for name in "ab":
        for i in range(60):
            picture(tmp_path / name / f"{i:02}.png")
    before = names(opened(tmp_path, "test"), tmp_path)
    places = [int(n[2:4]) for n in before]
    assert min(places) < 10
    assert max(places) > 50
    assert places[:12] != places[12:]
    for i in range(60, 65):
        picture(tmp_path / "a" / f"{i}.png")
    after = names(opened(tmp_path, "test"), tmp_path)
    assert len(set(before) - set(after)) <= 2


@pytest.mark.parametrize("held", ["test", "val", "validation"])
def test_train_and_test_folders_are_the_splits(tmp_path, held):
    for split, count in {"train": 3, held: 2, "extra": 1}.items():
        for name in ("a", "b"):
            for i in range(count):
                picture(tmp_path / split / name / f"{i}.png")
    train, test = opened(tmp_path), opened(tmp_path, "test")
    assert train.split == test.split == "given"
    assert train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert names(test, tmp_path) == [f"{held}/{n}/{i}.png" for n in "ab" for i in (0, 1)]


def test_a_train_folder_alone_is_a_class(tmp_path):
    for name in ("train", "ship"):
        for i in range(5):
            picture(tmp_path / name / f"{i}.png")
    assert opened(tmp_path).classes == ("ship", "train")


def test_a_class_of_the_test_part_alone_counts(tmp_path):
    for path in ("train/a/0.png", "train/b/0.png", "test/a/1.png", "test/c/1.png"):
        picture(tmp_path / path)
    assert opened(tmp_path).classes == opened(tmp_path, "test").classes == ("a", "b", "c")
    assert opened(tmp_path, "test").labels.tolist() == [0, 2]


def table(tmp_path, text, encoding="utf-8"):
    for i in range(10):
        picture(tmp_path / "images" / f"{i}.png", i)
    (tmp_path / "labels.csv").write_text(text, encoding=encoding)
    return tmp_path / "labels.csv"


ROWS = "".join(f"images/{i}.png,{'odd' if i % 2 else 'even'}\n" for i in range(10))


@pytest.mark.parametrize("header", ["", "path,label\n", "Path, Label\n"])
def test_a_csv_gives_labels_with_or_without_a_header(tmp_path, header):
    path = table(tmp_path, header + ROWS, encoding="utf-8-sig")
    train, test = opened(path), opened(path, "test")
    assert (len(train), len(test)) == (8, 2)
    assert sorted(test.labels.tolist()) == [0, 1]
    for part in (train, test):
        for i, y in enumerate(part.labels.tolist()):
            assert part.classes[y] == ("odd" if part.source.read(i)[0, 0, 0] % 2 else "even")


def test_a_split_column_is_obeyed(tmp_path):
    lines = [f"images/{i}.png,{i % 2},{'test' if i < 3 else 'train'}" for i in range(10)]
    path = table(tmp_path, "path,label,split\n" + "\n".join(lines))
    assert names(opened(path, "test"), tmp_path) == [f"images/{i}.png" for i in range(3)]
    assert opened(path).split == "given"


def test_a_missing_file_of_a_csv_is_found_out_when_it_is_read(tmp_path):
    path = table(tmp_path, ROWS + "images/none.png,odd\n")
    assert len(opened(path)) + len(opened(path, "test")) == 11


@pytest.mark.parametrize("header", ["", "path,label\n", "path,labels\n"])
def test_labels_that_are_joined_make_sets(tmp_path, header):
    sets = ["a | b", "b", "a", "c|a|c", "c", "b|c", "a|b|c", "a", "b", "c"]
    lines = [f"images/{i}.png,{labels}" for i, labels in enumerate(sets)]
    path = table(tmp_path, header + "\n".join(lines))
    train, test = opened(path), opened(path, "test")
    assert (len(train), len(test)) == (8, 2)
    assert train.several
    assert train.classes == test.classes == ("a", "b", "c")
    for part in (train, test):
        assert part.labels.dtype == torch.bool
        for i, row in enumerate(part.labels):
            has = {name for name, yes in zip(part.classes, row.tolist(), strict=True) if yes}
            assert has == {s.strip() for s in sets[part.source.read(i)[0, 0, 0]].split("|")}


def test_a_header_of_labels_makes_sets_and_lets_a_row_have_none(tmp_path):
    lines = [
        f"images/{i}.png,{'x' if i % 2 else ''},{'test' if i < 4 else 'train'}" for i in range(10)
    ]
    path = table(tmp_path, "path,labels,split\n" + "\n".join(lines))
    assert opened(path, "test").labels.tolist() == [[False], [True], [False], [True]]
    assert opened(path).split == "given"


def test_one_label_an_image_makes_no_sets(tmp_path):
    assert not opened(table(tmp_path, ROWS)).several


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("path,labels\nimages/0.png,\n", "has no labels"),
        ("", "no rows"),
        ("path,label\n", "no rows"),
        (ROWS + "images/0.png\n", "Line 11"),
        (ROWS + "images/0.png,a,b\n", "Line 11"),
        (ROWS + "images/0.png,\n", "Line 11"),
        ("x.png,a\ny.png,b\n", "None of the 2 paths"),
        ("images/0.png,a\nimages/1.png,a\n", "'a' alone"),
        ("path,label,split\nimages/0.png,a,dev\n", "'dev'"),
        ("path,label,split\nimages/0.png,a,train\nimages/1.png,b,train\n", "no test images"),
    ],
)
def test_a_csv_that_cannot_be_used_is_refused_in_one_line(tmp_path, text, word):
    path = table(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        opened(path, "test")
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_folders_that_cannot_be_used_are_refused_in_one_line(tmp_path):
    with pytest.raises(UsageError, match="no labelled data"):
        opened(tmp_path / "none")
    picture(tmp_path / "a" / "0.png")
    with pytest.raises(UsageError, match="'a' alone"):
        opened(tmp_path)
    picture(tmp_path / "stray.png")
    with pytest.raises(UsageError, match=r"1 of 2 files .*stray\.png"):
        opened(tmp_path)
    binary = tmp_path / "x.csv"
    binary.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(UsageError, match="as CSV"):
        opened(binary)


def test_one_image_a_class_leaves_nothing_to_test_on(tmp_path):
    for name in "abc":
        picture(tmp_path / name / "0.png")
    assert len(opened(tmp_path)) == 3
    with pytest.raises(UsageError, match="no test images"):
        opened(tmp_path, "test")


@pytest.mark.parametrize("zipped", [False, True])
def test_idx_labels_belong_to_idx_images(tmp_path, zipped):
    opener = gzip.open if zipped else open
    end = ".gz" if zipped else ""
    for stem, n in {"train": 5, "t10k": 3}.items():
        with opener(tmp_path / f"{stem}-images-idx3-ubyte{end}", "wb") as file:
            file.write(struct.pack(">4B3I", 0, 0, 8, 3, n, 4, 4) + bytes(range(n * 16)))
        with opener(tmp_path / f"{stem}-labels-idx1-ubyte{end}", "wb") as file:
            file.write(struct.pack(">4BI", 0, 0, 8, 1, n) + bytes(reversed(range(n))))
    train, test = opened(f"fashion-mnist:{tmp_path}"), opened(f"fashion-mnist:{tmp_path}", "test")
    assert train.labels.tolist() == [4, 3, 2, 1, 0]
    assert test.labels.tolist() == [2, 1, 0]
    assert train.classes[9] == "Ankle boot"
    assert (len(train.source), len(test.source)) == (5, 3)
    (tmp_path / f"t10k-labels-idx1-ubyte{end}").unlink()
    with pytest.raises(UsageError, match="t10k-labels"):
        opened(f"fashion-mnist:{tmp_path}", "test")
    with opener(tmp_path / f"t10k-labels-idx1-ubyte{end}", "wb") as file:
        file.write(struct.pack(">4BI", 0, 0, 8, 1, 2) + bytes(2))
    with pytest.raises(UsageError, match=r"shape \(2,\)"):
        opened(f"fashion-mnist:{tmp_path}", "test")


def test_the_built_in_tail_is_a_part_of_which_few_classes_hold_most():
    whole, tail = opened("builtin:fashion"), opened("builtin:fashion-tail")
    sizes = torch.bincount(tail.labels).tolist()
    assert sizes == [round(1122 * 100 ** (-k / 9)) for k in range(10)]
    images, some = (data.source.stack["image"] for data in (whole, tail))
    assert len(some) == len(tail) == sum(sizes)
    known = {image.tobytes(): int(label) for image, label in zip(images, whole.labels, strict=True)}
    assert all(
        known[image.tobytes()] == label
        for image, label in zip(some, tail.labels.tolist(), strict=True)
    )
    assert whole.source.digest != tail.source.digest
    tests = [opened(spec, "test") for spec in ("builtin:fashion", "builtin:fashion-tail")]
    assert torch.equal(tests[0].labels, tests[1].labels)
    assert tests[0].source.digest == tests[1].source.digest


def test_the_built_in_labels_fit_the_built_in_images():
    train, test = opened("builtin:fashion"), opened("builtin:fashion", "test")
    assert (len(train.source), len(test.source)) == (len(train), len(test)) == (12_000, 2_000)
    assert len(train.labels.unique()) == 10
    # shoes are flat: a label that slipped by one row would not show this
    bottom = torch.tensor([test.source.read(i)[24:, :, 0].mean() for i in range(500)])
    boots = test.labels[:500] == test.classes.index("Ankle boot")
    bags = test.labels[:500] == test.classes.index("Trouser")
    assert bottom[boots].mean() < bottom[bags].mean()
