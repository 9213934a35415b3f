"""MAE against its formula and against numbers of the authors' code (data/README.md)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from manyviews import encoders
from manyviews.core import Batch, Clock, Given, Unsupported, UsageError
from manyviews.core.inputs import Pixels
from manyviews.core.positions import sincos
from manyviews.encoders.settings import DVAEConfig, ViTConfig
from manyviews.losses.reconstruction import masked_mse, normalise_patches, prediction_std
from manyviews.methods.masked.mae import MAE, MAEConfig
from manyviews.parts.components import Components, one_patch_each
from manyviews.parts.decoder import Decoder
from manyviews.parts.masking import patchify, take, unpatchify, visible
from tiny import PATCH, TinyViT, begin, given, make_batch

SAVED = {
    k: torch.from_numpy(v) for k, v in np.load(Path(__file__).parent / "data" / "mae.npz").items()
}
DECODER = ("decoder", "mask_token")


def ours(key):
    """The authors' parameter name -> ours."""
    return f"decoder.{key}" if key.startswith(DECODER) else f"online.model.{key}"


def authors_model(*, normalise):
    """Our MAE with the weights of the authors' small model."""
    vit = ViTConfig(input=Pixels(side=16), patch=4, width=8, depth=1, heads=2, positions="sincos")
    config = MAEConfig(width=8, depth=1, heads=2, normalise_patches=normalise)
    method = MAE(given(encoders.build(vit)), config)
    weights = {ours(k[2:]): v for k, v in SAVED.items() if k.startswith("p.")}
    for table in ("online.model.pos_embed", "decoder.decoder_pos_embed"):
        torch.testing.assert_close(method.state_dict()[table], weights[table], rtol=0, atol=1e-7)
    method.load_state_dict(weights)
    return method.double().train()


def authors_batch():
    """The authors' images, and the mask that their code drew."""
    mask = SAVED["mask"].bool()[:, None]
    images = SAVED["images"].double()[:, None]
    return Batch({"global": images}, torch.arange(3), {"global.mask": mask})


def mae_by_loops(prediction, images, mask, patch, *, normalise):
    """Section 3, pixel by pixel: row, column, channel; hidden patches only."""
    total, count = 0.0, 0
    columns = images.shape[3] // patch
    for b in range(len(images)):
        for n in range(mask.shape[1]):
            if not mask[b, n]:
                continue
            row, column = n // columns * patch, n % columns * patch
            values = [
                images[b, c, row + i, column + j]
                for i in range(patch)
                for j in range(patch)
                for c in range(images.shape[1])
            ]
            if normalise:
                mean = sum(values) / len(values)
                variance = sum((v - mean) ** 2 for v in values) / (len(values) - 1)
                values = [(v - mean) / (variance + 1e-6) ** 0.5 for v in values]
            squares = [(prediction[b, n, i] - v) ** 2 for i, v in enumerate(values)]
            total, count = total + sum(squares) / len(squares), count + 1
    return total / count


@pytest.mark.parametrize("normalise", [False, True])
def test_the_loss_and_its_gradient_are_the_formula(normalise):
    g = torch.Generator().manual_seed(0)
    images = torch.randn(2, 2, 4, 6, generator=g, dtype=torch.float64)
    prediction = torch.randn(2, 6, 8, generator=g, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[1, 0, 1, 0, 0, 1], [0, 1, 1, 1, 0, 0]]).bool()
    target = patchify(images, 2)
    loss = masked_mse(prediction, normalise_patches(target) if normalise else target, mask)
    (grad,) = torch.autograd.grad(loss, prediction)
    expected = mae_by_loops(prediction, images, mask, 2, normalise=normalise)
    (expected_grad,) = torch.autograd.grad(expected, prediction)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(grad, expected_grad, rtol=1e-10, atol=1e-15)
    assert not grad[~mask].any()


@pytest.mark.parametrize("kind", ["normalised", "plain"])
def test_the_whole_model_has_the_loss_and_the_gradients_of_the_authors_code(kind):
    method = authors_model(normalise=kind == "normalised")
    step = method(authors_batch(), Clock(0, 1))
    step.total.backward()
    torch.testing.assert_close(step.total.detach(), SAVED[f"{kind}.loss"], rtol=1e-7, atol=0)
    parameters = dict(method.named_parameters())
    gradients = {k.removeprefix(f"{kind}.g."): v for k, v in SAVED.items() if f"{kind}.g." in k}
    assert gradients
    for key, expected in gradients.items():
        got = parameters[ours(key)].grad
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-8, msg=f"gradient of {key}")
    if kind == "normalised":
        trained = {ours(key) for key in gradients}
        assert {k for k, p in parameters.items() if p.requires_grad} == trained


def test_predictions_are_those_of_the_authors_code():
    method = authors_model(normalise=False)
    batch = authors_batch()
    hidden = batch.cues["global.mask"][:, 0]
    features, prediction = method._predict(batch.views["global"][:, 0], hidden)
    expected = SAVED["prediction"]
    torch.testing.assert_close(prediction[hidden], expected[hidden], rtol=1e-6, atol=1e-8)
    assert not prediction[~hidden].any()
    keep, token = visible(hidden), features.class_token
    everywhere = method.decoder(features.tokens, keep, class_token=token)
    torch.testing.assert_close(everywhere, expected, rtol=1e-6, atol=1e-8)


def test_patches_are_laid_out_as_by_the_authors_code():
    images = SAVED["images"].double()
    torch.testing.assert_close(patchify(images, 4), SAVED["patches"], rtol=0, atol=0)
    assert torch.equal(unpatchify(patchify(images, 4), 4, grid=(4, 4)), images)
    wide = torch.randn(2, 1, 4, 6)
    assert torch.equal(unpatchify(patchify(wide, 2), 2, grid=(2, 3)), wide)


def test_positions_are_the_authors_table():
    torch.testing.assert_close(
        sincos(24, (3, 3)).double(), SAVED["positions.24x3"], rtol=0, atol=1e-7
    )
    table = SAVED["positions.8x4.cls"]
    assert not table[0].any()
    torch.testing.assert_close(sincos(8, (4, 4)).double(), table[1:], rtol=0, atol=1e-7)
    # On an oblong grid the first half of the channels still tells the column.
    oblong = sincos(8, (2, 3)).view(2, 3, 8)
    assert torch.equal(oblong[0, :, :4], oblong[1, :, :4])
    assert torch.equal(oblong[:, 0, 4:], oblong[:, 2, 4:])
    with pytest.raises(UsageError, match="width that 4 divides; 6"):
        sincos(6, (2, 2))


def test_visible_lists_what_is_not_hidden_in_order():
    hidden = torch.tensor([[1, 0, 1, 0, 1], [0, 1, 1, 1, 0]]).bool()
    keep = visible(hidden)
    assert keep.tolist() == [[1, 3], [0, 4]]
    x = torch.arange(10.0).view(2, 5, 1)
    assert take(x, keep)[..., 0].tolist() == [[1.0, 3.0], [5.0, 9.0]]


@pytest.mark.parametrize(
    ("rows", "words"), [([[1, 0], [0, 0]], "between 1 and 2 of 2"), ([[1, 1]], "between 0 and 0")]
)
def test_uneven_masks_are_refused(rows, words):
    with pytest.raises(UsageError, match=words):
        visible(torch.tensor(rows).bool())


def test_the_encoder_never_sees_hidden_pixels():
    method = MAE(given(TinyViT()), MAEConfig(width=8, depth=1, heads=2))
    batch = make_batch(0, local=0)
    hidden = batch.cues["global.mask"]
    patches = patchify(batch.views["global"].flatten(0, 1), PATCH)
    noise = torch.where(hidden.flatten(0, 1)[..., None], torch.randn_like(patches), patches)
    changed = unpatchify(noise, PATCH, grid=(4, 4)).unflatten(0, (8, 2))
    other = Batch({"global": changed}, batch.index, batch.cues)
    one, two = method(batch, Clock(0, 1)), method(other, Clock(0, 1))
    assert torch.equal(one.embedding["image"], two.embedding["image"])
    assert one.total != two.total


def test_a_reconstruction_keeps_visible_patches_and_fills_the_others_in_pixel_units():
    method = authors_model(normalise=True)
    batch = authors_batch()
    hidden = batch.cues["global.mask"][:, 0]
    images = batch.views["global"][:, 0]
    result = patchify(method.reconstruct(batch), 4)
    patches = patchify(images, 4)
    assert torch.equal(result[~hidden], patches[~hidden])
    _, prediction = method._predict(images, hidden)
    torch.testing.assert_close(
        (result - patches.mean(dim=-1, keepdim=True))
        / (patches.var(-1, keepdim=True) + 1e-6) ** 0.5,
        torch.where(hidden[..., None], prediction.detach(), normalise_patches(patches)),
    )
    plain = authors_model(normalise=False)
    result = patchify(plain.reconstruct(batch), 4)
    torch.testing.assert_close(result[hidden], SAVED["prediction"][hidden], rtol=1e-6, atol=1e-8)


def test_equal_predictions_for_all_images_have_no_deviation():
    hidden = make_batch(0).cues["global.mask"][:, 0]
    same = torch.randn(1, 16, 5).expand(8, -1, -1)
    assert float(prediction_std(same, hidden)) == pytest.approx(0.0, abs=1e-6)
    spread = torch.randn(8, 16, 5, generator=torch.Generator().manual_seed(1)) * 3
    only_seen = torch.where(hidden[..., None], torch.zeros(()), spread)
    assert float(prediction_std(only_seen, hidden)) == 0.0
    every = torch.ones(8, 16, dtype=torch.bool)
    expected = float(spread.std(dim=0, correction=0).mean())
    assert float(prediction_std(spread, every)) == pytest.approx(expected, rel=1e-5)


def test_the_decoder_starts_as_the_authors_do():
    torch.manual_seed(0)
    decoder = Decoder(64, grid=(4, 4), width=256, depth=1, heads=4, out=48)
    for module in decoder.modules():
        if isinstance(module, nn.Linear):
            bound = (6 / sum(module.weight.shape)) ** 0.5
            assert float(module.weight.detach().abs().max()) == pytest.approx(bound, rel=0.02)
            assert not module.bias.any()
    assert float(decoder.mask_token.detach().std()) == pytest.approx(0.02, rel=0.2)
    assert not decoder.decoder_pos_embed.requires_grad
    assert all(m.eps == 1e-6 for m in decoder.modules() if isinstance(m, nn.LayerNorm))


def test_the_encoder_with_sine_cosine_positions_starts_as_the_authors_do():
    torch.manual_seed(0)
    vit = ViTConfig(patch=8, width=64, depth=1, heads=2, positions="sincos")
    model = encoders.build(vit).model
    bound = (6 / (64 + 8 * 8 * 3)) ** 0.5
    assert float(model.patch_embed.proj.weight.detach().abs().max()) == pytest.approx(
        bound, rel=0.02
    )
    qkv = model.blocks[0].attn.qkv
    assert float(qkv.weight.detach().abs().max()) == pytest.approx((6 / 256) ** 0.5, rel=0.02)
    assert not qkv.bias.any()


def test_sizes_that_do_not_fit_are_refused_with_the_flags_to_set():
    vit = ViTConfig(input=Pixels(side=32), patch=8, width=8, depth=1, heads=2)
    method = MAE(given(encoders.build(vit)), MAEConfig(width=8, depth=1, heads=2))
    with pytest.raises(UsageError, match=r"\(3, 32, 32\).*\(3, 16, 16\).*--views\.global\.size"):
        method(make_batch(0, local=0), Clock(0, 1))


def test_with_the_token_inside_the_encoder_sees_every_place_but_no_hidden_pixel():
    torch.manual_seed(0)
    method = MAE(given(TinyViT()), MAEConfig(width=8, depth=1, heads=2, token_inside=True))
    batch, sizes = make_batch(0, local=0), []
    method.decoder.register_forward_hook(lambda m, i, o: sizes.append(i[0].shape[1]))
    images, hidden = batch.views["global"][:, 0], batch.cues["global.mask"][:, 0]
    cover = hidden.view(-1, 1, 4, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    other = images + torch.randn_like(images) * cover
    made = [method._predict(x, hidden)[1] for x in (images, other)]
    assert torch.equal(*made)
    assert sizes == [16, 16]
    method(batch, Clock(0, 1)).total.backward()
    trained = {k for k, p in method.named_parameters() if p.requires_grad}
    assert "mask_token" in trained
    assert "decoder.mask_token" not in trained
    assert all(p.grad is not None for k, p in method.named_parameters() if k in trained)


def of_components(**settings):
    torch.manual_seed(0)
    config = MAEConfig(width=8, depth=1, heads=2, target="components", **settings)
    return MAE(given(TinyViT()), config)


def patches_of(batch):
    return patchify(batch.views["global"].flatten(0, 1), PATCH)


@pytest.mark.parametrize("normalise", [False, True])
def test_components_as_targets_are_the_patches_turned_around(normalise):
    """With all of them the error is the pixels' own, up to the mean: a rotation keeps lengths."""
    method = of_components(normalise_patches=normalise)
    begin(method)
    batch = make_batch(0, local=0)
    patches = patches_of(batch)
    patches = normalise_patches(patches) if normalise else patches
    basis = method.components.basis
    torch.testing.assert_close(basis.T @ basis, torch.eye(48), atol=1e-5, rtol=0)
    coordinates = method.components(patches)
    torch.testing.assert_close(method.components.back(coordinates), patches, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        coordinates.norm(dim=-1), (patches - method.components.mean).norm(dim=-1)
    )


def test_components_are_those_of_a_singular_value_decomposition_without_the_first():
    g = torch.Generator().manual_seed(0)
    mixed = torch.randn(400, 12, generator=g) @ torch.randn(12, 12, generator=g) + 3
    found = Components(12, first=2, count=4)
    assert not found.fitted
    found.fit(torch.cat([mixed, torch.full((1, 12), torch.nan)]))
    assert found.fitted
    _, _, directions = torch.linalg.svd(mixed - mixed.mean(dim=0))
    expected = (mixed - mixed.mean(dim=0)) @ directions[2:6].T
    torch.testing.assert_close(found(mixed).abs(), expected.abs(), atol=1e-3, rtol=1e-3)
    assert (found.basis.gather(0, found.basis.abs().argmax(dim=0, keepdim=True)) > 0).all()


def test_the_loss_is_the_mean_square_of_the_hidden_patches_coordinates():
    method = of_components(first=3, count=5, normalise_patches=False)
    begin(method)
    batch = make_batch(0, local=0)
    hidden = batch.cues["global.mask"].flatten(0, 1)
    _, prediction = method._predict(batch.views["global"].flatten(0, 1), hidden)
    assert prediction.shape[2] == 5
    total = 0.0
    for image, row in enumerate(patches_of(batch)):
        for place, patch in enumerate(row):
            if hidden[image, place]:
                wanted = [
                    sum((patch - method.components.mean) * column)
                    for column in method.components.basis.T
                ]
                off = prediction[image, place] - torch.stack(wanted)
                total = total + float(off.detach().square().mean())
    loss = method(batch, Clock(0, 1)).total.detach()
    assert float(loss) == pytest.approx(total / int(hidden.sum()), rel=1e-5)


def test_components_are_found_once_and_kept_with_the_checkpoint():
    method = of_components(first=1, count=4)
    begin(method)
    saved = {k: v.clone() for k, v in method.state_dict().items()}
    begin(method, Clock(5, 10, 1, 2))
    assert torch.equal(method.components.basis, saved["components.basis"])
    other = of_components(first=1, count=4)
    other.load_state_dict(saved)
    batch = make_batch(1, local=0)
    assert other(batch, Clock(0, 1)).total == method(batch, Clock(0, 1)).total
    result = patchify(method.reconstruct(batch), PATCH)
    seen = ~batch.cues["global.mask"][:, 0]
    assert torch.equal(result[seen], patchify(batch.views["global"][:, 0], PATCH)[seen])


def of_codes(tokenizer=None):
    torch.manual_seed(0)
    teachers = {"tokenizer": (tokenizer or TinyViT()).eval()}
    given = Given({"image": TinyViT()}, teachers=teachers)
    return MAE(given, MAEConfig(width=8, depth=1, heads=2, target="codes"))


@torch.no_grad()
def test_codes_as_targets_are_named_at_hidden_places_alone():
    method, batch = of_codes(), make_batch(0, local=0)
    images, hidden = batch.views["global"].flatten(0, 1), batch.cues["global.mask"].flatten(0, 1)
    scores = method.shown.teacher(images).tokens
    features = method.online(images, keep=visible(hidden))
    logits = method.decoder(features.tokens, visible(hidden), class_token=features.class_token)
    total, codes = 0.0, set()
    for image, place in hidden.nonzero().tolist():
        code = int(scores[image, place].argmax())
        exponents = logits[image, place].exp()
        total += float(-(exponents[code] / exponents.sum()).log())
        codes.add(code)
    assert len(codes) > 1
    losses = method(batch, Clock(0, 1)).losses
    assert {k: float(v) for k, v in losses.items()} == {
        "codes": pytest.approx(total / int(hidden.sum()), rel=1e-5)
    }


@torch.no_grad()
def test_the_tokenizer_sees_hidden_pixels_and_the_encoder_does_not():
    method, batch = of_codes(), make_batch(0, local=0)
    hidden = batch.cues["global.mask"][:, 0]
    images = batch.views["global"][:, 0]
    cover = hidden.view(-1, 1, 4, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    other = torch.where(cover, images.flip(0), images)
    assert torch.equal(*(method._made(x, hidden)[1] for x in (images, other)))
    codes = [method.shown(x, tokens=True).tokens.argmax(dim=2)[hidden] for x in (images, other)]
    assert (codes[0] != codes[1]).any()


def test_codes_need_a_tokenizer_of_the_encoders_grid_and_no_pixels_are_made_of_them():
    with pytest.raises(UsageError, match=r"Codes come from a tokenizer.*--teachers\.tokenizer RUN"):
        MAE(given(TinyViT()), MAEConfig(target="codes"))
    with pytest.raises(UsageError, match=r"a grid of \(8, 8\) and the encoder tokens on one of"):
        of_codes(encoders.build(DVAEConfig(input=TinyViT.input, patch=2, width=4, codes=6)))
    with pytest.raises(Unsupported, match="of which no pixels are made"):
        of_codes().reconstruct(make_batch(0, local=0))


def test_the_patch_that_stands_for_an_image_does_not_depend_on_its_batch():
    images = torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    patches = patchify(images, PATCH)
    whole = one_patch_each(images, patches)
    apart = [one_patch_each(images[i : i + 1], patches[i : i + 1]) for i in range(6)]
    assert torch.equal(whole, torch.cat(apart))
    places = [int((patches[i] == whole[i]).all(dim=1).nonzero()) for i in range(6)]
    assert len(set(places)) > 2


def test_components_that_a_patch_has_not_are_refused():
    with pytest.raises(UsageError, match="Components 41 to 50 were asked of patches of 48 values"):
        of_components(first=40, count=10)


@pytest.mark.parametrize(("depth", "width"), [(1, 8), (3, 8), (1, 16)])
def test_the_decoders_depth_and_width_are_settings(depth, width):
    method = MAE(given(TinyViT()), MAEConfig(width=width, depth=depth, heads=2))
    assert len(method.decoder.decoder_blocks) == depth
    assert method.decoder.decoder_pred.in_features == width
    assert method(make_batch(0, local=0), Clock(0, 1)).total.isfinite()
