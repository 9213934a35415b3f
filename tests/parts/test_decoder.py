"""MAE's decoder asked for some patches gives what it gives when asked for all."""

import pytest
import torch

from manyviews.core import UsageError
from manyviews.parts.decoder import Decoder
from manyviews.parts.masking import take


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("classes", [True, False])
def test_some_patches_are_as_among_all_and_so_are_gradients(depth, classes):
    torch.manual_seed(0)
    decoder = Decoder(12, grid=(3, 4), width=8, depth=depth, heads=2, out=5).double()
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    tokens = torch.randn(2, 4, 12, dtype=torch.float64)
    class_token = torch.randn(2, 12, dtype=torch.float64) if classes else None
    order = torch.stack([torch.randperm(12) for _ in range(2)])
    keep, wanted = order[:, :4], order[:, 4:10]
    every = take(decoder(tokens, keep, class_token=class_token), wanted)
    some = decoder(tokens, keep, class_token=class_token, wanted=wanted)
    torch.testing.assert_close(some, every)
    parameters = list(decoder.parameters())
    some_gradient = torch.autograd.grad(some.pow(3).sum(), parameters)
    every_gradient = torch.autograd.grad(every.pow(3).sum(), parameters)
    torch.testing.assert_close(some_gradient, every_gradient)


@pytest.mark.parametrize(("width", "heads"), [(6, 2), (16, 3)])
def test_a_width_that_cannot_be_split_is_refused(width, heads):
    with pytest.raises(UsageError, match=rf"width of {width} .* over {heads} heads.*--method"):
        Decoder(12, grid=(3, 4), width=width, depth=1, heads=heads, out=5)
