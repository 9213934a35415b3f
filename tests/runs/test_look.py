"""What an encoder makes of a sample of images, whatever batches they are read in."""

import numpy as np
import pytest
import torch

from manyviews.core import UsageError
from manyviews.core.inputs import Pixels
from manyviews.data.sources import Stored
from manyviews.data.streams.image import Unreadable
from manyviews.runs import look as sight
from manyviews.views.by_input import plain_of, random_of

torch.set_num_threads(1)

SIDE = 8


class Some(Stored):
    """Noise, of which some images cannot be read."""

    def __init__(self, count=40, bad=()):
        pixels = np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 1), dtype=np.uint8)
        super().__init__("noise", pixels)
        self.bad = bad

    def read(self, index):
        if index in self.bad:
            raise Unreadable(self.name(index), "spoilt")
        return super().read(index)


@pytest.fixture(scope="module")
def look():
    """The encoder says every pixel, the prototypes the first row, so that no two images agree."""
    fed = Pixels(side=SIDE, channels=1, mean=(0.5,), std=(0.5,))
    return sight.Look(
        plain_of(fed),
        random_of(fed, {}),
        lambda x: {"encoder": x.flatten(2), "projector": x.flatten(2)[..., :3]},
        torch.device("cpu"),
        sight.alterations(fed),
        lambda x: x[:, 0, 0].softmax(dim=-1),
    )


def seen(look, monkeypatch, *, batch, bad=()):
    monkeypatch.setattr(sight, "BATCH", batch)
    told = []
    index = np.arange(1, 40, 2)
    found = sight.see(look, Some(bad=bad), index, views=3, tell=lambda *done: told.append(done))
    return found, told


@pytest.mark.parametrize("bad", [(), (3, 17, 19, 21, 39)], ids=["all", "some"])
@pytest.mark.parametrize("batch", [1, 3, 8])
def test_many_batches_see_what_one_does(look, monkeypatch, batch, bad):
    one, _ = seen(look, monkeypatch, batch=64, bad=bad)
    many, told = seen(look, monkeypatch, batch=batch, bad=bad)
    assert many.rows == one.rows == [i for i in range(1, 40, 2) if i not in bad]
    torch.testing.assert_close(vars(many), vars(one), rtol=0, atol=0)
    assert told[-1] == (20, 20)
    assert [done for done, _ in told] == sorted({done for done, _ in told})


def test_every_row_is_of_its_own_image(look, monkeypatch):
    found, _ = seen(look, monkeypatch, batch=8)
    pixels = torch.from_numpy(Some().array)[found.rows].flatten(1)
    assert torch.equal(found.plain["encoder"].mul(127.5).add(127.5).round(), pixels.float())
    assert found.views["encoder"].shape == (20, 3, SIDE * SIDE)
    assert len(found.assignment) == 20
    turned = found.changed["encoder"]["flip"]
    assert torch.equal(turned, found.plain["encoder"].unflatten(1, (SIDE, SIDE)).flip(2).flatten(1))


def test_single_augmentations_are_tried_on_the_first_images_alone(look, monkeypatch):
    monkeypatch.setattr(sight, "TURNED", 10)
    found, _ = seen(look, monkeypatch, batch=5)
    assert {len(part) for part in found.changed["encoder"].values()} == {10}
    assert len(found.plain["encoder"]) == 20


def test_too_few_readable_images_are_one_line(look, monkeypatch):
    with pytest.raises(UsageError, match=r"9 of 20 images could be read; wanted 10 or more"):
        seen(look, monkeypatch, batch=8, bad=tuple(range(22)))
