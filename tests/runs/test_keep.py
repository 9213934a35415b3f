"""A training that decodes its images once is the training that decodes them in every epoch."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from forks import run
from manyviews.core.settings import override
from manyviews.data.streams import image
from manyviews.encoders import ResNetSmallConfig
from manyviews.recipes import RECIPES
from manyviews.runs import watch
from manyviews.runs.facts import facts
from manyviews.verbs.resume import resume
from manyviews.verbs.train import execute

IMAGES, BATCH, EPOCHS = 32, 8, 4


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for i in range(IMAGES):
        small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        small.resize((300 + i, 200)).save(folder / f"{i:02d}.jpg", quality=95)
    (folder / "07.jpg").write_text("no image")
    return folder


def settings(photos: Path, store: str, *, workers: int = 1):
    recipe = RECIPES["simclr"](facts(str(photos), channels=3))
    fed = replace(recipe.encoders.image.input, side=16)
    encoders = type(recipe.encoders)(image=ResNetSmallConfig(input=fed, width=8))
    given = {
        "train.minutes": 0.0, "train.epochs": EPOCHS, "train.precision": "fp32",
        "train.checkpoint_every": 3, "data.batch_size": BATCH, "data.workers": workers,
        "data.store": store, "method.hidden": 16,
    }  # fmt: skip
    return override(replace(recipe, encoders=encoders), given)


def ending(path: Path) -> dict[str, torch.Tensor]:
    return load_file(
        path / "checkpoints" / f"step_{EPOCHS * IMAGES // BATCH}" / "method.safetensors"
    )


def equal(one: Path, two: Path) -> bool:
    a, b = ending(one), ending(two)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def counting(path: Path) -> None:
    """Write down which image is decoded in this process and in those that it will fork."""
    original = image.read

    def counted(name: str, **options: int) -> np.ndarray:
        with path.open("a") as file:
            file.write(f"{Path(name).stem}\n")
        return original(name, **options)

    image.read = counted


def decodings(path: Path) -> list[int]:
    """How often each readable image was decoded."""
    seen = [int(line) for line in path.read_text().split()]
    return [seen.count(i) for i in range(IMAGES) if i != 7]


def test_it_ends_in_the_same_weights_and_decodes_each_image_once(photos, tmp_path) -> None:
    def train(store: str):
        def action() -> None:
            run_ = settings(photos, store)
            counting(tmp_path / f"{store}.txt")
            execute(run_, out=tmp_path / store)

        return action

    for store in ("off", "memory", "file"):
        assert run(train(store)) == 0
    assert equal(tmp_path / "off", tmp_path / "memory")
    assert equal(tmp_path / "off", tmp_path / "file")
    # The report reads all of them once more, where nothing is kept.
    assert min(decodings(tmp_path / "off.txt")) > EPOCHS
    # Up to 16 are decoded twice beforehand, to see whether it pays; training and the report once.
    for store in ("memory", "file"):
        found = decodings(tmp_path / f"{store}.txt")
        assert max(found) <= 3
        assert sum(found) <= IMAGES - 1 + 2 * 16
    assert not any((tmp_path / "file" / "cache").iterdir())
    quarantined = [(tmp_path / store / "quarantine.jsonl").read_text() for store in ("off", "file")]
    assert quarantined[0] == quarantined[1] != ""


@pytest.mark.parametrize("store", ["memory", "file"])
def test_a_killed_one_leaves_nothing_and_goes_on_exactly(store, photos, tmp_path) -> None:
    def whole() -> None:
        execute(settings(photos, "off"), out=tmp_path / "whole")

    def killed() -> None:
        look = watch.Watch.__call__

        def killing(self, method, step, clock, losses):
            if clock.step == 9:
                os.kill(os.getpid(), signal.SIGKILL)
            return look(self, method, step, clock, losses)

        watch.Watch.__call__ = killing
        run_ = settings(photos, store, workers=2)
        execute(replace(run_, train=replace(run_.train, health_every=1)), out=tmp_path / "cut")

    assert run(whole) == 0
    assert run(killed) == -signal.SIGKILL
    if store == "file":
        assert not any((tmp_path / "cut" / "cache").iterdir())
    assert run(lambda: resume(tmp_path / "cut")) == 0
    assert equal(tmp_path / "whole", tmp_path / "cut")
