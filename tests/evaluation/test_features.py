import errno
import json
import logging
import os

import numpy as np
import pytest
import torch
from torch import nn

from manyviews.core import Failure, UsageError
from manyviews.core.inputs import Frames, LogMel, Pixels
from manyviews.core.sample import Unreadable
from manyviews.data.sources import Held
from manyviews.evaluation.baselines import centred, pixels
from manyviews.evaluation.features import cached, extract, fingerprint
from manyviews.views.by_input import plain_of
from manyviews.views.image.plain import Plain

FED = Pixels(side=8, mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.3))
PLAIN = plain_of(FED)


class Album:
    """Images of different sizes; those in `broken` cannot be read."""

    digest, streams, stack = "album", ("image",), {}

    def __init__(self, n=11, broken=()):
        self.n, self.broken = n, broken

    def __len__(self):
        return self.n

    def open(self, i):
        return {"image": Held(self, i)}

    def read(self, i):
        if i in self.broken:
            raise Unreadable(f"{i}.jpg", "truncated")
        g = np.random.default_rng(i)
        return g.integers(0, 256, (8 + i, 9, 3), dtype=np.uint8)


def embed(x):
    return x.flatten(1)[:, :5].to(torch.bfloat16)


@pytest.mark.parametrize("batch_size", [1, 4, 11, 100])
def test_features_are_those_of_each_image_alone_in_order(batch_size):
    found = extract(embed, Album(), PLAIN, batch_size=batch_size)
    alone = torch.cat([embed(Plain(FED)([Album().read(i)])) for i in range(11)])
    assert found.features.dtype == torch.float32
    assert torch.equal(found.features, alone.float())
    assert found.index.tolist() == list(range(11))
    assert not found.features.requires_grad


def test_worker_processes_change_nothing():
    album = Album(broken=(2, 7))
    alone = extract(embed, album, PLAIN, batch_size=3)
    helped = extract(embed, album, PLAIN, batch_size=3, workers=2)
    assert torch.equal(alone.features, helped.features)
    assert torch.equal(alone.index, helped.index)
    assert alone.bad == helped.bad


def test_unreadable_images_have_no_row_and_are_named(caplog):
    calls = []
    with caplog.at_level(logging.WARNING, "manyviews"):
        found = extract(
            embed,
            Album(broken=(0, 4, 5, 6, 7)),
            PLAIN,
            batch_size=4,
            progress=lambda done, total: calls.append((done, total)),
        )
    whole = extract(embed, Album(), PLAIN)
    good = [1, 2, 3, 8, 9, 10]
    assert found.index.tolist() == good
    assert torch.equal(found.features, whole.features[good])
    assert (found.bad[0].index, found.bad[0].path, found.bad[0].reason) == (0, "0.jpg", "truncated")
    assert "5 of 11 images" in caplog.text
    assert calls == [(4, 11), (8, 11), (11, 11)]


def test_the_encoder_runs_without_gradient():
    layer = nn.Linear(8 * 8 * 3, 4)
    seen = []

    def watched(x):
        seen.append(torch.is_inference_mode_enabled())
        return layer(x.flatten(1))

    extract(watched, Album(3), PLAIN)
    assert seen == [True]


def test_patch_features_keep_their_third_dimension():
    found = extract(lambda x: x.flatten(2).movedim(1, 2), Album(broken=(1,)), PLAIN, batch_size=4)
    assert found.features.shape == (10, 64, 3)


class Films:
    """Films of 10 s, whose frames are as bright as their time says, and redder to the right."""

    digest, streams, stack = "films", ("video",), {}

    def __init__(self, n=5):
        self.n = n

    def __len__(self):
        return self.n

    def open(self, i):
        return {"video": Film(i)}


class Film:
    span = 10.0

    def __init__(self, number):
        self.number = number

    def read(self, window):
        length = (window.stop - window.start) / window.count
        times = window.start + length * np.arange(window.count)
        frames = np.zeros((window.count, 8, 20, 3), dtype=np.uint8)
        frames[..., 0] = np.arange(20) * 10
        frames[..., 1] = (times * 10 + self.number).astype(int)[:, None, None]
        return frames


CLIPS = Frames(side=8, frames=4, rate=4.0, mean=(0.0,) * 3, std=(1.0,) * 3)


def shares(x):
    """[B, 3, T, H, W] -> [B, 3]: what a mean over views leaves as it is, and what it does not."""
    red, green = x[:, 0].mean(dim=(1, 2, 3)), x[:, 1].mean(dim=(1, 2, 3))
    return 255 * torch.stack([red, green, red * green], dim=1)


@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_features_are_the_mean_over_clips_spread_in_time_and_crops_spread_in_space(batch_size):
    found = extract(shares, Films(), plain_of(CLIPS, clips=2, crops=3), batch_size=batch_size)
    # Of 10 s a clip of 1 s begins at the quarters of 9 s, and its frames are 0.25 s apart.
    starts = [2.25, 6.75]
    for row, number in zip(found.features, range(5), strict=True):
        times = [[int((s + k / 4) * 10 + number) for k in range(4)] for s in starts]
        green = [np.mean(t) for t in times]
        red = [10 * np.mean(range(left, left + 8)) for left in (0, 6, 12)]
        both = [r * g / 255 for r in red for g in green]
        wanted = torch.tensor([np.mean(red), np.mean(green), np.mean(both)]).float()
        torch.testing.assert_close(row, wanted, rtol=1e-5, atol=1e-4)
    helped = extract(shares, Films(), plain_of(CLIPS, clips=2, crops=3), batch_size=7, workers=1)
    torch.testing.assert_close(helped.features, found.features)


def test_tokens_of_several_clips_have_no_mean():
    several = plain_of(CLIPS, clips=2)
    with pytest.raises(UsageError, match="Leave out --clips and --crops"):
        extract(lambda x: x.flatten(2).movedim(1, 2), Films(), several)


def test_what_has_no_clips_or_crops_is_refused_in_one_line():
    with pytest.raises(UsageError, match=r"--clips 2: an encoder that is fed Pixels has one"):
        plain_of(FED, clips=2)
    with pytest.raises(UsageError, match=r"--crops 3: an encoder that is fed LogMel has one"):
        plain_of(LogMel(), crops=3)
    with pytest.raises(UsageError, match=r"--crops is 0; wanted 1 or more"):
        plain_of(CLIPS, crops=0)
    assert plain_of(LogMel(), clips=3).makes["encoder"].count == 3


def test_no_readable_image_and_odd_outputs_fail_in_one_line():
    with pytest.raises(Failure, match=r"None of the 3 images .*0\.jpg: truncated"):
        extract(embed, Album(3, broken=(0, 1, 2)), PLAIN)
    with pytest.raises(Failure, match="wanted"):
        extract(lambda x: x.mean(), Album(3), PLAIN)
    with pytest.raises(Failure, match="wanted"):
        extract(lambda x: x.flatten(1)[:2], Album(3), PLAIN)
    with pytest.raises(UsageError, match="batch size is 0"):
        extract(embed, Album(3), PLAIN, batch_size=0)


class Counted:
    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return extract(embed, Album(broken=(3,)), PLAIN)


KEY = {"encoder": "e", "source": "s", "transform": "t"}


def test_features_are_computed_once_and_come_back_whole(tmp_path):
    compute = Counted()
    first = cached(tmp_path / "cache", **KEY, compute=compute)
    again = cached(tmp_path / "cache", **KEY, compute=compute)
    assert compute.calls == 1
    assert torch.equal(first.features, again.features)
    assert torch.equal(first.index, again.index)
    assert first.bad == again.bad
    assert len(list((tmp_path / "cache").iterdir())) == 2


@pytest.mark.parametrize("name", KEY)
def test_another_encoder_source_or_transform_is_computed_anew(tmp_path, name):
    compute = Counted()
    cached(tmp_path, **KEY, compute=compute)
    cached(tmp_path, **(KEY | {name: "other"}), compute=compute)
    assert compute.calls == 2


@pytest.mark.parametrize("fault", ["truncated", "garbage", "note", "rows", "gone"])
def test_a_broken_cache_is_computed_anew(tmp_path, fault):
    compute = Counted()
    cached(tmp_path, **KEY, compute=compute)
    [data], [note] = tmp_path.glob("*.npy"), tmp_path.glob("*.json")
    if fault == "truncated":
        data.write_bytes(data.read_bytes()[:-8])
    if fault == "garbage":
        data.write_bytes(b"nothing")
    if fault == "note":
        note.write_text("{")
    if fault == "rows":
        note.write_text(json.dumps(json.loads(note.read_text()) | {"index": [1]}))
    if fault == "gone":
        data.unlink()
    assert cached(tmp_path, **KEY, compute=compute).features.shape == (10, 5)
    assert compute.calls == 2
    cached(tmp_path, **KEY, compute=compute)
    assert compute.calls == 2


def test_a_failed_computation_leaves_nothing_behind(tmp_path):
    with pytest.raises(Failure):
        cached(tmp_path, **KEY, compute=lambda: extract(embed, Album(1, broken=(0,)), PLAIN))
    assert list(tmp_path.iterdir()) == []


def test_changing_cached_features_in_memory_leaves_the_file_alone(tmp_path):
    compute = Counted()
    cached(tmp_path, **KEY, compute=compute)
    cached(tmp_path, **KEY, compute=compute).features.zero_()
    assert cached(tmp_path, **KEY, compute=compute).features.any()


def test_a_cache_that_cannot_be_written_does_not_stop_the_evaluation(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    found = cached(tmp_path / "file" / "cache", **KEY, compute=Counted())
    assert found.features.shape == (10, 5)
    said = f"The features are not kept in {tmp_path}/file/cache for next time: Not a directory."
    assert [r.getMessage() for r in caplog.records][1:] == [said]  # the first is of image 3


@pytest.mark.parametrize("full", [1, 2])
def test_a_cache_that_fills_the_disk_leaves_nothing_there(tmp_path, monkeypatch, caplog, full):
    """At the features themselves, or at the note that makes them good."""
    sync, calls = os.fsync, []

    def failing(file):
        calls.append(file)
        if len(calls) == full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(file)

    monkeypatch.setattr(os, "fsync", failing)
    assert cached(tmp_path, **KEY, compute=Counted()).features.shape == (10, 5)
    assert list(tmp_path.iterdir()) == []
    assert caplog.text.count("No space left on device.") == 1


def test_a_fingerprint_changes_with_any_weight_name_or_type():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    first = fingerprint(net)
    assert fingerprint(net) == first
    with torch.no_grad():
        net[0].weight[1, 1] += 1e-6
    changed = fingerprint(net)
    assert changed != first
    net[1].num_batches_tracked += 1
    assert fingerprint(net) not in (first, changed)
    assert fingerprint(nn.Sequential(*net).bfloat16()) != changed


def test_pixels_are_what_the_transform_was_given():
    album = Album(4)
    found = extract(pixels(FED), album, PLAIN)
    raw = torch.from_numpy(Plain(FED).uint8([album.read(i) for i in range(4)]))
    expected = raw.movedim(-1, 1).flatten(1).float() / 255
    torch.testing.assert_close(found.features, expected, rtol=0, atol=1e-6)


def test_centring_takes_the_training_mean_from_both():
    train, test = torch.rand(50, 4), torch.rand(9, 4)
    less_mean = centred(train)
    a, b = less_mean(train), less_mean(test)
    torch.testing.assert_close(a.mean(dim=0), torch.zeros(4), rtol=0, atol=1e-6)
    torch.testing.assert_close(b + train.mean(dim=0), test)
