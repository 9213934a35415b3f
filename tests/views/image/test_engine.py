"""The engine: same pixels however it is called, and the shapes and cues that were planned."""

import hashlib
import os
import pickle
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
import torch

from manyviews.core import UsageError
from manyviews.core.inputs import Pixels
from manyviews.views.image import engine
from manyviews.views.image.engine import SMALL, Engine
from manyviews.views.image.plain import Plain
from manyviews.views.plan import Crops, Mask

PLAN = {
    "global": Crops(size=24, blur=(1.0, 0.1), solarize=(0.0, 0.2)),
    "local": Crops(count=3, size=12, scale=(0.05, 0.3), interpolation="bicubic"),
}


def images(count, *, channels=3, sides=(20, 140)):
    random = np.random.default_rng(0)
    shapes = random.integers(*sides, (count, 2))
    return [random.integers(0, 256, (*shape, channels), dtype=np.uint8) for shape in shapes]


def digest(views):
    parts = views.values()
    return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts))


def test_views_have_the_planned_shapes():
    views = Engine(PLAN, channels=3, seed=0)(images(5), np.arange(5), 0)
    assert {name: view.shape for name, view in views.items()} == {
        "global": (5, 2, 24, 24, 3),
        "local": (5, 3, 12, 12, 3),
    }
    assert all(view.dtype == np.uint8 for view in views.values())


def test_families_without_views_are_absent():
    engine = Engine({"global": Crops(size=8), "local": Crops(count=0)}, channels=1, seed=0)
    assert list(engine(images(2, channels=1), np.arange(2), 0)) == ["global"]


def test_views_are_made_where_they_are_wanted():
    engine = Engine(PLAN, channels=3, seed=0)
    wanted = engine(images(5), np.arange(5), 0)
    rooms = {name: np.zeros_like(view) for name, view in wanted.items()}
    made = engine(images(5), np.arange(5), 0, into=rooms)
    for name in PLAN:
        assert made[name] is rooms[name]
        assert np.array_equal(rooms[name], wanted[name])


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_a_view_does_not_depend_on_its_batch(channels):
    pictures = images(30, channels=channels)
    assert {max(picture.shape) > SMALL for picture in pictures} == {False, True}
    engine = Engine(PLAN, channels=channels, seed=0)
    index = np.arange(30) * 11
    whole = engine(pictures, index, 3)
    for rows in ([4], [29, 0, 17], list(range(7, 25))):
        part = engine([pictures[row] for row in rows], index[rows], 3)
        for name in whole:
            assert np.array_equal(part[name], whole[name][rows]), name


def test_one_array_and_a_list_of_images_give_the_same():
    array = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    engine = Engine(PLAN, channels=3, seed=0)
    fresh = Engine(PLAN, channels=3, seed=0)
    first = digest(engine(array, np.arange(40), 0)).digest()
    assert digest(fresh(list(array), np.arange(40), 0)).digest() == first
    large = np.random.default_rng(0).integers(0, 256, (2, 100, 120, 3), dtype=np.uint8)
    first = digest(engine(large, np.arange(2), 0)).digest()
    assert digest(fresh(list(large), np.arange(2), 0)).digest() == first


def test_more_small_images_than_are_made_together():
    array = np.random.default_rng(0).integers(0, 256, (150, 20, 20, 3), dtype=np.uint8)
    engine = Engine(PLAN, channels=3, seed=0)
    whole = engine(array, np.arange(150), 0)
    assert digest(engine(list(array), np.arange(150), 0)).digest() == digest(whole).digest()
    for row in (0, 63, 64, 149):
        one = engine(array[row : row + 1], np.array([row]), 0)
        for name in whole:
            assert np.array_equal(one[name][0], whole[name][row]), (row, name)


def test_strided_images_are_read_right():
    array = np.random.default_rng(0).integers(0, 256, (4, 130, 130, 3), dtype=np.uint8)
    engine = Engine(PLAN, channels=3, seed=0)
    for sides in (slice(None, None, 2), slice(10, 120)):
        strided = array[:, sides, sides]
        first = digest(engine(strided, np.arange(4), 0)).digest()
        copied = np.ascontiguousarray(strided)
        assert digest(engine(copied, np.arange(4), 0)).digest() == first


def test_input_images_are_left_as_they_were():
    pictures = images(6)
    before = [picture.copy() for picture in pictures]
    for picture in pictures:
        picture.setflags(write=False)
    Engine(PLAN, channels=3, seed=0)(pictures, np.arange(6), 0)
    assert all(map(np.array_equal, pictures, before))


def test_views_change_with_epoch_seed_sample_and_view():
    array = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    array = np.repeat(array, 2, axis=0)
    seen = {
        np.ascontiguousarray(view).tobytes()
        for seed in (0, 1)
        for epoch in (0, 1)
        for sample in Engine(PLAN, channels=3, seed=seed)(array, np.arange(2), epoch)["global"]
        for view in sample
    }
    assert len(seen) == 2 * 2 * 2 * 2


def test_threads_and_float_precision_settings_change_nothing():
    pictures = images(12)
    engine = Engine(PLAN, channels=3, seed=0)
    torch_threads, cv_threads = torch.get_num_threads(), cv2.getNumThreads()
    precision = torch.get_float32_matmul_precision()
    digests = set()
    try:
        for threads, matmul in ((1, "highest"), (2, "medium")):
            torch.set_num_threads(threads)
            cv2.setNumThreads(threads)
            torch.set_float32_matmul_precision(matmul)
            digests.add(digest(engine(pictures, np.arange(12), 0)).digest())
    finally:
        torch.set_num_threads(torch_threads)
        cv2.setNumThreads(cv_threads)
        torch.set_float32_matmul_precision(precision)
    assert len(digests) == 1


def test_another_process_makes_the_same_views(tmp_path):
    engine = Engine(PLAN, channels=3, seed=0)
    pictures = images(8)
    here = digest(engine(pictures, np.arange(8), 0)).hexdigest()
    (tmp_path / "call").write_bytes(pickle.dumps((engine, pictures)))
    code = (
        "import hashlib, pickle, sys, numpy as np\n"
        "engine, pictures = pickle.load(open(sys.argv[1], 'rb'))\n"
        "views = engine(pictures, np.arange(8), 0).values()\n"
        "print(hashlib.sha256(b''.join(view.tobytes() for view in views)).hexdigest())\n"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "call")],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    assert done.stdout.strip() == here


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        ({"global": Crops(scale=(0.0, 1.0))}, "--views.global.scale is 0 1"),
        ({"global": Crops(scale=(0.5, 0.1))}, "--views.global.scale"),
        ({"global": Crops(blur=(0.5, 0.5, 0.5))}, "--views.global.blur"),
        ({"global": Crops(solarize=(1.5,))}, "--views.global.solarize"),
        ({"global": Crops(hue=0.7)}, "--views.global.hue is 0.7"),
        ({"global": Crops(jitter=-0.1)}, "--views.global.jitter is -0.1"),
        ({"global": Crops(brightness=-1)}, "--views.global.brightness is -1"),
        ({"global": Crops(sigma=(0.0, 2.0))}, "--views.global.sigma"),
        ({"global": Crops(ratio=(2.0, 1.0))}, "--views.global.ratio"),
        ({"global": Crops(size=1)}, "--views.global.size is 1"),
        ({"local": Crops(count=-1)}, "--views.local.count is -1"),
        ({"local": Crops(mask=Mask(ratio=1.0))}, "--views.local.mask.ratio is 1.0"),
    ],
)
def test_a_plan_out_of_range_is_refused_by_name(plan, says):
    with pytest.raises(UsageError) as refused:
        Engine(plan, channels=3, seed=0)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("side", [16, 130])
def test_read_only_images_bring_no_warning(side):
    """The large path hands whole crops to torch, which warns of memory it must not write to."""
    images = [np.zeros((side, side, 3), dtype=np.uint8) for _ in range(2)]
    for image in images:
        image.setflags(write=False)
    torch_warned = torch.is_warn_always_enabled()
    torch.set_warn_always(True)  # else only the first time in a process
    try:
        whole = Crops(size=24, scale=(1.0, 1.0), ratio=(1.0, 1.0))
        Engine({"global": whole}, channels=3, seed=0)(images, np.arange(2), 0)
        for size in (24, 100):
            Plain(Pixels(side=size))(images)
    finally:
        torch.set_warn_always(torch_warned)


def test_a_long_wait_is_explained_and_a_short_one_is_not(caplog):
    caplog.set_level("INFO", logger="manyviews")
    with engine._patience(10.0):
        pass
    assert caplog.text == ""
    with engine._patience(0.01):
        time.sleep(0.2)
    assert "machine code" in caplog.text
