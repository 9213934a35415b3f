"""iGPT against the authors' network (openai/image-gpt), and what it must not see."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from manyviews.core import Batch, Clock, Given, UsageError
from manyviews.core.inputs import Pixels
from manyviews.encoders.raster import Raster
from manyviews.encoders.settings import RasterConfig
from manyviews.methods.masked.igpt import IGPT, IGPTConfig
from manyviews.parts.palette import clustered
from tiny import TinyViT, given

with np.load(Path(__file__).parent / "data" / "igpt.npz") as file:
    SAVED = {key: torch.from_numpy(file[key]) for key in file.files}
GREY = Pixels(side=4, channels=1, mean=(0.4,), std=(0.3,))
CLOCK = Clock(0, 10)


def small(**more):
    """Ten greys, two blocks, two heads."""
    torch.manual_seed(0)
    encoder = Raster(RasterConfig(input=GREY, colours=10, width=8, depth=2, heads=2))
    encoder.adopt(torch.linspace(0, 1, 10)[:, None])
    return IGPT(Given({"image": encoder}), IGPTConfig(**more))


def shown(codes):
    """A batch of one view of the images that have these codes [B, 16]."""
    pixels = (codes / 9).float().view(-1, 1, 1, 4, 4)
    return Batch({"global": (pixels - 0.4) / 0.3}, torch.arange(len(codes)))


def theirs(kind):
    """Our name -> their tensor: kind "p" for weights, "g" for gradients."""
    saved = {key[2:]: value for key, value in SAVED.items() if key.startswith(f"{kind}.")}
    out = {
        "online.words.weight": saved["wte"],
        "online.positions": saved["wpe"],
        "online.start": saved["sos"],
        "online.norm.weight": saved["ln_f/g"],
        "scores.weight": saved["wtet"],
    }
    for n in range(2):
        at = {key.removeprefix(f"h{n}/"): v for key, v in saved.items() if key[:3] == f"h{n}/"}
        qkv = [at[f"attn/{name}_proj"].flatten(0, 1) for name in "qkv"]
        out |= {
            f"online.blocks.{n}.norm1.weight": at["ln_1/g"],
            f"online.blocks.{n}.norm2.weight": at["ln_2/g"],
            f"online.blocks.{n}.qkv.weight": torch.cat(qkv),
            f"online.blocks.{n}.proj.weight": at["attn/c_proj"].flatten(0, 1).T,
            f"online.blocks.{n}.fc1.weight": at["mlp/c_fc/w"].T,
            f"online.blocks.{n}.fc2.weight": at["mlp/c_proj/w"].T,
        }
    return out


@pytest.fixture
def method():
    made = small()
    with torch.no_grad():
        for name, value in theirs("p").items():
            made.get_parameter(name).copy_(value)
    return made


def test_loss_scores_and_every_gradient_are_the_authors(method):
    codes = SAVED["codes"]
    step = method(shown(codes), CLOCK)
    torch.testing.assert_close(step.total, SAVED["loss"], rtol=1e-6, atol=1e-6)
    logits = method.scores(method.online(codes).tokens)
    torch.testing.assert_close(logits, SAVED["logits"], rtol=1e-5, atol=1e-5)
    step.total.backward()
    wanted = theirs("g")
    assert set(wanted) == {name for name, _ in method.named_parameters()}
    for name, value in wanted.items():
        found = method.get_parameter(name).grad
        torch.testing.assert_close(found, value, rtol=1e-4, atol=1e-6, msg=name)


def test_the_loss_is_the_mean_of_what_each_colour_costs_after_those_before_it(method):
    codes = SAVED["codes"][:1]
    cost = 0.0
    for n in range(16):
        other = codes.clone()
        other[:, n:] = 3  # whatever comes, from here on
        scores = method.scores(method.online(other).tokens)[0, n]
        cost -= scores.log_softmax(dim=0)[codes[0, n]].item() / 16
    assert method(shown(codes), CLOCK).total.item() == pytest.approx(cost, rel=1e-5)


def test_without_having_learned_all_colours_cost_the_same():
    made = small()
    assert not made.scores.weight.any()
    loss = made(shown(SAVED["codes"]), CLOCK).total.item()
    assert loss == pytest.approx(np.log(10), rel=1e-6)
    assert small(init=0.3).scores.weight.std().item() == pytest.approx(0.3, rel=0.3)


def test_the_palette_is_found_once_among_the_pixels_of_the_data():
    made, asked = small(pixels=5), []
    made.online.adopted.zero_()
    levels = torch.tensor([0.0, 0.1, 0.25, 0.3, 0.45, 0.5, 0.6, 0.75, 0.9, 1.0])
    g = torch.Generator().manual_seed(1)
    pixels = levels[torch.randint(10, (40, 1, 4, 4), generator=g)]

    def embed_all(f, *, share=False):
        asked.append(f({"image": (pixels - 0.4) / 0.3}))
        rows = asked[-1].clone()
        rows[3] = torch.nan  # which cannot be read
        return rows

    made.before_epoch(CLOCK, embed_all)
    assert asked[0].shape == (40, 5)
    found = made.online.colours.flatten().sort().values
    torch.testing.assert_close(found, levels, rtol=1e-5, atol=1e-5)
    made.before_epoch(CLOCK, embed_all)
    assert len(asked) == 1
    made.online.adopted.zero_()
    pixels[:] = 0.5
    with pytest.raises(UsageError, match=r"10 colours .* among 1\. Lower --encoder\.colours"):
        made.before_epoch(CLOCK, embed_all)


def test_pixels_come_from_all_over_an_image():
    made = small(pixels=8)
    numbers = torch.arange(256.0).view(1, 1, 16, 16).div(256).sub(0.4).div(0.3)
    places = made._some({"image": numbers}).mul(256).round()[0]
    rows, columns = places.div(16).floor(), places % 16
    assert len(rows.unique()) == len(columns.unique()) == 8


def test_flat_areas_are_given_one_colour_at_the_start():
    rows = torch.cat([torch.zeros(500, 1), torch.linspace(0.1, 1, 10)[:, None]])
    torch.manual_seed(0)
    apart = clustered(rows, 8, "--x", distinct=True)
    assert len(apart.unique()) == 8
    assert len(clustered(rows, 8, "--x").unique()) < 8


def test_an_encoder_that_sees_all_is_refused():
    with pytest.raises(UsageError, match=r"TinyViT sees all\. Use --encoder\.name raster"):
        IGPT(given(TinyViT()), IGPTConfig())


def test_a_training_names_colours_that_it_could_not_at_first():
    made = small()
    stripes = torch.arange(16).remainder(4).mul(3).expand(8, 16).clone()
    stripes[4:] = stripes[4:].flip(1)  # each row begins anew, in one of two orders
    optimizer = torch.optim.Adam(made.parameters(), lr=1e-2)
    for _ in range(300):
        optimizer.zero_grad()
        loss = made(shown(stripes), CLOCK).total
        loss.backward()
        optimizer.step()
    # all but the first pixel follows from those before it
    assert loss.item() < np.log(2) / 16 + 0.2
    assert isinstance(made.scores, nn.Linear)
