"""A tokenizer's training, and BEiT on its codes, against public code (data/README.md)."""

import math
import re

import pytest
import torch
from raw import assert_alike, hashed, load, summary, weigh

from manyviews import encoders
from manyviews.core import Batch, Clock, Given, UsageError
from manyviews.core.inputs import Pixels
from manyviews.core.schedules import Ramp
from manyviews.encoders.settings import DVAEConfig, ViTConfig
from manyviews.losses.codes import code_cross_entropy, code_usage, kl_to_uniform
from manyviews.methods.masked import tokenizer as module
from manyviews.methods.masked.beit import BEiT, BEiTConfig
from manyviews.methods.masked.tokenizer import DiscreteVAE, DiscreteVAEConfig
from manyviews.parts.noise import gumbel
from tiny import TinyViT, given, make_batch

SAVED = load("beit")
FED = Pixels(side=16, channels=2, mean=(0.0, 0.0), std=(1.0, 1.0))
NET = DVAEConfig(input=FED, patch=4, width=4, codes=6)
IMAGES = hashed("images", 3, 2, 16, 16)


def theirs(name):
    """Our parameter of the tokenizer -> theirs."""
    name = re.sub(r"^(online\.)?stages\.(\d)\.0", lambda m: f"encoder.{2 * int(m[2])}.0", name)
    name = re.sub(r"^(online\.)?stages\.(\d)\.2", lambda m: f"encoder.{2 * int(m[2]) + 1}", name)
    name = re.sub(r"^(online\.)?scores", "encoder.4", name)
    return name.replace("decoder.layers", "decoder").replace("decoder.last", "decoder.4")


def tokenizer(**config):
    method = DiscreteVAE(given(encoders.build(NET)), DiscreteVAEConfig(code=5, width=4, **config))
    method.double()
    weigh(method, theirs)
    with torch.no_grad():
        method.codebook.weight.copy_(hashed("codebook.weight", 6, 5).T * math.sqrt(6 / 5))
    return method


def batch(views=IMAGES[:, None], **cues):
    return Batch({"global": views}, torch.arange(len(views)), cues)


CASES = {
    # they add up the divergence over the batch of three where we average it
    "soft": {"kl": 0.02 * 3, "temperature": Ramp(0.7, 0.7)},
    "hard": {"hard": True, "loss": "smooth_l1", "temperature": Ramp(0.7, 0.7)},
}


@pytest.mark.parametrize("case", CASES)
def test_a_tokenizers_loss_and_gradients_are_those_of_the_public_code(case, monkeypatch):
    noise = SAVED[f"{case}.noise"].flatten(2).transpose(1, 2)
    monkeypatch.setattr(module, "gumbel", lambda index, step, shape, salt: noise[:, None])
    method = tokenizer(**CASES[case])
    step = method(batch(), Clock(0, 1))
    torch.testing.assert_close(step.total.detach(), SAVED[f"{case}.loss"], rtol=1e-7, atol=1e-9)
    step.total.backward()
    gradients = {theirs(k): p.grad for k, p in method.named_parameters()}
    gradients["codebook.weight"] = gradients["codebook.weight"].T
    assert_alike(summary(gradients), SAVED[f"{case}.gradients"], within=1e-6)


def test_codes_are_those_of_the_public_code():
    found = tokenizer().online(IMAGES)
    assert torch.equal(found.tokens.argmax(dim=2), SAVED["codes"])
    torch.testing.assert_close(found.pooled.sum(dim=1), torch.ones(3, dtype=torch.float64))


def beit(net=NET):
    """Our BEiT with the authors' weights; of their keys the bias, which changes nothing, is 0."""
    vit = ViTConfig(input=FED, patch=4, width=12, depth=2, heads=2)
    teacher = tokenizer().online if net is NET else encoders.build(net).double()
    method = BEiT(
        Given({"image": encoders.build(vit)}, teachers={"tokenizer": teacher}), BEiTConfig()
    )
    return method.double()


def authors(name):
    return re.sub(r"^online\.model\.", "", name).replace("head.", "lm_head.")


def test_beits_loss_and_gradients_are_the_authors():
    method = beit()
    weigh(method, authors)
    parameters = dict(method.named_parameters())
    with torch.no_grad():
        method.mask_token.copy_(hashed("mask_token", 1, 1, 12).flatten() * math.sqrt(6 / 12))
        for i in range(2):
            of = f"blocks.{i}.attn"
            bias = [0.1 * hashed(f"{of}.{kind}_bias", 12) for kind in "qv"]
            parameters[f"online.model.{of}.qkv.bias"].copy_(
                torch.cat([bias[0], torch.zeros(12), bias[1]])
            )
    hidden = SAVED["hidden"][:, None]
    step = method(batch(**{"global.mask": hidden}), Clock(0, 1))
    torch.testing.assert_close(step.total.detach(), SAVED["beit.loss"], rtol=1e-7, atol=0)
    step.total.backward()
    gradients = {authors(k): p.grad for k, p in parameters.items()}
    gradients["mask_token"] = gradients["mask_token"].view(1, 1, -1)
    for i in range(2):
        grad = gradients.pop(f"blocks.{i}.attn.qkv.bias").split(12)
        assert grad[1].abs().max() < 1e-12
        gradients[f"blocks.{i}.attn.q_bias"], gradients[f"blocks.{i}.attn.v_bias"] = grad[::2]
    assert_alike(summary(gradients), SAVED["beit.gradients"], within=1e-6)


def test_the_encoder_never_sees_hidden_pixels_and_the_tokenizer_does():
    method = beit().eval()
    hidden = SAVED["hidden"]
    cover = hidden.view(3, 1, 4, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    changed = torch.where(cover, IMAGES.flip(0), IMAGES)
    seen = []
    method.head.register_forward_hook(lambda m, i, o: seen.append(o))
    for images in (IMAGES, changed):
        method(batch(images[:, None], **{"global.mask": hidden[:, None]}), Clock(0, 1))
    assert torch.equal(*seen)
    codes = [method.shown.teacher(x).tokens.argmax(2) for x in (IMAGES, changed)]
    assert (codes[0] != codes[1]).any()


def test_a_tokenizer_of_another_grid_is_refused():
    with pytest.raises(UsageError, match=r"a grid of \(8, 8\) and the encoder tokens on one of"):
        beit(DVAEConfig(input=FED, patch=2, width=4, codes=6))


@pytest.mark.parametrize(("patch", "side"), [(6, 24), (8, 20)])
def test_a_patch_that_cannot_be_halved_to_is_refused(patch, side):
    with pytest.raises(UsageError, match=f"--encoder.patch is {patch} and images have {side}"):
        encoders.build(DVAEConfig(input=Pixels(side=side), patch=patch))


def test_choices_become_sharper_and_the_code_alone_is_decoded_if_so_set():
    logits = torch.randn(2, 16, 6, generator=torch.Generator().manual_seed(0)).double()
    method = tokenizer(temperature=Ramp(1.0, 0.01, fraction=1.0))
    two = batch(IMAGES[:2, None])
    early, late = (method._chosen(logits, two, Clock(step, 10)) for step in (0, 10))
    assert early.amax(dim=2).mean() < 0.75 < 0.98 < late.amax(dim=2).mean()
    hard = tokenizer(hard=True)._chosen(logits, two, Clock(0, 10))
    assert torch.equal(hard.round(), torch.nn.functional.one_hot(hard.argmax(2), 6).double())


def test_choices_belong_to_sample_view_and_step():
    logits = torch.zeros(6, 16, 6).double()
    method = tokenizer(temperature=Ramp(1.0, 1.0))

    def chosen(index, step=0):
        given = Batch({"global": IMAGES[:3, None].expand(-1, 2, -1, -1, -1)}, torch.tensor(index))
        return method._chosen(logits, given, Clock(step, 10)).unflatten(0, (3, 2))

    one = chosen([4, 7, 9])
    noise = gumbel(torch.tensor([4, 7, 9]), 0, (2, 16, 6), salt=method.salt)
    torch.testing.assert_close(one, noise.double().softmax(dim=-1))
    torch.testing.assert_close(chosen([9, 4, 7]), one[[2, 0, 1]])
    assert not torch.equal(chosen([4, 7, 9], step=1), one)


def test_noise_is_gumbels_and_belongs_to_sample_step_and_run():
    index, salt = torch.arange(64), torch.tensor(5)
    noise = gumbel(index, 3, (40, 40), salt=salt)
    assert noise.isfinite().all()
    assert float(noise.mean()) == pytest.approx(0.5772, abs=0.02)
    assert float(noise.var()) == pytest.approx(math.pi**2 / 6, abs=0.05)
    flat = noise.flatten(1)
    assert (torch.corrcoef(flat) - torch.eye(64)).abs().max() < 0.15
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))[:7]
    assert torch.equal(gumbel(order, 3, (40, 40), salt=salt), noise[order])
    assert not torch.equal(gumbel(index, 4, (40, 40), salt=salt), noise)
    assert not torch.equal(gumbel(index, 3, (40, 40), salt=salt + 1), noise)


def test_the_divergence_from_even_choices_is_the_formula_and_usage_tells_collapse():
    logits = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0)).double()
    total = 0.0
    for row in logits.softmax(-1).flatten(0, 1).tolist():
        total += sum(p * math.log(p * 5) for p in row)
    assert float(kl_to_uniform(logits)) == pytest.approx(total / 3, rel=1e-10)
    assert float(kl_to_uniform(torch.zeros(2, 3, 4))) == pytest.approx(0.0, abs=1e-6)
    one = torch.full((2, 3, 4), -100.0)
    one[..., 1] = 100.0
    assert float(code_usage(one.softmax(-1).mean((0, 1)))) == pytest.approx(0.0, abs=1e-6)
    assert float(code_usage(torch.full((4,), 0.25))) == pytest.approx(1.0, rel=1e-6)
    codes = torch.tensor([[0, 4], [1, 2], [3, 3]])
    expected = -logits[:, :2].log_softmax(-1).gather(2, codes[..., None]).mean()
    torch.testing.assert_close(code_cross_entropy(logits[:, :2], codes), expected)


def test_any_encoder_of_places_can_be_a_tokenizer():
    method = DiscreteVAE(given(TinyViT()), DiscreteVAEConfig(code=8, width=8))
    step = method(make_batch(0, local=0), Clock(0, 1))
    assert step.total.isfinite()
    assert set(step.losses) == {"reconstruction", "kl"}
