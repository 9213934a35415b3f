"""One image, and three."""

import numpy as np
import pytest
from PIL import Image

import manyviews
from manyviews.core import Failure, UsageError

SHORT = {"encoder.width": 8, "data.workers": 0, "train.steps": 1, "train.precision": "fp32"}


def pictures(folder, count):
    folder.mkdir()
    for i in range(count):
        pixels = np.random.default_rng(i).integers(0, 256, (28, 28, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return str(folder)


def test_from_one_image_nothing_can_be_learnt(tmp_path):
    with pytest.raises(UsageError, match=r"The data is one image, .* wanted 2 or more"):
        manyviews.train("simclr", data=pictures(tmp_path / "a", 1), out=tmp_path / "run",
                        overrides=SHORT)  # fmt: skip


def test_three_images_train_and_have_a_report_and_no_diagnosis(tmp_path):
    manyviews.train(
        "simclr", data=pictures(tmp_path / "a", 3), out=tmp_path / "run", overrides=SHORT
    )
    assert (tmp_path / "run" / "report.html").is_file()
    with pytest.raises(Failure, match=r"^3 of 3 images could be read; wanted 10 or more"):
        manyviews.diagnose(tmp_path / "run")
