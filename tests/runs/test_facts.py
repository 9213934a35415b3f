"""What a recipe is told of the data."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from manyviews.runs.facts import facts


def stack(folder: Path, *channels: int) -> str:
    """A folder of TIFF images of 16 bit with so many channels each."""
    folder.mkdir()
    for number, count in enumerate(channels):
        pixels = np.random.default_rng(number).integers(0, 4000, (24, 24, count), dtype=np.uint16)
        tifffile.imwrite(
            folder / f"{number}.tif", pixels, photometric="minisblack", planarconfig="contig"
        )
    return str(folder)


def test_channels_are_what_all_instruments_files_state(tmp_path: Path) -> None:
    seen = facts(stack(tmp_path / "scope", 5, 5, 5))
    assert (seen.channels, len(seen.mean), seen.count) == (5, 5, 3)


def test_what_was_asked_for_comes_before_what_files_state(tmp_path: Path) -> None:
    assert facts(stack(tmp_path / "scope", 3, 3), channels=1).channels == 1


@pytest.mark.parametrize("counts", [(5, 3, 5), (5, 6)])
def test_files_that_state_different_channels_decide_nothing(
    tmp_path: Path, counts: tuple[int, ...]
) -> None:
    from manyviews.data.sources import open_source
    from manyviews.data.survey import stated_channels

    folder = stack(tmp_path / "scope", *counts)
    assert stated_channels(open_source(folder, channels=3, max_pixels=10**6)) == 0
