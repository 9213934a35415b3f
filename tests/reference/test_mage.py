"""MAGE against numbers of the authors' code (data/README.md), and what it hides."""

import math
from dataclasses import replace

import pytest
import torch
from raw import assert_alike, hashed, load, summary, weigh

from manyviews import encoders
from manyviews.core import Batch, Clock, Features, Given, UsageError
from manyviews.core.inputs import Pixels
from manyviews.encoders.settings import CodedConfig, DVAEConfig, ViTConfig
from manyviews.losses.codes import masked_code_cross_entropy
from manyviews.losses.contrastive import nt_xent, unit
from manyviews.methods.masked import mage as module
from manyviews.methods.masked.mage import MAGE, MAGEConfig
from manyviews.parts.masking import visible
from manyviews.parts.noise import truncated_normal
from tiny import TinyViT, make_batch

SAVED = load("mage")
FED = Pixels(side=16, channels=2, mean=(0.0,), std=(1.0,))
NET = CodedConfig(input=FED, patch=4, codes=10, filters=4, width=8, depth=2, heads=2)
TOKENIZER = DVAEConfig(input=FED, patch=4, width=4, codes=10)
SMALL = MAGEConfig(width=12, depth=1, heads=3)
CLASS, MASK, VOCABULARY = 10 + 76, 10 + 1000, 10 + 1001
"""The authors' numbers of the class token and the mask token, behind ten codes."""


def coded(config=SMALL, tokenizer=TOKENIZER):
    torch.manual_seed(0)
    teachers = {"tokenizer": encoders.build(tokenizer)}
    return MAGE(Given({"image": encoders.build(NET)}, teachers=teachers), config)


def pixels(config=SMALL):
    torch.manual_seed(0)
    return MAGE(Given({"image": TinyViT()}, teachers={"tokenizer": TinyViT().eval()}), config)


def authors(name):
    """Our parameter -> theirs."""
    theirs = {
        "norm_pre": "token_emb.LayerNorm",
        "decoder_pos_embed": "decoder_pos_embed_learned",
        "fc": "mlm_layer.fc",
        "ln": "mlm_layer.ln",
    }
    name = name.removeprefix("online.").removeprefix("decoder.")
    first, _, rest = name.partition(".")
    return f"{theirs.get(first, first)}{'.' if rest else ''}{rest}"


TABLES = ("words", "class_token", "positions", "mask_token", "bias")
"""What lies in tables of theirs."""


def ordinary(method):
    return {
        k: p
        for k, p in method.named_parameters()
        if "tokenizer" not in k and k.split(".")[1 if "." in k else 0] not in TABLES
    }


def test_loss_and_gradients_are_the_authors(monkeypatch):
    method = coded().double().eval()
    weigh(method, authors)
    words = hashed("token_emb.word_embeddings.weight", VOCABULARY, 8) * math.sqrt(6 / 8)
    rows = hashed("token_emb.position_embeddings.weight", 257, 8) * math.sqrt(6 / 8)
    online = method.online
    with torch.no_grad():
        online.words.weight.copy_(words[:10])
        online.class_token.copy_(words[CLASS])
        online.positions.copy_(rows[:17])
        method.mask_token.copy_(words[MASK])
        bias = hashed("mlm_layer.bias", 1, 1, VOCABULARY).flatten() * math.sqrt(6 / VOCABULARY)
        method.decoder.bias.copy_(bias[:10])
    noise, codes = SAVED["noise"], SAVED["codes"]
    drawn = torch.cat([torch.zeros(3, 1), noise], dim=1)[:, None]
    monkeypatch.setattr(module, "uniform", lambda *a, **k: drawn)
    monkeypatch.setattr(module, "truncated_normal", lambda u, **k: SAVED["share"].expand(len(u)))
    method.shown = lambda images, tokens: Features(
        images, torch.nn.functional.one_hot(codes, 10).double()
    )
    dropped = noise.argsort(dim=1).argsort(dim=1) < 8
    cues = {"global.mask": dropped[:, None]}
    views = {"global": torch.zeros(3, 1, 2, 16, 16).double()}
    step = method(Batch(views, torch.arange(3), cues), Clock(0, 1))
    torch.testing.assert_close(step.total.detach(), SAVED["loss"], rtol=1e-7, atol=0)
    step.total.backward()
    grads = {authors(k): p.grad for k, p in ordinary(method).items()}
    table = torch.zeros(VOCABULARY, 8).double()
    table[:10], table[CLASS] = online.words.weight.grad, online.class_token.grad.flatten()
    table[MASK] = method.mask_token.grad
    grads["token_emb.word_embeddings.weight"] = table
    places = torch.zeros(257, 8).double()
    places[:17] = online.positions.grad[0]
    grads["token_emb.position_embeddings.weight"] = places
    grads["mlm_layer.bias"] = torch.zeros(1, 1, VOCABULARY).double()
    grads["mlm_layer.bias"][0, 0, :10] = method.decoder.bias.grad
    assert_alike(summary(grads), SAVED["gradients"], within=1e-6)


def test_what_is_hidden_holds_what_is_left_out_and_a_share_of_its_own():
    method, clock = pixels(replace(SMALL, mean=0.7)), Clock(3, 10)
    batch = make_batch(0, size=64, local=0)
    dropped = torch.arange(16).expand(128, 16) % 4 == 0
    hidden = method._hidden(batch, clock, dropped)
    assert (hidden | ~dropped).all()
    counts = hidden.sum(dim=1)
    assert 4 <= int(counts.min()) < 9 < 15 <= int(counts.max()) <= 16
    assert len(set(map(tuple, hidden.tolist()))) > 100
    assert not torch.equal(method._hidden(batch, Clock(4, 10), dropped), hidden)
    some = Batch({"global": batch.views["global"][5:8]}, batch.index[5:8], {})
    assert torch.equal(method._hidden(some, clock, dropped[:6]), hidden[10:16])


def test_a_normal_number_is_cut_and_not_crowded_at_the_bounds():
    u = (torch.arange(4000) + 0.5) / 4000
    share = truncated_normal(u, mean=0.55, std=0.25, least=torch.full((4000,), 0.5), most=1.0)
    assert float(share.min()) == pytest.approx(0.5, abs=1e-3)
    assert float(share.max()) == pytest.approx(1.0, abs=2e-3)
    tries = 0.55 + 0.25 * torch.randn(200_000, generator=torch.Generator().manual_seed(0))
    kept = tries[(tries > 0.5) & (tries < 1)]
    for q in (0.1, 0.5, 0.9):
        assert float(share.quantile(q)) == pytest.approx(float(kept.quantile(q)), abs=5e-3)


def test_the_loss_is_the_mean_over_hidden_places_of_smoothed_cross_entropies():
    logits = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(0)).double()
    codes = torch.tensor([[0, 4, 2, 1], [3, 3, 0, 2]])
    hidden = torch.tensor([[1, 0, 1, 1], [0, 0, 1, 0]]).bool()
    total = 0.0
    for image, place in hidden.nonzero().tolist():
        p = logits[image, place].softmax(0)
        total += 0.9 * -math.log(p[codes[image, place]]) + 0.1 * float(-p.log().mean())
    found = masked_code_cross_entropy(logits, codes, hidden, smoothing=0.1)
    assert float(found) == pytest.approx(total / 4, rel=1e-10)


@torch.no_grad()
@pytest.mark.parametrize("make", [coded, pixels])
def test_nothing_of_a_hidden_place_gets_in(make):
    method = make().eval()
    x = torch.randn(3, *method.online.input.shape, generator=torch.Generator().manual_seed(0))
    dropped = torch.arange(16).expand(3, 16) % 2 == 0
    hidden = dropped | (torch.arange(16).expand(3, 16) % 3 == 0)
    if make is coded:
        fed = torch.arange(48).view(3, 16) % 10
        other = torch.where(hidden, (fed + 1) % 10, fed)
    else:
        cover = hidden.view(3, 1, 4, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
        fed, other = x, torch.where(cover, x.flip(0), x)
    found = []
    for one in (fed, other):
        made = method.online(
            one, keep=visible(dropped), hide=module.Hide(hidden, method.mask_token)
        )
        words = method.online.words.weight if make is coded else None
        found.append(
            method.decoder(
                made.tokens, visible(dropped), hidden, class_token=made.class_token, words=words
            )
        )
    assert torch.equal(*found)
    codes = (
        [method.online.codes(x), method.shown.teacher(x).tokens.argmax(2)] if make is coded else []
    )
    assert not codes or torch.equal(*codes)


def test_with_contrast_mean_tokens_of_two_views_are_brought_together():
    method = pixels(replace(SMALL, contrast=0.5, hidden=16, out=8))
    assert method.needs == {"global": 2, "global.mask": 2}
    assert MAGE.needs["global"] == pixels().needs["global"] == 1
    seen = []
    method.projector.register_forward_hook(lambda m, i, o: seen.append((i[0], o)))
    tokens = []
    method.online.register_forward_hook(lambda m, i, o: tokens.append(o.tokens))
    step = method(make_batch(0, local=0), Clock(0, 1))
    [(fed, made)] = seen
    assert torch.equal(fed, tokens[0].mean(dim=1))
    expected = 0.5 * nt_xent(unit(made.view(8, 2, 8)), temperature=0.2)
    torch.testing.assert_close(step.losses["contrast"], expected)


def test_a_tokenizer_is_taken_over_and_stays_as_it_is():
    method = coded().train()
    teacher = method.shown.teacher
    assert teacher is not method.online.tokenizer
    ours = method.online.tokenizer.state_dict()
    assert all(torch.equal(v, ours[k]) for k, v in teacher.state_dict().items())
    assert not any(p.requires_grad for p in method.online.tokenizer.parameters())
    with pytest.raises(UsageError, match=r"10 codes .* --encoder\.codes and --encoder\.filters"):
        coded(tokenizer=replace(TOKENIZER, codes=12))


def test_without_a_class_token_gaps_are_learned_or_refused():
    vit = ViTConfig(name="vit_huge_patch14_gap_224", input=Pixels(side=16), patch=4, width=8,
                    depth=1, heads=2, pool="mean")  # fmt: skip
    batch = make_batch(0, local=0)

    def method(gap):
        given = Given({"image": encoders.build(vit)}, teachers={"tokenizer": TinyViT().eval()})
        return MAGE(given, replace(SMALL, gap=gap))

    with pytest.raises(UsageError, match=r"no class token .* --method\.gap learned"):
        method("class")(batch, Clock(0, 1))
    step = method("learned")(batch, Clock(0, 1))
    assert step.total.isfinite()
