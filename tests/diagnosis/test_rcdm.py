"""RCDM learns what features say of images and draws the rest anew."""

import math

import pytest
import torch

from manyviews.core import UsageError
from manyviews.diagnosis.rcdm import Rcdm, _loss, fit, kept_of
from manyviews.diagnosis.unet import Denoiser

torch.set_num_threads(1)


def squares(n=256, seed=0):
    """Images of one grey, with a bright or dark left half: (images [n, 1, 8, 8], grey, side)."""
    g = torch.Generator().manual_seed(seed)
    grey = 0.3 + 0.4 * torch.rand(n, generator=g)
    side = torch.randint(2, (n,), generator=g).float()
    images = grey[:, None, None, None].expand(n, 1, 8, 8).clone()
    images[..., :4] += (0.5 * side - 0.25)[:, None, None, None]
    return images, grey, side


@pytest.fixture(scope="module")
def fitted():
    images, grey, _ = squares()
    return fit(images, grey[:, None], steps=250, batch_size=32, width=8, lr=3e-3, decay=0.98)


def test_what_features_say_is_in_every_sample_and_what_they_do_not_is_drawn(fitted):
    wanted = torch.tensor([[0.35], [0.65]])
    samples = fitted.sample(wanted, count=16, steps=10)
    assert samples.shape == (2, 16, 1, 8, 8)
    right, left = samples[..., 4:].mean(dim=(2, 3, 4)), samples[..., :4].mean(dim=(2, 3, 4))
    assert float(right[1].mean() - right[0].mean()) > 0.15  # grey was told
    step = left - right  # the side was not: both are drawn
    assert float(step.max()) > 0.1
    assert float(step.min()) < -0.1


def test_every_row_has_the_same_noise_and_a_seed_the_same_samples(fitted):
    twice = fitted.sample(torch.tensor([[0.5], [0.5]]), count=2, steps=3)
    torch.testing.assert_close(twice[0], twice[1])
    other = fitted.sample(torch.tensor([[0.5]]), count=2, steps=3, seed=1)
    assert not torch.allclose(other, twice[:1], atol=0.01)
    strong = fitted.sample(torch.tensor([[0.5]]), count=2, steps=3, guidance=2.0)
    assert not torch.allclose(strong, twice[:1], atol=1e-4)


def test_a_model_that_knows_the_velocity_samples_the_image_itself():
    """DDIM with the exact answer comes back to the clean image from any noise."""
    clean = torch.rand(1, 1, 8, 8) * 2 - 1

    class Exact(torch.nn.Module):
        out = torch.nn.Conv2d(1, 1, 1)

        def forward(self, x, t, h, told):
            angle = 0.5 * math.pi * t[:, None, None, None]
            if float(t[0]) == 1:
                return -clean.expand_as(x)
            noise = (x - angle.cos() * clean) / angle.sin()
            return angle.cos() * noise - angle.sin() * clean

    model = Rcdm(Exact(), torch.zeros(1), torch.ones(1), 8, 0, 0.0)
    for steps in (1, 7):
        made = model.sample(torch.zeros(1, 1), count=3, steps=steps)
        torch.testing.assert_close(
            made, ((clean + 1) / 2).expand(3, 1, 8, 8)[None], atol=1e-4, rtol=0
        )


@pytest.mark.parametrize("steps", [1, 4, 9])
def test_without_velocity_each_step_turns_noise_by_the_same_angle(steps):
    """Then DDIM shrinks the noise by the cosine of every step, where nothing is clamped."""

    class Still(torch.nn.Module):
        out = torch.nn.Conv2d(1, 1, 1)

        def forward(self, x, t, h, told):
            return torch.zeros_like(x)

    model = Rcdm(Still(), torch.zeros(1), torch.ones(1), 8, 0, 0.0)
    noise = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    made = model.sample(torch.zeros(1, 1), count=2, steps=steps, seed=3)[0]
    wanted = noise * math.cos(0.5 * math.pi / steps) ** steps
    free = noise.abs() < 1
    torch.testing.assert_close(made[free], (wanted[free] + 1) / 2, atol=1e-4, rtol=0)


def test_the_loss_of_a_model_that_says_nothing_is_the_velocitys_square():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(512, 1, 8, 8, generator=g)
    model = Denoiser(1, 3, width=8)
    assert float(_loss(model, x, torch.zeros(512, 3), g).detach()) == pytest.approx(1.0, abs=0.03)


def test_a_model_that_is_not_told_does_not_see_features():
    model = Denoiser(1, 3, width=8)
    torch.nn.init.normal_(model.out.weight)
    for block in (*model.down, model.middle, *model.up):
        torch.nn.init.normal_(block.second.weight, std=0.1)
    x, t = torch.randn(2, 1, 8, 8), torch.full((2,), 0.5)
    one, two = torch.zeros(2, 3), torch.ones(2, 3)
    told = torch.tensor([True, False])
    a, b = model(x, t, one, told), model(x, t, two, told)
    assert not torch.allclose(a[0], b[0])
    torch.testing.assert_close(a[1], b[1])


def test_training_is_the_same_twice_and_ends_in_time():
    images, grey, _ = squares(16)
    runs = [fit(images, grey[:, None], steps=3, batch_size=4, width=8) for _ in range(2)]
    for a, b in zip(runs[0].model.parameters(), runs[1].model.parameters(), strict=True):
        assert torch.equal(a, b)
    told: list[tuple[int, int]] = []
    short = fit(
        *(images, grey[:, None]),
        steps=10_000,
        minutes=1e-6,
        batch_size=4,
        width=8,
        tell=lambda done, total: told.append((done, total)),
    )
    assert short.steps < 10
    assert told[-1] == (10_000, 10_000)  # the time is over, so there is nothing left
    with pytest.raises(UsageError, match="16 images of 8 pixels and 3 rows of features"):
        fit(images, grey[:3, None])
    with pytest.raises(UsageError, match="of a side that 4 divides"):
        fit(images[..., :6, :6], grey[:, None])


def test_samples_are_judged_by_whose_features_they_have():
    g = torch.Generator().manual_seed(0)
    features = torch.randn(10, 4, generator=g)
    images = torch.rand(3, 1, 4, 4, generator=g)
    own = features[:3, None].expand(3, 2, 4)
    same = images[:, None].expand(3, 2, 1, 4, 4)
    found = kept_of(same, own, features, features[:3], images)
    assert (found.rank, found.most, found.spread) == (1, 1, pytest.approx(0, abs=1e-3))
    assert found.least < 1
    mixed = images[None].expand(3, 3, 1, 4, 4)
    assert kept_of(mixed, own, features, features[:3], images).spread == pytest.approx(1, rel=1e-3)
