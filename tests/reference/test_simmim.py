"""SimMIM against its formula and against numbers of the authors' code (data/README.md)."""

from pathlib import Path

import numpy as np
import pytest
import torch

from manyviews import encoders
from manyviews.core import Batch, Clock, UsageError
from manyviews.core.inputs import Pixels
from manyviews.encoders.settings import ViTConfig
from manyviews.losses.reconstruction import masked_l1
from manyviews.methods.masked.simmim import SimMIM, SimMIMConfig
from manyviews.parts.masking import patchify
from tiny import TinyViT, given, make_batch

SAVED = {
    k: torch.from_numpy(v)
    for k, v in np.load(Path(__file__).parent / "data" / "simmim.npz").items()
}


def brought_over(prefix):
    """The authors' tensors under our names: biases of queries and values apart, channels first."""
    theirs = {k.removeprefix(prefix): v for k, v in SAVED.items() if k.startswith(prefix)}
    ours = {}
    for key, value in theirs.items():
        if key.startswith("decoder.0."):
            rest = value.shape[1:2]  # PixelShuffle reads (channel, row, column)
            moved = value.reshape(3, 4, 4, *rest).movedim(0, 2).reshape(48, *rest)
            ours["decoder." + key.rpartition(".")[2]] = moved
        elif key == "encoder.mask_token":
            ours["mask_token"] = value.flatten()
        elif key.endswith("q_bias"):
            other = theirs[key.replace("q_bias", "v_bias")]
            bias = torch.cat([value, torch.zeros_like(value), other])
            ours[f"online.model.{key[8:].replace('q_bias', 'qkv.bias')}"] = bias
        elif not key.endswith("v_bias"):
            ours[f"online.model.{key[8:]}"] = value
    return ours


def authors_model():
    vit = ViTConfig(input=Pixels(side=16), patch=4, width=8, depth=2, heads=2)
    method = SimMIM(given(encoders.build(vit)), SimMIMConfig())
    method.load_state_dict(brought_over("p."))
    return method.double().train()


def authors_batch():
    mask = SAVED["mask"].bool().flatten(1)[:, None]
    images = SAVED["images"].double()[:, None]
    return Batch({"global": images}, torch.arange(3), {"global.mask": mask})


def test_the_whole_model_has_the_loss_and_the_gradients_of_the_authors_code():
    method = authors_model()
    step = method(authors_batch(), Clock(0, 1))
    step.total.backward()
    # They add 1e-5 to the number of hidden pixels, here 3 * 128.
    hidden = SAVED["mask"].sum().item() * 16
    torch.testing.assert_close(
        step.total.detach(), SAVED["loss"] * (hidden + 1e-5) / hidden, rtol=1e-9, atol=0
    )
    gradients = brought_over("g.")
    parameters = {k: p for k, p in method.named_parameters() if p.requires_grad}
    assert set(gradients) == set(parameters)
    for key, expected in gradients.items():
        got = parameters[key].grad
        if key.endswith("qkv.bias"):  # theirs has no bias of keys, of which no loss depends
            got = torch.cat([got[:8], torch.zeros(8).double(), got[16:]])
        torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-9, msg=f"gradient of {key}")


def test_predictions_are_those_of_the_authors_code():
    batch = authors_batch()
    images, hidden = batch.views["global"][:, 0], batch.cues["global.mask"][:, 0]
    _, prediction = authors_model()._predict(images, hidden)
    torch.testing.assert_close(prediction, patchify(SAVED["prediction"], 4), rtol=1e-7, atol=1e-9)


def l1_by_loops(prediction, target, mask):
    total, count = 0.0, 0
    for b, n in mask.nonzero().tolist():
        for made, wanted in zip(prediction[b, n], target[b, n], strict=True):
            total, count = total + (made - wanted).abs(), count + 1
    return total / count


def test_the_loss_and_its_gradient_are_the_formula():
    g = torch.Generator().manual_seed(0)
    target = torch.randn(2, 6, 8, generator=g, dtype=torch.float64)
    prediction = torch.randn(2, 6, 8, generator=g, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[1, 0, 1, 0, 0, 1], [0, 1, 1, 1, 0, 0]]).bool()
    loss, expected = masked_l1(prediction, target, mask), l1_by_loops(prediction, target, mask)
    (grad,) = torch.autograd.grad(loss, prediction)
    (expected_grad,) = torch.autograd.grad(expected, prediction)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(grad, expected_grad, rtol=1e-10, atol=1e-15)
    assert not grad[~mask].any()


def test_the_encoder_does_not_see_what_is_hidden():
    torch.manual_seed(0)
    method = SimMIM(given(TinyViT()), SimMIMConfig())
    batch = make_batch(0, local=0)
    images, hidden = batch.views["global"][:, 0], batch.cues["global.mask"][:, 0]
    noisy = images + torch.randn_like(images)
    cover = hidden.view(-1, 1, 4, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    seen, other = (
        method._predict(x, hidden)[1] for x in (images, torch.where(cover, noisy, images))
    )
    assert torch.equal(seen, other)
    assert not torch.equal(seen, method._predict(noisy, hidden)[1])


def test_the_squared_error_is_a_setting():
    torch.manual_seed(0)
    encoder, batch = TinyViT(), make_batch(0, local=0)
    losses = set()
    for name in ("l1", "l2"):
        torch.manual_seed(1)
        method = SimMIM(given(encoder), SimMIMConfig(loss=name))
        losses.add(method(batch, Clock(0, 1)).total.item())
    assert len(losses) == 2


def test_a_reconstruction_keeps_what_is_seen():
    method = SimMIM(given(TinyViT()), SimMIMConfig())
    batch = make_batch(0, local=0)
    images, hidden = batch.views["global"][:, 0], batch.cues["global.mask"][:, 0]
    made = patchify(method.reconstruct(batch), 4)
    assert torch.equal(made[~hidden], patchify(images, 4)[~hidden])
    assert not torch.equal(made[hidden], patchify(images, 4)[hidden])


def test_sizes_that_do_not_fit_are_refused_with_the_flags_to_set():
    vit = ViTConfig(input=Pixels(side=32), patch=8, width=8, depth=1, heads=2)
    method = SimMIM(given(encoders.build(vit)), SimMIMConfig())
    with pytest.raises(UsageError, match=r"SimMIM expects .*\(3, 32, 32\).*--views\.global\.size"):
        method(make_batch(0, local=0), Clock(0, 1))
