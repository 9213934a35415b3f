import pytest
import torch

from manyviews import encoders


@pytest.mark.parametrize("method", ["simclr", "swav", "dino", "mae"])
@pytest.mark.parametrize(("side", "channels"), [(8, 1), (28, 1), (32, 3), (50, 3), (96, 3)])
def test_a_chosen_encoder_takes_the_views_it_was_chosen_for(method, side, channels):
    config, why = encoders.choose(side, channels, "cpu", method)
    assert config.channels == channels
    assert "\n" not in why
    assert config.name in why or "ViT" in why
    assert f"{config.image_size} px" in why
    encoder = encoders.build(config).eval()
    features = encoder(torch.zeros(1, channels, config.image_size, config.image_size))
    assert features.pooled.shape == (1, encoder.dim)
    if method == "mae":
        keep = torch.zeros(1, 1, dtype=torch.int64)
        x = torch.zeros(1, channels, config.image_size, config.image_size)
        assert encoder(x, keep=keep).tokens.shape[1] == 1


@pytest.mark.parametrize(
    ("side", "device", "method", "name", "size"),
    [
        (28, "cpu", "simclr", "resnet_small", 28),
        (32, "cpu", "moco", "resnet_small", 32),
        (30, "cpu", "simclr", "resnet_small", 32),
        (100, "cpu", "simclr", "resnet18", 64),
        (500, "cpu", "simclr", "resnet18", 96),
        (32, "cuda", "simclr", "resnet18", 32),
        (500, "cuda", "simclr", "resnet50", 224),
        (28, "cpu", "mae", "vit", 28),
        (28, "cpu", "dino", "resnet_small", 28),
        (500, "cpu", "mae", "vit", 96),
        (32, "cuda", "dino", "vit", 32),
        (500, "cuda", "mae", "vit_small_patch16_224", 224),
    ],
)
def test_the_choice_follows_size_and_hardware(side, device, method, name, size):
    config, _ = encoders.choose(side, 3, device, method)
    assert (config.name, config.image_size) == (name, size)
    if name == "resnet18":
        assert config.stem == ("small" if side <= 64 else "imagenet")


def test_mae_reads_the_mean_of_fixed_positions():
    config, _ = encoders.choose(28, 1, "cpu", "mae")
    assert (config.pool, config.positions, config.patch) == ("mean", "sincos", 4)
