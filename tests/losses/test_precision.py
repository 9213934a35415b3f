import pytest
import torch

from manyviews.losses.coding import coding_rate, likeness_to_mean
from manyviews.losses.contrastive import (
    batch_info_nce,
    debiased,
    decoupled,
    info_nce,
    nt_xent,
    unit,
)
from manyviews.losses.entropy import discrete_entropy, vmf_entropy, vmf_reconstruction
from manyviews.losses.gaussian import centre_scale_shape, epps_pulley, lines
from manyviews.losses.infomax import (
    clipped_info_nce,
    jensen_shannon,
    place_info_nce,
    predicted_place,
)
from manyviews.losses.margin import drlim, semi_hard_triplet
from manyviews.losses.redundancy import (
    barlow_twins,
    covariance,
    invariance,
    second_moment,
    spread_along,
    variance,
)
from manyviews.losses.regression import normalised_mse
from manyviews.losses.sphere import alignment, uniformity
from manyviews.losses.whitening import whitened_distance


def views(a, b):
    return unit(torch.stack([a, b], dim=1))


LOSSES = {
    "unit": lambda a, b: unit(a),
    "nt_xent": lambda a, b: nt_xent(torch.stack([a, b], dim=1), temperature=0.1),
    "info_nce": lambda a, b: info_nce(a, b, b.flip(0), temperature=0.1),
    "batch_info_nce": lambda a, b: batch_info_nce(unit(a), unit(b), temperature=0.1),
    "decoupled": lambda a, b: decoupled(views(a, b), temperature=0.1, sigma=0.5),
    "debiased": lambda a, b: debiased(views(a, b), temperature=0.1, prior=0.1, hardness=1.0),
    "drlim": lambda a, b: drlim(views(a, b), margin=1.0),
    "semi_hard_triplet": lambda a, b: semi_hard_triplet(views(a, b), margin=0.5),
    "alignment": lambda a, b: alignment(unit(a), unit(b)),
    "uniformity": lambda a, b: uniformity(unit(a)),
    "normalised_mse": normalised_mse,
    "barlow_twins": lambda a, b: barlow_twins(a, b, off_diagonal=0.1),
    "variance": lambda a, b: variance(a * 0.5),
    "covariance": lambda a, b: covariance(a),
    "jensen_shannon": lambda a, b: jensen_shannon(a, b[:, None]),
    "place_info_nce": lambda a, b: place_info_nce(a, b[:, None]),
    "clipped_info_nce": lambda a, b: clipped_info_nce(a, b[:, None], clip=2.0)[0],
    "predicted_place": lambda a, b: predicted_place(
        a[:, None], torch.stack([a, b], dim=1), torch.tensor([1])
    ),
    "invariance": invariance,
    "epps_pulley": lambda a, b: epps_pulley(a[:, None], lines(5, 7, seed=0, like=a)),
    "centre_scale_shape": lambda a, b: sum(
        centre_scale_shape(a[:, None], lines(5, 7, seed=0, like=a))
    ),
    "coding_rate": lambda a, b: coding_rate(views(a, b), precision=0.2),
    "likeness_to_mean": lambda a, b: likeness_to_mean(views(a, b)),
    "spread_along": lambda a, b: spread_along(unit(a), second_moment(unit(b))),
    "whitened_distance": lambda a, b: whitened_distance(torch.stack([a, b], dim=1), size=8, seed=0),
    "vmf_entropy": lambda a, b: vmf_entropy(unit(a), kappa=10.0),
    "vmf_reconstruction": lambda a, b: vmf_reconstruction(unit(a), unit(b), kappa=10.0),
    "discrete_entropy": lambda a, b: discrete_entropy(a.abs() / a.abs().sum(dim=1, keepdim=True)),
}


def inputs(dtype):
    g = torch.Generator().manual_seed(0)
    return [torch.randn(8, 5, generator=g).to(dtype) for _ in range(2)]


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_under_autocast_is_exact_to_single_precision(name):
    a, b = inputs(torch.float32)
    exact = LOSSES[name](a.double(), b.double())
    with torch.autocast("cpu", torch.bfloat16):
        loss = LOSSES[name](a, b)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["unit", "normalised_mse", "barlow_twins", "covariance"])
def test_half_inputs_are_widened_before_anything_is_computed(name, half):
    a, b = inputs(half)
    assert torch.equal(LOSSES[name](a, b), LOSSES[name](a.float(), b.float()))


@pytest.mark.parametrize("name", LOSSES)
def test_double_precision_stays(name):
    assert LOSSES[name](*inputs(torch.float64)).dtype == torch.float64
