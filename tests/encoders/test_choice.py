import pytest
import torch

from manyviews import encoders
from manyviews.core.inputs import Pixels

WANTS = {"maps": {}, "tokens": {"tokens": True}, "masked": {"tokens": True, "masked": True}}


def choose(side, channels, device, wants):
    """What is chosen for images of so many channels, each with a mean of its own."""
    mean = tuple(0.1 * (i + 1) for i in range(channels))
    fed = Pixels(channels=channels, mean=mean, std=(0.3,))
    chosen = encoders.choose(fed, side=side, device=device, **WANTS[wants])
    assert (chosen.config.input.mean, chosen.config.input.std) == (mean, (0.3,))
    return chosen.config, chosen.why


@pytest.mark.parametrize("wants", WANTS)
@pytest.mark.parametrize(("side", "channels"), [(8, 1), (28, 1), (32, 3), (50, 3), (96, 3)])
def test_a_chosen_encoder_takes_the_views_it_was_chosen_for(wants, side, channels):
    config, why = choose(side, channels, "cpu", wants)
    assert config.input.channels == channels
    assert "\n" not in why
    assert config.name in why or "ViT" in why
    assert f"{config.input.side} px" in why
    encoder = encoders.build(config).eval()
    x = torch.zeros(1, *config.input.shape)
    assert encoder(x).pooled.shape == (1, encoder.dim)
    if wants != "maps":
        keep = torch.zeros(1, 1, dtype=torch.int64)
        assert encoder(x, keep=keep).tokens.shape[1] == 1


@pytest.mark.parametrize(
    ("side", "device", "wants", "name", "size"),
    [
        (28, "cpu", "maps", "resnet_small", 28),
        (32, "cpu", "maps", "resnet_small", 32),
        (30, "cpu", "maps", "resnet_small", 32),
        (100, "cpu", "maps", "resnet18", 64),
        (500, "cpu", "maps", "resnet18", 96),
        (32, "cuda", "maps", "resnet18", 32),
        (500, "cuda", "maps", "resnet50", 224),
        (28, "cpu", "masked", "vit", 28),
        (28, "cpu", "tokens", "vit", 28),
        (500, "cpu", "masked", "vit", 96),
        (32, "cuda", "tokens", "vit", 32),
        (500, "cuda", "masked", "vit_small_patch16_224", 224),
    ],
)
def test_the_choice_follows_size_and_hardware(side, device, wants, name, size):
    config, _ = choose(side, 3, device, wants)
    assert (config.name, config.input.side) == (name, size)
    if name == "resnet18":
        assert config.stem == ("small" if side <= 64 else "imagenet")


def test_mae_reads_the_mean_of_fixed_positions():
    config, _ = choose(28, 1, "cpu", "masked")
    assert (config.pool, config.positions, config.patch) == ("mean", "sincos", 4)
    config, _ = choose(28, 1, "cpu", "tokens")
    assert (config.pool, config.positions, config.patch) == ("cls", "learned", 4)
