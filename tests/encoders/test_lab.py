import pytest
import torch

from manyviews import encoders
from manyviews.core import UsageError
from manyviews.core.inputs import Pixels
from manyviews.core.lab import from_lab, to_lab
from manyviews.core.settings import check
from manyviews.encoders.lab import LabConfig

FED = Pixels(side=16, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))


def built(part, **more):
    torch.manual_seed(0)
    config = LabConfig(input=FED, sees=part, network="resnet_small", width=8, **more)
    return encoders.build(config).eval()


def images():
    return torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 0.4 + 0.3


def normalised(x):
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (FED.mean, FED.std))
    return (x - mean) / std


SEEN = {"L": {0}, "a": {1}, "b": {2}, "ab": {1, 2}}


@pytest.mark.parametrize("part", SEEN)
def test_an_encoder_sees_its_part_of_the_colours_and_no_other(part):
    encoder, lab = built(part), to_lab(images())
    before = encoder(normalised(images())).pooled
    g = torch.Generator().manual_seed(2)
    for channel in range(3):
        other = lab.clone()
        other[:, channel] += 5 * torch.randn(2, 16, 16, generator=g)
        after = encoder(normalised(from_lab(other))).pooled
        moved = (after - before).abs().max().item()
        assert (moved > 1e-2) if channel in SEEN[part] else (moved < 1e-3)


@pytest.mark.parametrize(
    ("network", "sizes"),
    [("resnet_small", {"width": 8, "grid": 2}), ("resnet18", {}), ("vit_tiny_patch16_224", {})],
)
def test_any_network_can_be_behind_it(network, sizes):
    config = LabConfig(input=Pixels(side=32), sees="ab", network=network, **sizes)
    encoder = encoders.build(config)
    features = encoder(torch.randn(2, 3, 32, 32))
    assert features.pooled.shape == (2, encoder.dim)
    assert len(encoder.by_depth()) > 1
    first = next(p for p in encoder.parameters() if p.ndim == 4)
    assert first.shape[1] == 2


def test_images_without_colours_are_refused_in_one_line():
    with pytest.raises(UsageError, match=r"sees L of Lab wants images of 3 channels .* have 1\. "):
        encoders.build(LabConfig(input=Pixels(side=16, channels=1, mean=(0.5,), std=(0.5,))))


def test_sizes_of_another_network_are_refused():
    with pytest.raises(UsageError, match=r"--encoder.width is 8; wanted 0, as resnet18 has its"):
        check(LabConfig(width=8), "encoder.")
