"""Lab against numbers of scikit-image 0.26 (lab.npz: color.rgb2lab of bytes, and lab2rgb of that).

A wrong white, one matrix row swapped or a missing line below the cube root each fail here.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from manyviews.core.lab import CENTER, CHANNELS, REACH, from_lab, lab_part, to_lab

with np.load(Path(__file__).parent / "lab.npz") as _file:
    SAVED = {key: torch.from_numpy(_file[key]) for key in _file.files}


def pixels(dtype=torch.float64):
    return (SAVED["rgb"].to(dtype) / 255).movedim(-1, 0)


def test_lab_is_scikit_images():
    assert to_lab(pixels()).dtype == torch.float64
    torch.testing.assert_close(to_lab(pixels()).movedim(0, -1), SAVED["lab"], rtol=0, atol=1e-9)
    batch = pixels(torch.float32)[None, None].expand(2, 3, -1, -1, -1)
    found = to_lab(batch)[1, 2].movedim(0, -1).double()
    torch.testing.assert_close(found, SAVED["lab"], rtol=0, atol=2e-3)


def test_half_precision_around_it_changes_nothing():
    with torch.autocast("cpu", torch.bfloat16):
        half = to_lab(pixels(torch.float32))
    assert torch.equal(half, to_lab(pixels(torch.float32)))


def test_back_from_lab_are_the_pixels():
    back = from_lab(SAVED["lab"].movedim(-1, 0))
    torch.testing.assert_close(back, pixels(), rtol=0, atol=1e-5)
    torch.testing.assert_close(back.movedim(0, -1).clamp(0, 1), SAVED["back"], rtol=0, atol=1e-9)


def test_what_is_no_colour_comes_back_outside_of_zero_to_one():
    outside = from_lab(torch.tensor([50.0, 100.0, -100.0]).view(3, 1, 1))
    assert outside.min() < 0
    assert outside.max() > 1


def test_all_colours_together_reach_one_and_minus_one():
    steps = torch.linspace(0, 1, 18, dtype=torch.float64)
    cube = torch.stack(torch.meshgrid(steps, steps, steps, indexing="ij")).flatten(2)
    for part, kept in CHANNELS.items():
        seen = lab_part(cube, part)
        assert len(seen) == kept.stop - kept.start
        for channel in seen:
            assert channel.min().item() == pytest.approx(-1, abs=1e-3)
            assert channel.max().item() == pytest.approx(1, abs=1e-3)
    assert (CENTER[0], REACH[0]) == (50.0, 50.0)
