"""SGD against the formula, for weights that lie in memory in every order."""

import pytest
import torch
from torch import nn

from manyviews.training.sgd import SGD

LAST, LAST_3D = torch.channels_last, torch.channels_last_3d
WEIGHTS = {
    "vector": lambda: torch.randn(5),
    "number": lambda: torch.randn(()),
    "rows": lambda: torch.randn(4, 3),
    "columns": lambda: torch.randn(3, 4).T,
    "channels first": lambda: torch.randn(4, 3, 2, 2),
    "channels last": lambda: torch.randn(4, 3, 2, 2).to(memory_format=LAST),
    "channels last, one pixel": lambda: torch.randn(4, 3, 1, 1).to(memory_format=LAST),
    "channels last, one channel": lambda: torch.randn(4, 1, 2, 2).to(memory_format=LAST),
    "channels last, 3d": lambda: torch.randn(4, 3, 2, 2, 2).to(memory_format=LAST_3D),
}


def by_hand(w, grads, *, lr, momentum, decay):
    v = torch.zeros_like(w)
    for g in grads:
        v = momentum * v + g + decay * w
        w = w - lr * v
    return w


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("as_the_weight", [True, False], ids=["same layout", "row-major"])
@pytest.mark.parametrize("name", WEIGHTS)
def test_steps_equal_the_formula_whatever_the_layout(name, as_the_weight, momentum):
    torch.manual_seed(0)
    start = WEIGHTS[name]().double()
    p = nn.Parameter(start.clone())
    assert p.stride() == start.stride()
    grads = [torch.randn(start.shape).double() for _ in range(3)]
    update = SGD([p], lr=0.1, momentum=momentum, weight_decay=0.2)
    for g in grads:
        p.grad = torch.empty_like(p).copy_(g) if as_the_weight else g.clone()
        update.step()
    wanted = by_hand(start, grads, lr=0.1, momentum=momentum, decay=0.2)
    torch.testing.assert_close(p.detach(), wanted, rtol=1e-12, atol=1e-12)
    assert p.stride() == start.stride()


def test_no_gradient_is_copied():
    params = [nn.Parameter(made()) for made in WEIGHTS.values()]
    update = SGD(params, lr=0.1, momentum=0.9)
    for _ in range(2):
        for p in params:
            p.grad = torch.ones_like(p)
        with torch.profiler.profile() as profile:
            update.step()
    assert "aten::_fused_sgd_" in {event.name for event in profile.events()}
    assert not {"aten::clone", "aten::copy_"} & {event.name for event in profile.events()}


def test_a_parameter_without_gradient_and_its_state_do_not_move():
    still, moved = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    update = SGD([still, moved], lr=0.1, momentum=0.9)
    moved.grad = torch.ones(2)
    update.step()
    assert still.tolist() == [1.0, 1.0]
    assert still not in update.state
    still.grad = torch.ones(2)  # joins later, beside one that has a buffer
    update.step()
    torch.testing.assert_close(still.detach(), torch.full((2,), 0.9))


def test_it_goes_on_from_the_state_of_torchs_sgd_and_gives_it_its_own():
    torch.manual_seed(0)
    start, grads = torch.randn(3, 2), [torch.randn(3, 2) for _ in range(4)]

    def run(*kinds):
        p, state = nn.Parameter(start.clone()), None
        for i, g in enumerate(grads):
            update = kinds[i % len(kinds)]([p], lr=0.1, momentum=0.9, weight_decay=0.01)
            if state is not None:
                update.load_state_dict(state)
            p.grad = g.clone()
            update.step()
            state = update.state_dict()
        return p.detach()

    torch.testing.assert_close(run(SGD, torch.optim.SGD), run(torch.optim.SGD))
