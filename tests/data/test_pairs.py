"""Some views of a sample are those of another one of its group; nothing else about it changes."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import folder_of

from manyviews.core import UsageError
from manyviews.core.inputs import Frames, LogMel, Pixels
from manyviews.core.sample import Unreadable
from manyviews.data import direct, loader, store
from manyviews.data.pack.make import pack
from manyviews.data.pairs import Pairs, Partners, find, fingerprint, halves
from manyviews.data.settings import Positives
from manyviews.data.sources import Stored, open_source
from manyviews.views.audio.sounds import Sounds
from manyviews.views.image.blocks import Blocks
from manyviews.views.image.masked import Masked
from manyviews.views.image.tiles import Tiles
from manyviews.views.image.turned import Turned
from manyviews.views.pipeline import Fed, Pipeline
from manyviews.views.plan import Crops, Mask
from manyviews.views.video.clips import Clips

GROUP = np.array([0, 1, 0, 1, 0, 2, 3, 1, 3, 0, 1, 0])
PLATE = np.array([0, 0, 0, 1, 1, 0, 5, 1, 5, 2, 1, 2])
EACH = np.arange(len(GROUP))


def drawn(partners, epochs=400):
    """Of each sample: whom it was drawn with, and how often."""
    found = np.stack([partners(EACH, epoch) for epoch in range(epochs)])
    return [dict(zip(*np.unique(column, return_counts=True), strict=True)) for column in found.T]


def test_a_partner_is_any_other_one_of_the_group_equally_often():
    partners = Partners(GROUP, EACH, seed=3)
    for i, found in enumerate(drawn(partners)):
        others = set(np.flatnonzero(GROUP[i] == GROUP)) - {i}
        assert set(found) == (others or {i})
        fair = 400 / len(found)
        assert all(abs(count - fair) < 5 * fair**0.5 for count in found.values())
    assert (partners.alone, partners.alike, partners.groups) == (1, 0, 3)


def test_a_partner_differs_where_it_has_to_or_there_is_none():
    partners = Partners(GROUP, PLATE, seed=3)
    for i, found in enumerate(drawn(partners)):
        others = set(np.flatnonzero((GROUP[i] == GROUP) & (PLATE[i] != PLATE)))
        assert set(found) == (others or {i})
    assert (partners.alone, partners.alike) == (1, 2)


def test_a_partner_depends_on_seed_epoch_and_sample_alone():
    partners = Partners(GROUP, EACH, seed=3)
    whole = partners(EACH, 5)
    assert np.array_equal(partners(EACH[[7, 2]], 5), whole[[7, 2]])
    assert np.array_equal(pickle.loads(pickle.dumps(partners))(EACH, 5), whole)
    assert any(not np.array_equal(partners(EACH, epoch), whole) for epoch in (0, 1))
    assert any(not np.array_equal(Partners(GROUP, EACH, seed=s)(EACH, 5), whole) for s in (0, 1))


def test_views_take_turns_over_all_families():
    own, theirs = halves({"global": 2, "local": 5}, {"global": "", "local": ""}, ())
    assert {name: views.tolist() for name, views in own.items()} == {
        "global": [0],
        "local": [0, 2, 4],
    }
    assert theirs["local"].tolist() == [1, 3]
    around = {"video": "", "audio": "video"}
    _, theirs = halves({"video": 2, "audio": 2}, around, ())
    assert theirs["audio"].tolist() == theirs["video"].tolist() == [1]
    plan = {"global": 1, "tiles": 9}
    own, theirs = halves(plan, dict.fromkeys(plan, ""), ("tiles",))
    assert (own["global"].tolist(), own["tiles"].tolist()) == ([0], [])
    assert theirs["tiles"].tolist() == list(range(9))
    _, theirs = halves({"tiles": 9}, {"tiles": ""}, ("tiles",))
    assert not theirs["tiles"].size


IMAGES = {
    "global": Crops(blur=(1.0, 0.1), solarize=(0.0, 0.2), mask=Mask(ratio=0.75)),
    "local": Crops(count=3, size=12, scale=(0.05, 0.3), interpolation="bicubic"),
    "tiles": Tiles(cell=8, size=6),
    "turned": Turned(count=2, size=16),
    "blocks": Blocks(count=2),
    "masked": Masked(count=2),
}
FED = {"image": Fed(Pixels(side=24, channels=3), (6, 6))}


class Noise:
    """A stream of 60 seconds that is different at all times, and in every sample."""

    span = 60.0

    def __init__(self, index, *shape, dtype):
        self.index, self.shape, self.dtype = index, shape, dtype

    def read(self, window):
        rng = np.random.default_rng([self.index, int(window.start * 1000)])
        return rng.integers(0, 256, (window.count, *self.shape)).astype(self.dtype)


class Films:
    """Samples of video with sound."""

    streams, stack, spec, digest = ("video", "audio"), {}, "films", ""

    def __len__(self):
        return len(GROUP)

    def name(self, index):
        return f"film {index}"

    def open(self, index):
        return {
            "video": Noise(index, 20, 20, 3, dtype=np.uint8),
            "audio": Noise(-index % 997, dtype=np.float32),
        }


CLIPS = {
    "video": Clips(count=3, mask=Mask(ratio=0.5, kind="tube"), speeds=(1.0, -2.0)),
    "audio": Sounds(count=3, offset=0.5),
}
HEARD = {
    "video": Fed(Frames(side=16, frames=2), (1, 4, 4)),
    "audio": Fed(LogMel(seconds=1.0), (1,)),
}


def pictures():
    shape = (len(GROUP), 30, 26, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def pairs_of(pipeline, partners, around=None, whole=()):
    counts = {name: layout.count for name, layout in pipeline.makes.items()}
    own, theirs = halves(counts, around or dict.fromkeys(counts, ""), whole)
    return Pairs(partners, pipeline.only(own), pipeline.only(theirs), theirs)


def check(source, pipeline, pairs, *, workers=0, read=None):
    """Every view is one that its sample, or that sample's partner, has by itself."""
    raws = loader.batches(
        source, pipeline, seed=3, global_batch=6, start_step=0, stop_step=4, workers=workers,
        on_bad=lambda bad: None, pairs=pairs,
    )  # fmt: skip
    swapped = 0
    for step, [raw] in enumerate(raws):
        epoch, index = step // 2, raw.index.numpy()
        where = pairs.partners(index, epoch)
        swapped += int((where != index).sum())
        _, own, own_cues = direct.seen(source, pipeline, index.tolist(), epoch=epoch)
        found = dict(raw.views) | dict(raw.cues)
        alone = {**own, **own_cues}
        assert found.keys() == alone.keys()
        for row, other in enumerate(where.tolist()):
            _, its, its_cues = direct.seen(source, pipeline, [other], epoch=epoch)
            for name, value in found.items():
                theirs = pairs.theirs[name.partition(".")[0]]
                wanted = np.array(alone[name][row])
                wanted[theirs] = {**its, **its_cues}[name][0][theirs]
                assert np.array_equal(value[row].numpy(), wanted), (name, step, row)
    assert swapped > 15


@pytest.mark.parametrize("form", ["array", "files", "kept", "jpeg pack", "array pack"])
def test_a_grouped_view_is_the_one_that_its_sample_has_by_itself(tmp_path, form):
    """Of every family of images, and of every kind of source."""
    pipeline, partners = Pipeline(IMAGES, FED, seed=3), Partners(GROUP, PLATE, seed=3)
    pairs = pairs_of(pipeline, partners, whole=("tiles",))
    source = Stored("s", pictures())
    if form != "array":
        folder = folder_of(tmp_path / "pictures", len(GROUP))
        source = open_source(str(folder), channels=3, max_pixels=10**6)
    if form.endswith("pack"):
        kind = "jpeg" if form.startswith("jpeg") else "uint8"
        pack(str(folder), out=tmp_path / "pack", format=kind)
        source = open_source(str(tmp_path / "pack"), channels=3, max_pixels=10**6)
    if form == "kept":
        kept = store.create(len(GROUP), channels=3, largest=10**5, budget=10**7)
        source = store.Kept(source, kept)
    check(source, pipeline, pairs)
    assert form != "kept" or kept.kept == len(GROUP)


def test_a_grouped_clip_brings_the_sound_that_is_beside_it():
    pipeline = Pipeline(CLIPS, HEARD, seed=3)
    pairs = pairs_of(pipeline, Partners(GROUP, EACH, seed=3), {"video": "", "audio": "video"})
    assert list(pairs.theirs["audio"]) == [1]
    check(Films(), pipeline, pairs)


def test_no_more_of_a_film_is_decoded_than_without_groups(monkeypatch):
    read = []
    monkeypatch.setattr(
        Noise, "read", lambda self, w, f=Noise.read: read.append(self.index) or f(self, w)
    )
    pipeline = Pipeline({"video": Clips(count=2)}, HEARD, seed=3)
    both = pairs_of(pipeline, Partners(GROUP, EACH, seed=3))
    both.own.read(Films(), 0, 0)
    both.other.read(Films(), 2, 0)
    assert read == [0, 2]


def test_workers_and_the_step_that_a_run_goes_on_from_change_nothing(tmp_path):
    folder = folder_of(tmp_path, len(GROUP))
    source = open_source(str(folder), channels=3, max_pixels=10**6)
    pipeline = Pipeline({"global": Crops(mask=Mask(ratio=0.5))}, FED, seed=3)
    pairs = pairs_of(pipeline, Partners(GROUP, EACH, seed=3))

    def stream(start, workers):
        return [
            raw
            for [raw] in loader.batches(
                source, pipeline, seed=3, global_batch=6, start_step=start, stop_step=5,
                workers=workers, on_bad=lambda bad: None, pairs=pairs,
            )
        ]  # fmt: skip

    whole = stream(0, 0)
    for other, start in ((stream(0, 2), 0), (stream(3, 0), 3)):
        assert len(other) == 5 - start
        for one, two in zip(whole[start:], other, strict=True):
            assert torch.equal(one.views["global"], two.views["global"])
            assert torch.equal(one.cues["global.mask"], two.cues["global.mask"])
            assert torch.equal(one.index, two.index)


def test_a_partner_that_cannot_be_read_leaves_the_sample_with_itself_and_is_reported(tmp_path):
    folder = folder_of(tmp_path, 4, bad=(3,))
    source = open_source(str(folder), channels=3, max_pixels=10**6)
    pipeline = Pipeline({"global": Crops()}, FED, seed=0)
    pairs = pairs_of(pipeline, Partners(np.array([0, 1, 1, 0]), np.arange(4), seed=0))
    bad = []
    [[raw]] = loader.batches(
        source, pipeline, seed=0, global_batch=4, start_step=0, stop_step=1, workers=0,
        max_bad=0.5, on_bad=lambda one: bad.append(Path(one.path).name), pairs=pairs,
    )  # fmt: skip
    assert bad == ["0003.png"]
    row = raw.index.tolist().index(0)
    _, alone, _ = direct.seen(source, pipeline, [0])
    assert np.array_equal(raw.views["global"][row].numpy(), alone["global"][0])


def test_a_film_that_cannot_be_read_further_on_costs_no_step(monkeypatch):
    whole = Noise.read

    def broken(self, window):
        if self.index == 5 and self.dtype == np.uint8 and window.start > 5:
            raise Unreadable("film 5", "ends early")
        return whole(self, window)

    monkeypatch.setattr(Noise, "read", broken)
    pipeline = Pipeline({"video": Clips(count=2)}, HEARD, seed=3)
    pairs = pairs_of(pipeline, Partners(GROUP, EACH, seed=3))
    bad = []
    steps = loader.batches(
        Films(), pipeline, seed=3, global_batch=12, start_step=0, stop_step=30, workers=0,
        max_bad=0.5, on_bad=lambda one: bad.append(one.path), pairs=pairs,
    )  # fmt: skip
    held = [5 in raw.index for [raw] in steps]
    assert bad == ["film 5"]
    assert True in held  # its first view could be read, and its second could not


def table(tmp_path, text="", name="meta.csv", count=8):
    """A folder of images, and a CSV beside it."""
    folder_of(tmp_path / "images", count)
    rows = [f"images/{i:04}.png,p{i // 2},{'a' if i % 4 < 3 else 'b'}" for i in range(count)]
    (tmp_path / name).write_text(text or "\n".join(["path,patient,scanner", *rows]) + "\n")
    return tmp_path / name


def opened(spec):
    return open_source(str(spec), channels=3, max_pixels=10**6)


def test_groups_come_from_a_csv_that_is_the_data_or_beside_it(tmp_path):
    path = table(tmp_path)
    partners, said = find(opened(path), Positives(group="patient"), seed=0)
    assert said == "patient: 4 groups of 8 samples"
    assert partners(np.arange(8), 0).tolist() == [1, 0, 3, 2, 5, 4, 7, 6]
    by = Positives(group=f"{path}:patient", differ=f"{path}:scanner")
    partners, said = find(opened(tmp_path / "images"), by, seed=0)
    assert partners(np.arange(8), 0).tolist() == [0, 1, 3, 2, 4, 5, 7, 6]
    assert "4 have none in theirs that differs in" in said
    assert said.endswith("and are paired with themselves")
    pack(str(tmp_path / "images"), out=tmp_path / "pack")
    (tmp_path / "images").rename(tmp_path / "gone")
    packed, _ = find(opened(tmp_path / "pack"), by, seed=0)
    assert packed(np.arange(8), 0).tolist() == [0, 1, 3, 2, 4, 5, 7, 6]


def test_a_sample_without_a_value_is_alone(tmp_path):
    path = table(tmp_path)
    path.write_text(path.read_text().replace(",p1,", ",,").replace("0007.png,p3,b", "0007.png,p3,"))
    source = opened(path)
    partners, said = find(source, Positives(group="patient"), seed=0)
    assert partners(np.arange(8), 0).tolist() == [1, 0, 2, 3, 5, 4, 7, 6]
    assert "2 samples are alone in theirs" in said
    with pytest.raises(UsageError, match="no two samples of one group differ"):
        find(source, Positives(group="patient", differ="scanner"), seed=0)


def test_groups_come_from_folders_and_names(tmp_path):
    for name in ("a/x/cat_1.png", "a/y/cat_2.png", "b/x/dog_1.png", "b/x/dog_2.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    source = opened(tmp_path)
    for spec, wanted in (
        ("folder:1", [1, 0, 3, 2]),
        ("folder:2", [0, 1, 3, 2]),
        ("folder", [0, 1, 3, 2]),
        (r"name:^(\w+)_", [1, 0, 3, 2]),
        (r"name:cat", [1, 0, 2, 3]),
    ):
        partners, _ = find(source, Positives(group=spec), seed=0)
        assert partners(np.arange(4), 0).tolist() == wanted, spec


@pytest.mark.parametrize(
    ("positives", "says"),
    [
        ({"group": "patients"}, "has no column 'patients'. It has path, patient, scanner"),
        ({"group": "path"}, "every sample is alone in its group (8 values for 8 samples)"),
        ({"group": "name:png"}, "all 8 samples are of one group"),
        ({"group": "patient", "differ": "patient"}, "no two samples of one group differ in it"),
        ({"group": "other.csv:patient"}, "there is no file other.csv"),
        ({"group": "folder:3"}, "no file lies so deep; the first is images/0000.png"),
        ({"group": "folder:no"}, "wants a number of folders"),
        ({"group": "name:("}, "is no regular expression"),
        ({"group": "name:tiff"}, "finds nothing in any file's name; the first is 0000.png"),
    ],
)
def test_what_makes_no_pairs_is_refused_in_one_line(tmp_path, positives, says):
    with pytest.raises(UsageError) as refused:
        find(opened(table(tmp_path)), Positives(**positives), seed=0)
    assert says in str(refused.value)
    assert str(refused.value).startswith("--views.")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("images/0000.png,p0\nimages/0001.png,p0\n", "has no header with a column of paths"),
        ("path,patient\nimages/0000.png\n", "Line 2 of"),
        ("path,patient\n", "no rows but its header"),
        ("path,patient\nnone.png,a\n", "leads to a file"),
    ],
)
def test_a_csv_that_is_no_data_is_refused_in_one_line(tmp_path, text, says):
    with pytest.raises(UsageError) as refused:
        opened(table(tmp_path, text))
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_csv_of_paths_alone_is_a_list_as_it_was(tmp_path):
    source = opened(table(tmp_path, "images/0001.png\nimages/0000.png\n", name="list.csv"))
    assert [Path(source.name(i)).name for i in range(2)] == ["0001.png", "0000.png"]


def test_two_rows_of_a_file_are_one_sample_and_may_not_contradict_one_another(tmp_path):
    text = "path,patient,finding\n"
    text += "".join(f"images/000{i}.png,p{i // 2},{f}\n" for i in range(4) for f in "ab")
    source = opened(table(tmp_path, text))
    assert len(source) == 4
    assert find(source, Positives(group="patient"), seed=0)[0].groups == 2
    with pytest.raises(UsageError, match=r"several values for images/000\d\.png there"):
        find(source, Positives(group="finding"), seed=0)


def test_a_column_of_images_without_files_and_one_of_a_folder_are_refused(tmp_path):
    with pytest.raises(UsageError, match="groups files, and s has none"):
        find(Stored("s", pictures()), Positives(group="patient"), seed=0)
    table(tmp_path)
    with pytest.raises(UsageError, match="is no CSV with columns"):
        find(opened(tmp_path / "images"), Positives(group="patient"), seed=0)
    (tmp_path / "other.csv").write_text("path,patient\nelsewhere.png,a\n")
    by = Positives(group=f"{tmp_path}/other.csv:patient")
    with pytest.raises(UsageError, match="no row of"):
        find(opened(tmp_path / "images"), by, seed=0)


def test_another_value_is_another_fingerprint(tmp_path):
    path = table(tmp_path)
    before = fingerprint(opened(path), Positives(group="patient"))
    assert fingerprint(opened(path), Positives(group="patient", differ="scanner")) != before
    path.write_text(path.read_text().replace("p1", "p0"))
    assert fingerprint(opened(path), Positives(group="patient")) != before
    assert fingerprint(opened(path), Positives()) == ""
