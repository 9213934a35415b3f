"""Masks led through videos: what is measured, by hand, and that things are followed."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from manyviews.core import UsageError
from manyviews.evaluation.dense.contours import contour, region
from manyviews.evaluation.dense.propagation import near, painted, propagate, propagation
from manyviews.evaluation.dense.settings import Propagation
from manyviews.evaluation.dense.videos import open_videos

torch.set_num_threads(1)
TOLD = {"channels": 3, "max_pixels": 10**6}
SIDE, CELLS = 64, 16
GRID = (CELLS, CELLS)


def mask(top, left, bottom, right, size=(40, 60)):
    out = torch.zeros(size, dtype=torch.bool)
    out[top:bottom, left:right] = True
    return out


def test_region_by_hand():
    all_known = mask(0, 0, 40, 60)
    one, other = mask(0, 0, 10, 10), mask(0, 5, 10, 15)
    assert region(one, other, all_known) == pytest.approx(50 / 150)
    assert region(one, other, ~mask(0, 0, 10, 5)) == pytest.approx(50 / 100)
    none = torch.zeros_like(one)
    assert (region(none, none, all_known), region(one, none, all_known)) == (1, 0)


def test_contour_by_hand():
    """The diagonal is 72.1 pixels, so a contour may be off by one pixel."""
    known = mask(0, 0, 40, 60)
    one = mask(10, 10, 20, 30)
    assert contour(one, one, known) == 1
    assert contour(one, mask(11, 10, 21, 30), known) == 1
    assert contour(one, mask(10, 40, 20, 50), known) == 0
    none = torch.zeros_like(one)
    assert (contour(none, none, known), contour(one, none, known)) == (1, 0)
    # found twice as wide: of its edge of 2 * (40 + 11) - 1 pixels (one corner lies on none)
    wide = mask(10, 10, 20, 50)
    of_one, of_wide = _edge_by_loops(one), _edge_by_loops(wide)
    edges = [int(of_one.sum()), int(of_wide.sum())]
    near_one, near_wide = _next_to(of_wide, of_one), _next_to(of_one, of_wide)
    precision, recall = near_one / edges[1], near_wide / edges[0]
    assert contour(wide, one, known) == pytest.approx(2 * precision * recall / (precision + recall))
    assert 0.5 < contour(wide, one, known) < 0.9


def _next_to(edge, other):
    """How many pixels of an edge are on another one, or above, below or beside it."""
    return sum(
        bool(other[max(0, i - 1) : i + 2, j].any() or other[i, max(0, j - 1) : j + 2].any())
        for i, j in edge.nonzero().tolist()
    )


def _edge_by_loops(picture):
    """A pixel is of the edge where it differs from the one to the right, below, or both."""
    height, width = picture.shape
    out = torch.zeros_like(picture)
    for i in range(height):
        for j in range(width):
            for down, right in ((0, 1), (1, 0), (1, 1)):
                if i + down < height and j + right < width:
                    out[i, j] |= picture[i, j] ^ picture[i + down, j + right]
    return out


def test_a_contour_may_be_off_by_a_share_of_the_diagonal():
    size = (480, 854)
    known = mask(0, 0, *size, size)
    one = mask(100, 100, 300, 300, size)
    allowed = math.ceil(0.008 * math.hypot(*size))
    assert allowed == 8
    assert contour(one, mask(108, 100, 308, 300, size), known) == 1
    assert contour(one, mask(109, 100, 309, 300, size), known) < 1


def test_places_that_are_near_are_so_many_rows_and_columns_apart():
    around = near((5, 7), 2)
    assert around[0].view(5, 7)[:3, :3].all()
    assert around[0].sum() == 9
    assert around[17].view(5, 7)[0:5, 1:6].all()
    assert around[17].sum() == 25
    assert near((5, 7), 0).all()


def test_features_that_say_where_they_are_leave_masks_in_place():
    features = torch.eye(CELLS * CELLS).expand(6, -1, -1)
    first = F.one_hot((torch.rand(CELLS * CELLS) > 0.8).long(), 2).float()
    found = propagate(features, first, GRID, Propagation(top=1))
    assert torch.equal(found, first.expand_as(found))


def test_a_frame_takes_from_the_first_and_those_before_it_and_from_no_other():
    """Of three objects' features, each seen in one frame alone, only those in reach come back."""
    places = 4
    seen = F.normalize(torch.randn(6, places, 32), dim=2)
    seen[5] = seen[1]  # what the last frame shows was in frame 1 alone
    first = torch.tensor([[1.0, 0], [0, 1], [1, 0], [0, 1]])
    within = propagate(seen, first, (2, 2), Propagation(previous=4, top=1, radius=0))
    assert torch.equal(within[5], within[1])
    short = Propagation(previous=3, top=1, radius=0)
    alike = torch.stack([seen[5] @ seen[t].T for t in (0, 2, 3, 4)], dim=1).flatten(1)
    best = alike.argmax(dim=1)
    frame, place = best // places, best % places
    out_of_reach = propagate(seen, first, (2, 2), short)
    of = out_of_reach[torch.tensor([0, 2, 3, 4])[frame], place]
    assert torch.equal(out_of_reach[5], of)


def test_shares_are_those_of_the_nearest_by_their_cosines():
    x = torch.randn(2, 6, 5)
    first = torch.rand(6, 3)
    found = propagate(x, first, (2, 3), Propagation(radius=0, top=2, temperature=0.5))[1]
    cosine = F.normalize(x[1], dim=1) @ F.normalize(x[0], dim=1).T
    for place in range(6):
        best = sorted(range(6), key=lambda other: -float(cosine[place, other]))[:2]
        weights = [math.exp(float(cosine[place, other]) / 0.5) for other in best]
        wanted = sum(w * first[other] for w, other in zip(weights, best, strict=True))
        torch.testing.assert_close(found[place], wanted / sum(weights))
    assert torch.equal(propagate(x, first, (2, 3), Propagation())[0], first)


def test_what_is_painted_is_as_large_as_the_frame():
    shares = torch.zeros(CELLS, CELLS, 2)
    shares[..., 0] = 1
    shares[4:8, 8:16] = torch.tensor([0.0, 1.0])
    found = painted(shares.flatten(0, 1), GRID, (32, 128), side=SIDE)
    assert found.shape == (32, 128)
    wanted = mask(8, 64, 16, 128, (32, 128))
    assert region(found.bool(), wanted, torch.ones_like(wanted)) > 0.9  # its corners are round


def moving(root, *, step=4, frames=8, size=(64, 64), name="cat", every=1):
    """A square of many colours that moves to the right over a plain ground; and where it is."""
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 255, (16, 16, 3))
    for kind in ("JPEGImages", "Annotations"):
        (root / kind / name).mkdir(parents=True, exist_ok=True)
    for t in range(frames):
        pixels = rng.integers(57, 64, (*size, 3))
        there = np.zeros(size, "u1")
        left = 4 + step * t
        pixels[24:40, left : left + 16] = picture
        there[24:40, left : left + 16] = 3
        Image.fromarray(pixels.astype("u1")).save(root / "JPEGImages" / name / f"{t}.png")
        if t % every == 0:
            Image.fromarray(there).save(root / "Annotations" / name / f"{t}.png")
    return root


def cells(videos):
    """Features of each place: the pixels of its cell, less a mean grey."""
    frames = [torch.tensor(np.array(videos.source.read(row))) for row in range(len(videos.source))]
    x = torch.stack(frames).permute(0, 3, 1, 2).float() / 255 - 0.5
    step = SIDE // CELLS
    return F.unfold(x, step, stride=step).transpose(1, 2)


def test_a_moving_square_is_followed(tmp_path):
    videos = open_videos(str(moving(tmp_path)), **TOLD)
    told = {"grid": GRID, "side": SIDE}
    result = propagation(cells(videos), videos, settings=Propagation(top=1), **told)
    floor = propagation(cells(videos), videos, settings=Propagation(), still=True, **told)
    assert result.measures["J"].value > 0.95
    assert result.measures["J&F"].value > 0.95
    assert floor.measures["J"].value < 0.3
    assert (result.n, result.train, result.metric) == (1, 0, "J&F")
    assert result.lines()[0].endswith("; 1 examples")
    assert result.notes == ("1 videos; 6 frames measured; intervals over objects",)
    # it moves a column of places a frame, three in front of the one that is out of reach
    short = Propagation(top=1, radius=1, previous=0)
    lost = propagation(cells(videos), videos, settings=short, **told)
    assert lost.measures["J"].value < 0.5


def test_what_is_measured_is_what_has_masks_but_the_first_and_the_last(tmp_path):
    moving(tmp_path, frames=12)  # 2 comes before 10
    moving(tmp_path, frames=2, name="dog")
    moving(tmp_path, frames=5, name="owl", every=3)
    moving(tmp_path, frames=4, name="fox", every=9)
    videos = open_videos(str(tmp_path), **TOLD)
    judged = {v.name.split("/")[-1]: [row - v.rows[0] for row in v.judged] for v in videos.videos}
    assert judged == {"cat": list(range(1, 11)), "dog": [1], "owl": [3]}
    names = [videos.source.name(row) for row in videos.videos[0].rows]
    assert [name.split("/")[-1] for name in names] == [f"{t}.png" for t in range(12)]
    assert videos.mask(videos.videos[0], 2).unique().tolist() == [0, 3]
    assert len(videos.content()) == 64


def test_pixels_of_no_kind_do_not_count_and_small_things_are_told(tmp_path):
    root = moving(tmp_path)
    for path in (root / "Annotations" / "cat").iterdir():
        there = np.array(Image.open(path))
        there[:24] = 255
        there[49, 49] = 9
        Image.fromarray(there).save(path)
    videos = open_videos(str(root), **TOLD)
    told = {"grid": GRID, "side": SIDE}
    result = propagation(cells(videos), videos, settings=Propagation(top=1), **told)
    assert result.n == 2
    assert "1 objects are too small for a grid of 16 x 16" in result.notes
    with pytest.raises(UsageError, match=r"No first mask has an object\. See --propagation"):
        propagation(cells(videos), videos, settings=Propagation(ignore=(3, 9, 255)), **told)


def test_folders_without_masks_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"is no folder\. Videos with masks are"):
        open_videos(str(tmp_path / "none"), **TOLD)
    moving(tmp_path, every=99)
    with pytest.raises(UsageError, match="has 1 folders of pictures and none with masks"):
        open_videos(str(tmp_path), **TOLD)
    videos = open_videos(str(moving(tmp_path / "more")), **TOLD)
    Image.fromarray(np.zeros((3, 3), "u1")).save(videos.videos[0].masks[2])
    with pytest.raises(UsageError, match="has 3 x 3 pixels and its image 64 x 64"):
        videos.mask(videos.videos[0], 2)
