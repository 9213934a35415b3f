import copy

import pytest
import timm
import torch
from torch import nn

from manyviews.core import Unsupported, UsageError
from manyviews.parts.norm import BatchNorm, convert, shuffled


def images(seed=0, size=8):
    g = torch.Generator().manual_seed(seed)
    scale = torch.arange(1, size + 1).view(-1, 1, 1, 1)  # so that groups differ
    return torch.randn(size, 3, 4, 4, generator=g) * scale + scale


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(8, 3), (8, 3, 5), (8, 3, 4, 4)])
def test_one_group_on_one_process_is_torchs_batch_norm(shape, training):
    kind = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}[len(shape)]
    theirs, ours = kind(3).train(training), BatchNorm(3).train(training)
    with torch.no_grad():
        theirs.weight.uniform_(0.5, 2)
        theirs.bias.uniform_(-1, 1)
        theirs.running_mean.uniform_(-1, 1)
    ours.load_state_dict(theirs.state_dict())
    for _ in range(2):
        x = torch.randn(shape) * 2 + 1
        assert torch.equal(ours(x), theirs(x))
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    assert all(torch.equal(v, theirs.state_dict()[k]) for k, v in ours.state_dict().items())


def test_groups_have_statistics_of_their_own_and_average_the_running_ones():
    ours = BatchNorm(3, groups=4)
    x = images()
    parts = [nn.BatchNorm2d(3) for _ in range(4)]
    expected = torch.cat([bn(piece) for bn, piece in zip(parts, x.chunk(4), strict=True)])
    torch.testing.assert_close(ours(x), expected)
    for name in ("running_mean", "running_var"):
        average = torch.stack([getattr(bn, name) for bn in parts]).mean(dim=0)
        torch.testing.assert_close(getattr(ours, name), average)
    assert ours.num_batches_tracked == 1


def test_groups_do_not_matter_in_evaluation():
    many, one = BatchNorm(3, groups=4), BatchNorm(3)
    many(images())
    one.load_state_dict(many.state_dict())
    assert torch.equal(many.eval()(images(1)), one.eval()(images(1)))


def test_a_plain_average_of_statistics_as_torchs_momentum_none():
    theirs, ours = nn.BatchNorm2d(3, momentum=None), BatchNorm(3, momentum=None)
    for seed in range(3):
        theirs(images(seed))
        ours(images(seed))
    torch.testing.assert_close(ours.running_var, theirs.running_var)


def test_a_batch_that_groups_cannot_share_is_refused_with_advice():
    with pytest.raises(UsageError, match=r"batch of 8 .* 3 equal .* divisible by 3"):
        BatchNorm(3, groups=3)(images())
    with pytest.raises(UsageError, match="more than one value per channel"):
        BatchNorm(3, groups=8)(torch.randn(8, 3))


def test_conversion_keeps_outputs_names_and_the_very_parameters():
    model = timm.create_model("efficientnet_b0", num_classes=0).train()  # norms with activation
    converted = copy.deepcopy(model)
    parameters = dict(converted.named_parameters())
    assert convert(converted) is converted
    assert not [m for m in converted.modules() if isinstance(m, nn.BatchNorm2d)]
    x = torch.randn(2, 3, 32, 32)
    torch.manual_seed(0)
    expected = model(x)
    torch.manual_seed(0)
    assert torch.equal(converted(x), expected)
    theirs, ours = model.state_dict(), converted.state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(v, theirs[k]) for k, v in ours.items())
    assert all(p is parameters[k] for k, p in converted.named_parameters())


def test_conversion_keeps_settings_mode_and_sharing():
    shared = nn.BatchNorm1d(3, eps=1e-3, momentum=0.01, affine=False).eval()
    model = convert(nn.ModuleDict({"a": nn.Sequential(shared), "b": shared}))
    norm = model["b"]
    assert isinstance(norm, BatchNorm)
    assert model["a"][0] is norm
    assert (norm.eps, norm.momentum, norm.weight, norm.training) == (1e-3, 0.01, None, False)


def test_conversion_changes_groups_only_when_told():
    model = convert(nn.Sequential(nn.BatchNorm1d(3)), groups=4)
    assert convert(model)[0].groups == 4
    assert convert(model, groups=2)[0].groups == 2
    assert convert(nn.BatchNorm1d(3)).groups == 1


def test_an_unknown_batch_norm_is_refused_by_name():
    class Odd(nn.BatchNorm2d):
        pass

    with pytest.raises(Unsupported, match="type Odd"):
        convert(nn.Sequential(Odd(3)))
    with pytest.raises(Unsupported, match="running statistics: False"):
        convert(nn.BatchNorm2d(3, track_running_stats=False))


def test_shuffling_returns_rows_in_order_and_depends_on_the_seed_alone():
    x = torch.arange(8.0).view(8, 1)
    seen = []

    def note(rows):
        seen.append(rows.flatten().tolist())
        return rows * 2

    for seed in (0, 0, 1):
        torch.manual_seed(len(seen))
        assert torch.equal(shuffled(note, x, seed=seed), x * 2)
    assert seen[0] == seen[1] != seen[2]
    assert seen[0] != sorted(seen[0])
