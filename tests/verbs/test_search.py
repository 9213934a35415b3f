"""The images that are most like one, by hand.

What fails if a bug is planted: the mean left in, the least alike first, or a file named after
another's features where one cannot be read,
`test_the_nearest_are_those_of_centred_cosines_whatever_cannot_be_read`.
"""

import numpy as np
import pytest
import torch
from PIL import Image

import manyviews
from manyviews import encoders
from manyviews.core import UsageError
from manyviews.core.inputs import Pixels
from manyviews.encoders.settings import ViTConfig
from manyviews.runs.embedder import save_encoder

VIT = ViTConfig(input=Pixels(side=16), patch=4, width=16, depth=1, heads=2)


@pytest.fixture
def place(tmp_path):
    """An encoder and seven pictures of many kinds; the second file is none."""
    torch.manual_seed(0)
    save_encoder(tmp_path / "encoder", encoders.build(VIT).eval(), config=VIT, info={})
    (tmp_path / "data").mkdir()
    random = np.random.default_rng(0)
    for i in range(8):
        path = tmp_path / "data" / f"{i}.png"
        small = random.integers(0, 256, (2, 2, 3), dtype=np.uint8)
        Image.fromarray(small).resize((16, 16), Image.Resampling.BICUBIC).save(path)
    (tmp_path / "data" / "1.png").write_text("no image")
    return tmp_path


def test_the_nearest_are_those_of_centred_cosines_whatever_cannot_be_read(place, caplog):
    encoder = manyviews.load(place / "encoder")
    names = [place / "data" / f"{i}.png" for i in range(8) if i != 1]
    z = torch.cat([encoder(encoder.transform(name)[None]) for name in names])
    z = torch.nn.functional.normalize(z - z.mean(dim=0), dim=1)
    cosines = z @ z[3]
    order = cosines.argsort(descending=True)[:4].tolist()
    found = manyviews.search(place / "encoder", image=names[3], data=str(place / "data"), count=4)
    assert [name for name, _ in found.near] == [str(names[i]) for i in order]
    torch.testing.assert_close(
        torch.tensor([cosine for _, cosine in found.near]), cosines[order], rtol=1e-4, atol=1e-5
    )
    assert found.near[0][1] == pytest.approx(1.0, abs=1e-4)
    assert found.near[-1][1] < 0.99
    assert found.left_out == 1
    assert caplog.text.count("1 of 8 images could not be read") == 1
    assert len(found.lines()) == 1 + 4
    assert found.to_json()["near"][1]["file"] == str(names[order[1]])


def test_a_table_of_features_names_each_by_its_own_file(place):
    pytest.importorskip("pandas")
    encoder = manyviews.load(place / "encoder")
    table = encoder.predict(str(place / "data"))
    names = [str(place / "data" / f"{i}.png") for i in range(8) if i != 1]
    assert list(table.index) == names
    for name in names:
        row = torch.tensor(table.loc[name].to_numpy())
        alone = encoder(encoder.transform(name)[None])[0]
        torch.testing.assert_close(row, alone, rtol=1e-4, atol=1e-5)


def test_what_cannot_be_asked_is_said_in_a_line(place):
    image = place / "data" / "0.png"
    with pytest.raises(UsageError, match=r"is no run, so say where to look: --data DIR"):
        manyviews.search(place / "encoder", image=image)
    with pytest.raises(UsageError, match="--count is 0"):
        manyviews.search(place / "encoder", image=image, data=str(place / "data"), count=0)
