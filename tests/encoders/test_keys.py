"""The keys of a transformer's last block, which objects are found by."""

import pytest
import torch

from manyviews.core import Unsupported
from manyviews.core.inputs import Pixels
from manyviews.encoders import ResNetSmallConfig, ViTConfig, build
from manyviews.encoders.vit import keys

torch.set_num_threads(1)


def test_keys_are_the_middle_third_of_what_the_last_block_makes_of_patches():
    encoder = build(ViTConfig(input=Pixels(side=32), patch=8, width=24, depth=2, heads=3)).eval()
    made = []
    hook = encoder.model.blocks[-1].attn.qkv.register_forward_hook(lambda *a: made.append(a[2]))
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        encoder(x)
    hook.remove()
    found = keys(encoder, x)
    assert found.shape == (2, 16, 24)
    torch.testing.assert_close(found, made[0][:, 1:, 24:48])


def test_other_encoders_have_none():
    with pytest.raises(Unsupported, match="Only a ViT has keys"):
        keys(build(ResNetSmallConfig(input=Pixels(side=32))), torch.zeros(1, 3, 32, 32))
