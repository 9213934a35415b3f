"""Features of an encoder's blocks, and the choice among them."""

import pytest
import torch

from manyviews import encoders
from manyviews.core import UsageError
from manyviews.core.inputs import Frames, LogMel, Pixels
from manyviews.encoders.audio import AudioConvConfig
from manyviews.encoders.settings import ResNetSmallConfig, TimmConfig, TubeletsConfig, ViTConfig
from manyviews.encoders.slow import SlowConfig
from manyviews.encoders.video import R2Plus1DConfig
from manyviews.evaluation.layer_choice import (
    LayerScores,
    Tap,
    compare_taps,
    embed_at,
    tap_of,
    taps,
    tokens_at,
)

SIDE = Pixels(side=32)
CLIPS = Frames(side=32, frames=4, rate=4.0)
VIT = ViTConfig(input=SIDE, patch=8, width=16, depth=3, heads=2)


def built(config):
    torch.manual_seed(0)
    return encoders.build(config).eval()


@pytest.mark.parametrize(
    ("config", "count"),
    [
        (VIT, 3),
        (ViTConfig(name="vit_tiny_patch16_224", input=SIDE, depth=2), 2),
        (ResNetSmallConfig(input=SIDE, width=4), 3),
        (TimmConfig(name="resnet10t", input=SIDE), 4),
        (TimmConfig(name="convnext_atto", input=SIDE), 12),
        (TimmConfig(name="swin_tiny_patch4_window7_224", input=Pixels(side=224)), 12),
        (TimmConfig(name="deit_tiny_distilled_patch16_224", input=Pixels(side=224)), 12),
        (TubeletsConfig(input=CLIPS, patch=8, width=16, depth=2, heads=2), 2),
        (SlowConfig(input=CLIPS), 16),
        (R2Plus1DConfig(input=CLIPS), 8),
        (AudioConvConfig(input=LogMel()), 8),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_every_kind_of_encoder_gives_each_of_its_blocks(config, count):
    encoder = built(config)
    wanted = taps(encoder)
    with torch.inference_mode():
        x = torch.randn(2, *encoder.input.shape)
        found = embed_at(encoder, wanted)(x)
    assert len({tap.block for tap in wanted}) == count
    assert all(part.shape[0] == 2 and part.ndim == 2 for part in found)
    assert all(part.isfinite().all() for part in found)
    assert [tap.pool for tap in wanted].count("class") in (0, len(wanted) // 2)


def test_a_block_of_a_vit_is_what_its_tokens_are_after_it():
    encoder = built(VIT)
    x = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        hidden = encoder(x, blocks=3).hidden
        means = embed_at(encoder, [Tap(1), Tap(2), Tap(3)])(x)
        sequence = encoder.embed(x)
        first = encoder.model.blocks[0](sequence)
        [token] = embed_at(encoder, [Tap(1, "class")])(x)
    for tokens, mean in zip(hidden, means, strict=True):
        torch.testing.assert_close(mean, tokens.mean(dim=1))
    torch.testing.assert_close(token, first[:, 0])


def test_a_map_is_averaged_over_its_places_wherever_its_channels_lie():
    for name, side in (("resnet10t", 64), ("swin_tiny_patch4_window7_224", 224)):
        encoder = built(TimmConfig(name=name, input=Pixels(side=side)))
        x = torch.randn(1, 3, side, side)
        with torch.inference_mode():
            [found] = embed_at(encoder, [Tap(2)])(x)
            body = encoder.model
            if name.startswith("swin"):
                first, second = body.layers[0].blocks
                expected = second(first(body.patch_embed(x))).mean(dim=(1, 2))
            else:
                y = body.maxpool(body.act1(body.bn1(body.conv1(x))))
                expected = body.layer2(body.layer1(y)).mean(dim=(2, 3))
        torch.testing.assert_close(found, expected)


def test_tokens_of_a_block_are_those_of_its_places_row_by_row():
    encoder = built(VIT)
    x = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        found = encoder(x, blocks=3)
        assert torch.equal(tokens_at(encoder, None)(x), found.tokens)
        for number, tokens in enumerate(found.hidden, 1):
            assert torch.equal(tokens_at(encoder, Tap(number))(x), tokens)
        conv = built(ResNetSmallConfig(input=SIDE, width=4))
        assert torch.equal(tokens_at(conv, Tap(3))(x), conv(x).tokens)
        swin = built(TimmConfig(name="swin_tiny_patch4_window7_224", input=Pixels(side=224)))
        image = torch.randn(1, 3, 224, 224)
        first, second = swin.model.layers[0].blocks
        expected = second(first(swin.model.patch_embed(image))).flatten(1, 2)
        torch.testing.assert_close(tokens_at(swin, Tap(2))(image), expected)


@pytest.mark.parametrize(
    "config",
    [
        TubeletsConfig(input=CLIPS, patch=8, width=16, depth=2, heads=2),
        R2Plus1DConfig(input=CLIPS),
        AudioConvConfig(input=LogMel()),
    ],
    ids=lambda config: config.name,
)
def test_tokens_of_clips_and_sounds_have_the_means_of_their_blocks(config):
    encoder = built(config)
    tap = taps(encoder)[1]
    with torch.inference_mode():
        x = torch.randn(2, *encoder.input.shape)
        tokens, [mean] = tokens_at(encoder, tap)(x), embed_at(encoder, [tap])(x)
    assert tokens.ndim == 3
    torch.testing.assert_close(tokens.mean(dim=1), mean)


def test_no_hook_stays_behind():
    encoder = built(VIT)
    embed_at(encoder, taps(encoder))(torch.randn(1, 3, 32, 32))
    tokens_at(encoder, Tap(2))(torch.randn(1, 3, 32, 32))
    assert not any(m._forward_hooks for m in encoder.modules())


def test_a_layer_alone_is_pooled_as_the_output_is():
    assert tap_of(built(VIT), 2) == Tap(2, "class")
    assert tap_of(built(VIT), 2, "mean") == Tap(2, "mean")
    mean = built(ViTConfig(input=SIDE, patch=8, width=16, depth=2, heads=2, pool="mean"))
    assert tap_of(mean, 2) == Tap(2, "mean")
    assert tap_of(built(ResNetSmallConfig(input=SIDE, width=4)), 1) == Tap(1)


def test_what_is_not_there_is_refused_by_name():
    with pytest.raises(UsageError, match=r"--layer is 4 and .* has 3 blocks\. Give 1 to 3"):
        tap_of(built(VIT), 4)
    with pytest.raises(UsageError, match="--layer is 0 and"):
        tap_of(built(VIT), 0)
    with pytest.raises(UsageError, match="--pool is class, and the encoder has no class token"):
        tap_of(built(ResNetSmallConfig(input=SIDE, width=4)), 1, "class")


def test_the_block_that_tells_the_classes_apart_is_chosen_by_held_out_labels():
    g = torch.Generator().manual_seed(0)
    labels = torch.arange(300) % 3
    noise = torch.randn(300, 8, generator=g)
    clear = noise.clone()
    clear[:, :3] += 4 * torch.nn.functional.one_hot(labels, 3)
    faint = noise.clone()
    faint[:, :3] += torch.nn.functional.one_hot(labels, 3)
    found = compare_taps({Tap(1): noise, Tap(2): clear, Tap(3): faint}, labels)
    assert (found.fitted, found.held) == (240, 60)
    assert found.best(nearest=True) == found.best(nearest=False) == Tap(2)
    assert found.scores[Tap(1)][1] < 0.55 < found.scores[Tap(3)][1] < found.scores[Tap(2)][1]
    assert [row["block"] for row in found.to_json()["taps"]] == [1, 2, 3]
    assert found.lines()[0].strip() == "on 60 training labels held out of 300"


def test_knn_and_the_linear_probe_may_choose_differently_and_equals_go_to_the_later_block():
    scores = LayerScores(fitted=8, held=2, scores={Tap(1): (0.9, 0.2), Tap(2): (0.5, 0.8)})
    assert scores.best(nearest=True) == Tap(1)
    assert scores.best(nearest=False) == Tap(2)
    equal = LayerScores(fitted=8, held=2, scores={Tap(2): (0.5, 0.5), Tap(1): (0.5, 0.5)})
    assert equal.best(nearest=True) == Tap(2)


def test_too_few_labels_and_sets_of_labels_choose_nothing():
    few = {Tap(1): torch.randn(4, 3)}
    with pytest.raises(UsageError, match="4 training labels are too few to choose a layer by"):
        compare_taps(few, torch.tensor([0, 0, 1, 1]))
    with pytest.raises(UsageError, match="one label an image"):
        compare_taps(few, torch.ones(4, 2, dtype=torch.bool))
