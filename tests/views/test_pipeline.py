"""From samples to tensors: all families of a plan at once, each for its encoder."""

import hashlib
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from manyviews.core import UsageError
from manyviews.core.inputs import Frames, LogMel, Pixels
from manyviews.data.direct import seen
from manyviews.data.packet import rooms
from manyviews.data.sources import Stored
from manyviews.views import by_input
from manyviews.views.audio.sounds import Sounds
from manyviews.views.by_input import plain
from manyviews.views.image.augmented import Augmented
from manyviews.views.image.engine import Engine
from manyviews.views.image.patches import Patches
from manyviews.views.image.plain import Plain
from manyviews.views.image.tiles import Tiles
from manyviews.views.image.turned import Turned
from manyviews.views.pipeline import Fed, Pipeline
from manyviews.views.plan import Crops, Mask
from manyviews.views.video.clips import Clips
from manyviews.views.video.plain import PlainClips

PLAN = {
    "global": Crops(blur=(1.0, 0.1), solarize=(0.0, 0.2), mask=Mask(ratio=0.75)),
    "local": Crops(count=3, size=12, scale=(0.05, 0.3), interpolation="bicubic"),
}
OTHERS = {
    "tiles": Tiles(cell=8, size=6),
    "turned": Turned(count=2, size=16),
    "patches": Patches(size=6, stride=3),
    "augmented": Augmented(count=2, size=8),
}


def pixels(channels=3, side=24):
    return Pixels(side=side, channels=channels, mean=(0.5,), std=(0.25,))


def pipeline(plan=PLAN, *, channels=3, seed=0):
    return Pipeline(plan, {"image": Fed(pixels(channels), (6, 6))}, seed=seed)


def pictures(count, channels=3, side=32):
    shape = (count, side, side, channels)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def made(pipeline, images, index, epoch=0):
    views = rooms(pipeline.makes, len(images))
    return views, pipeline.make(images, np.asarray(index), epoch, views)


def test_views_and_cues_have_the_layouts_that_are_promised():
    every = pipeline(PLAN | OTHERS)
    views, cues = made(every, pictures(5), np.arange(5))
    assert {name: view.shape for name, view in views.items()} == {
        "global": (5, 2, 24, 24, 3),
        "local": (5, 3, 12, 12, 3),
        "tiles": (5, 9, 6, 6, 3),
        "turned": (5, 2, 16, 16, 3),
        "patches": (5, 49, 6, 6, 3),
        "augmented": (5, 2, 8, 8, 3),
    }
    assert all(view.dtype == np.uint8 for view in views.values())
    assert list(cues) == list(every.cues) == ["global.mask", "tiles.order", "turned.turns"]
    for name, cue in cues.items():
        layout = every.cues[name]
        assert (cue.shape, cue.dtype) == ((5, layout.count, *layout.shape), layout.dtype)
    assert cues["global.mask"].shape == (5, 2, 36)
    assert (cues["global.mask"].sum(axis=-1) == 27).all()


def test_families_and_masks_that_are_not_planned_are_absent():
    one = pipeline({"global": Crops(size=8), "local": Crops(count=0)}, channels=1)
    views, cues = made(one, pictures(2, channels=1), np.arange(2))
    assert list(views) == list(one.makes) == ["global"]
    assert cues == one.cues == {}


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_no_view_and_no_cue_depends_on_its_batch_or_on_other_families(channels):
    every, images = pipeline(PLAN | OTHERS, channels=channels), pictures(30, channels)
    index = np.arange(30) * 11
    views, cues = made(every, images, index, 3)
    for rows in ([4], [29, 0, 17], list(range(7, 25))):
        part, part_cues = made(every, images[rows], index[rows], 3)
        for whole, some in ((views, part), (cues, part_cues)):
            assert whole.keys() == some.keys()
            for name in whole:
                assert np.array_equal(some[name], whole[name][rows]), name
    for name, family in (PLAN | OTHERS).items():
        alone, alone_cues = made(pipeline({name: family}, channels=channels), images, index, 3)
        assert np.array_equal(alone[name], views[name])
        for cue in alone_cues:
            assert np.array_equal(alone_cues[cue], cues[cue])


def test_masks_change_with_seed_epoch_sample_view_and_family():
    plan = {name: Crops(mask=Mask(ratio=0.5)) for name in ("global", "other")}
    found = {
        mask.tobytes()
        for seed in (0, 1)
        for epoch in (0, 1)
        for cue in made(pipeline(plan, seed=seed), pictures(2), np.arange(2), epoch)[1].values()
        for mask in cue.reshape(-1, 36)
    }
    assert len(found) == 2 * 2 * 2 * 2 * 2


@pytest.mark.parametrize(("channels", "wanted"), [(1, "8c12248c88372079"), (3, "5e1eac16d03f07ae")])
def test_small_views_and_masks_are_the_ones_that_earlier_versions_made(channels, wanted):
    """A change here means that no old run can be resumed exactly: raise the version, say so."""
    shape = (4, 28, 28, channels)
    array = (np.arange(np.prod(shape)) * 2654435761 >> 7).astype(np.uint8).reshape(shape)
    views, cues = made(pipeline(channels=channels, seed=7), array, np.arange(4), 2)
    parts = (views["global"], views["local"], cues["global.mask"])
    found = hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts))
    assert found.hexdigest().startswith(wanted)


def test_crops_of_samples_that_are_read_are_those_of_images_in_memory():
    every, source = pipeline(PLAN | OTHERS), Stored("s", pictures(6))
    assert np.array_equal(every.stacked(source), source.array)
    where, views, cues = seen(source, every, [4, 1], epoch=2)
    assert where == [4, 1]
    wanted, wanted_cues = made(every, source.array[[4, 1]], [4, 1], 2)
    for got, want in ((views, wanted), (cues, wanted_cues)):
        assert got.keys() == want.keys()
        assert all(np.array_equal(got[name], want[name]) for name in want)
    crops = {"global": Crops(size=24, blur=(1.0, 0.1), solarize=(0.0, 0.2)), "local": PLAN["local"]}
    engine = Engine(crops, channels=3, seed=0)
    for name, view in engine(source.array[[4, 1]], np.array([4, 1]), 2).items():
        assert np.array_equal(views[name], view)


class Long:
    """A stream of 100 seconds of nothing, which remembers what it was asked for."""

    span = 100.0

    def __init__(self, *shape, dtype):
        self.asked, self.shape, self.dtype = [], shape, dtype

    def read(self, window):
        self.asked.append(window)
        return np.zeros((window.count, *self.shape), dtype=self.dtype)


class Film:
    """Samples of two long streams."""

    def open(self, index):
        self.streams = {"video": Long(16, 16, 3, dtype=np.uint8), "audio": Long(dtype=np.float32)}
        return self.streams


def test_sound_is_read_around_the_clips_that_are_read_and_says_how_far_off():
    fed = {"video": Fed(Frames(side=16, frames=2)), "audio": Fed(LogMel(seconds=1.0))}
    plan = {"audio": Sounds(count=2, offset=0.5), "video": Clips(count=2)}
    both, film = Pipeline(plan, fed, seed=3), Film()
    offsets = []
    for index in range(8):
        item = both.read(film, index, epoch=1)
        clips, sounds = (film.streams[name].asked for name in ("video", "audio"))
        views = rooms(both.makes, 1)
        cues = both.make([item], np.array([index]), 1, views)
        found = [sound.start - clip.start for sound, clip in zip(sounds, clips, strict=True)]
        assert cues["audio.offset"][0].tolist() == pytest.approx(found, abs=1e-5)
        offsets += found
    assert 0.3 < max(abs(offset) for offset in offsets) <= 0.5


def test_every_family_is_finished_as_its_encoder_is_fed():
    left, right = pixels(), Pixels(side=16, mean=(0.1, 0.2, 0.3), std=(0.3, 0.2, 0.1))
    plan = {"one": Crops(to="left", count=1), "two": Crops(to="right", mask=Mask(ratio=0.5))}
    both = Pipeline(plan, {"left": Fed(left, (6, 6)), "right": Fed(right, (2, 2))})
    assert both.inputs() == {"one": left, "two": right}
    views, cues = made(both, pictures(3), np.arange(3))
    raw = {name: torch.from_numpy(view) for name, view in views.items()}
    batch = both.finish(
        raw,
        {name: torch.from_numpy(cue) for name, cue in cues.items()},
        torch.arange(3),
        torch.device("cpu"),
    )
    assert batch.views["one"].shape == (3, 1, 3, 24, 24)
    assert torch.equal(batch.views["one"], left.finish(raw["one"]))
    assert torch.equal(batch.views["two"], right.finish(raw["two"]))
    assert batch.cues["two.mask"].shape == (3, 2, 4)
    assert torch.equal(batch.index, torch.arange(3))


def test_plain_views_are_families_of_the_encoders_names():
    fed = {"left": Fed(pixels()), "right": Fed(pixels(side=16))}
    images = pictures(4)
    views, cues = made(plain(fed), images, np.arange(4))
    assert not cues
    for name, encoder in fed.items():
        assert np.array_equal(views[name][:, 0], Plain(encoder.input).uint8(images))


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        ({"global": Crops(to="text")}, "is made for the encoder 'text', and there is image"),
        ({"local": Crops(size=12, mask=Mask(ratio=0.5))}, "those of 'local' have 12"),
        ({"global": Crops(hue=0.7)}, "--views.global.hue is 0.7"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused_by_the_familys_name(plan, says):
    with pytest.raises(UsageError) as refused:
        pipeline(plan)
    assert says in str(refused.value)
    assert f"--views.{next(iter(plan))}." in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("family", [Crops(), Tiles(), Turned()])
def test_views_of_images_are_refused_for_an_encoder_of_something_else(family):
    with pytest.raises(UsageError, match=r"the encoder 'image' is fed Frames"):
        Pipeline({"some": family}, {"image": Fed(Frames())})


def test_a_window_that_several_families_and_views_ask_for_is_decoded_once():
    fed = {name: Fed(Frames(side=16, frames=2)) for name in ("one", "two")}
    plan = {name: PlainClips(to=name, count=count) for name, count in (("one", 1), ("two", 3))}
    film = Film()
    item = Pipeline(plan, fed).read(film, 0, epoch=0)
    assert [len(item.decoded[name]) for name in plan] == [1, 3]
    assert item.windows["one"] == item.windows["two"][1:2]
    assert item.decoded["one"][0] is item.decoded["two"][1]
    assert len(film.streams["video"].asked) == 3


def test_a_family_comes_behind_the_one_that_it_is_cut_around_however_deep():
    fed = {"video": Fed(Frames(side=16, frames=2)), "audio": Fed(LogMel(seconds=1.0))}
    plan = {
        "third": Sounds(around="second", offset=0.0),
        "second": Sounds(around="first", offset=0.0),
        "first": Clips(),
    }
    item = Pipeline(plan, fed).read(Film(), 5, epoch=0)
    assert list(item.windows) == ["first", "second", "third"]
    assert item.windows["third"] == item.windows["second"]


@dataclass(frozen=True, kw_only=True)
class Around(Turned):
    """A family of images that asks for what images do not have."""

    around: str = "a"


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        (
            {"a": Sounds(around="b"), "b": Sounds(around="a"), "c": Sounds(around="")},
            "The families a, b are cut around one another in a circle",
        ),
        ({"a": Sounds(around="a")}, "in a circle"),
        ({"a": Sounds(around="b")}, "which is not made"),
        ({"a": Sounds(around="b"), "b": Crops(to="image")}, "images have no time"),
        ({"b": Around(), "a": Clips()}, "images have no time"),
    ],
)
def test_what_cannot_be_cut_around_is_refused_in_one_line(plan, says):
    fed = {"video": Fed(Frames()), "audio": Fed(LogMel()), "image": Fed(pixels())}
    with pytest.raises(UsageError, match=says) as refused:
        Pipeline(plan, fed)
    assert "\n" not in str(refused.value)


def test_images_with_two_numbers_of_channels_are_refused():
    fed = {"grey": Fed(pixels(1)), "colour": Fed(pixels(3))}
    plan = {"one": Crops(to="colour"), "two": Turned(to="grey")}
    with pytest.raises(UsageError, match="would be 3 in 'one' and 1 in 'two'") as refused:
        Pipeline(plan, fed)
    assert "\n" not in str(refused.value)


def test_a_plain_view_says_itself_what_it_is_beside(monkeypatch):
    fed = {"ear": Fed(LogMel()), "eye": Fed(Frames()), "second": Fed(Frames())}
    assert plain(fed)._families["ear"].around == "eye"
    assert plain({"ear": fed["ear"]})._families["ear"].around == ""

    class Others(PlainClips):
        """Another plain view of video, of whatever name."""

    monkeypatch.setitem(by_input.PLAIN, Frames, Others)
    assert plain(fed)._families["ear"].around == "eye"
