"""DSE against a transcription, and on patches whose structure is made."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from manyviews.core import UsageError
from manyviews.diagnosis import dse as measuring
from manyviews.diagnosis.dse import dense_candidates, dense_structure

torch.set_num_threads(1)


def things(noise=0.1, images=16, count=12, kinds=6, dim=16, seed=0):
    """Images of patches of a few kinds, with noise: [B, N, D]."""
    g = torch.Generator().manual_seed(seed)
    codes = torch.linalg.qr(torch.randn(dim, dim, generator=g))[0][:kinds]
    which = torch.randint(kinds, (images, count), generator=g)
    return codes[which] + noise * torch.randn(images, count, dim, generator=g)


def transcribed(x, labels_of, groups):
    """The estimator in numpy, for clusters that are given."""
    x = F.normalize(x, dim=2).numpy().astype(np.float64)
    flat = x.reshape(-1, x.shape[2])
    unit = np.linalg.norm(flat - flat.mean(0), axis=1).mean()

    def spread(rows, ids):
        out = []
        for i in np.unique(ids):
            part = rows[ids == i]
            if len(part) > 1:
                nuclear = np.linalg.svd(part - part.mean(0), compute_uv=False).sum()
                out.append(nuclear / np.sqrt(max(len(part) - 1, rows.shape[1])))
        return np.mean(out)

    single = np.mean([spread(one, labels_of(one, 3)) for one in x])
    together, apart = [], []
    for part in np.split(x[: groups * 8], groups):
        rows = part.reshape(-1, x.shape[2])
        ids = labels_of(rows, 24)
        centres = np.stack([rows[ids == i].mean(0) for i in range(24)])
        far = np.linalg.norm(rows[:, None] - centres, axis=2)
        far[np.arange(len(rows)), ids] = np.inf
        apart.append(far.min(1).mean())
        together.append(spread(rows, ids))
    return np.mean(apart) / unit, 0.5 * (single + np.mean(together)) / unit


@pytest.mark.parametrize("images", [16, 20])
def test_the_parts_are_those_of_a_transcription(images):
    """What is left over of 20 is in no group."""
    x = things(noise=0.3, images=images)

    def ids(rows, clusters):
        return measuring.kmeans(
            torch.from_numpy(rows).float(), clusters=clusters
        ).assignment.numpy()

    found = dense_structure(x)
    apart, within = transcribed(x, ids, 2)
    assert found.apart == pytest.approx(apart, rel=1e-3)
    assert found.within == pytest.approx(within, rel=1e-3)
    assert found.dse == pytest.approx(found.apart - found.within + found.patch_dimension)


def test_dimension_is_the_share_of_directions_that_patches_of_different_images_use():
    g = torch.Generator().manual_seed(0)
    white = torch.randn(64, 12, 16, generator=g)
    assert dense_structure(white).patch_dimension > 0.9
    flat = torch.zeros(64, 12, 16)
    flat[..., :2] = torch.randn(64, 12, 2, generator=g)
    assert dense_structure(flat).patch_dimension == pytest.approx(2 / 16, abs=0.02)


def test_dimension_mixes_places_and_counts_no_more_directions_than_images():
    """Of few images no more could be used; what each place shows alike is no lack of things."""
    g = torch.Generator().manual_seed(0)
    assert dense_structure(torch.randn(8, 12, 64, generator=g)).patch_dimension > 0.9
    places = F.one_hot(torch.arange(12)).float().expand(32, -1, -1)  # place k shows thing k
    kept = dense_structure(places + 0.01 * torch.randn(32, 12, 12, generator=g))
    assert kept.patch_dimension > 0.7  # of each place alone it is 1 in 12


def test_separation_falls_as_things_blur_and_dimension_in_a_collapse():
    sharp, blurred = (dense_structure(things(n), in_image=6, in_group=6) for n in (0.1, 0.6))
    assert sharp.patch_separation > blurred.patch_separation + 0.2
    collapsed = things(0.1) * 0.05 + 1.0
    assert dense_structure(collapsed).patch_dimension < 0.5 * sharp.patch_dimension


def test_patches_count_by_direction_and_not_by_length():
    x = things(0.2)
    longer = x * torch.linspace(1, 100, 16)[:, None, None]
    assert dense_structure(longer).dse == pytest.approx(dense_structure(x).dse, abs=1e-4)


def test_what_cannot_be_measured_is_said():
    with pytest.raises(UsageError, match="7 images of 12 patches; wanted 8 images or more"):
        dense_structure(things(images=7))
    with pytest.raises(UsageError, match="and 3 patches or more of each"):
        dense_structure(things(count=2))
    with pytest.raises(UsageError, match="all patches are the same"):
        dense_structure(torch.ones(8, 12, 4))


def test_candidates_are_local_maxima_the_best_first():
    rises_falls_rises = dict(enumerate([1, 5, 4, 3, 2, 1, 2, 6, 3, 2, 1, 0, 1, 2, 3]))
    assert dense_candidates(rises_falls_rises) == [7, 1, 14]
    assert dense_candidates({300: 1.0, 100: 3.0, 200: 2.0}) == [100]
    assert dense_candidates({0: 2.0, 1: 1.0, 2: 3.0}) == [2]
    assert dense_candidates({}) == []
