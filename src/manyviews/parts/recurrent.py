"""Memory that goes along a sequence of vectors."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


class GRU(nn.Module):
    """A gated recurrent unit, for each place by itself: a convolutional one with 1x1 kernels.

    u and r are the sigmoids of linear maps of [x, h], o is the tanh of one of [x, r h], and the
    next state is (1 - u) h + u o. Weights begin orthogonal, biases at zero.

    Source: Han et al. 2019 (DPC), section 3.3; TengdaHan/DPC backbone/convrnn.py.
    """

    def __init__(self, dim: int, width: int) -> None:
        """Build it: inputs of `dim`, states of `width`."""
        super().__init__()
        self.reset, self.update, self.out = (nn.Linear(dim + width, width) for _ in range(3))
        for layer in (self.reset, self.update, self.out):
            nn.init.orthogonal_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        """X [..., D] and the state [..., W] -> the next state [..., W]."""
        both = torch.cat((x, state), dim=-1)
        update, reset = self.update(both).sigmoid(), self.reset(both).sigmoid()
        out = self.out(torch.cat((x, state * reset), dim=-1)).tanh()
        return state * (1 - update) + out * update


def foresee(
    seen: Tensor, memory: GRU, predict: Callable[[Tensor], Tensor], *, steps: int
) -> Tensor:
    """Go along what is seen, then say what comes next, and go on along what was said.

    Args:
        seen: [B, V, S, D]: V steps of S places.
        memory: takes in each step, less what is negative.
        predict: state [B, S, W] -> what the next step will be, [B, S, D].
        steps: P, of predictions.

    Returns:
        [B, P, S, D].

    Source: Han et al. 2019 (DPC), section 3.1; TengdaHan/DPC dpc/model_3d.py.
    """
    state = torch.zeros_like(seen[:, 0])
    for step in seen.unbind(1):
        state = memory(step.relu(), state)
    made: list[Tensor] = []
    for _ in range(steps):
        made.append(predict(state))
        state = memory(made[-1].relu(), state)
    return torch.stack(made, dim=1)


def over_times(tokens: Tensor, grid: tuple[int, ...]) -> Tensor:
    """[B, N, D] -> [B, S, D]: tokens as they are; of a clip's the mean over its times."""
    times = grid[0] if len(grid) == 3 else 1
    return tokens.unflatten(1, (times, -1)).mean(dim=1)
