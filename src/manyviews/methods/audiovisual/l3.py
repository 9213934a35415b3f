"""L3. Arandjelovic and Zisserman 2017, Look, Listen and Learn, arXiv:1705.08168."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from manyviews.core import Batch, Clock, Given, Method, Step
from manyviews.core.ranges import Count
from manyviews.losses.classification import classify
from manyviews.parts.heads import mlp
from manyviews.parts.mismatch import of_another


@dataclass(frozen=True, kw_only=True)
class L3Config:
    """Settings of L3.

    Attributes:
        hidden: width of the layer between the two networks' outputs, side by side, and the answer.
    """

    hidden: Count = 128


class L3(Method):
    """Tell whether a picture and a sound are of one video: with its own, and with another's."""

    needs: Mapping[str, int] = {"video": 1, "audio": 1}
    most = needs
    trains = ("video", "audio")

    def __init__(self, given: Given, config: L3Config) -> None:
        super().__init__(given)
        self.video, self.audio = (given.encoders[name] for name in self.trains)
        self.head = mlp([self.video.dim + self.audio.dim, config.hidden, 2], norm=False)

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The cross-entropy over as many pairs of two videos as of one."""
        picture = self.video(batch.views["video"][:, 0], tokens=False).pooled
        sound = self.audio(batch.views["audio"][:, 0], tokens=False).pooled
        together, apart = self._answer(picture, sound), self._answer(picture, of_another(sound))
        answers = torch.stack([apart, together], dim=1)  # [B, 2, 2]
        right = torch.arange(2, device=answers.device).expand(answers.shape[:2])
        return Step(
            {"correspondence": classify(answers, right)},
            embedding={"video": picture[:, None].detach(), "audio": sound[:, None].detach()},
        )

    def compared(self, views: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """[B, D] of plain views of each, of which the head tells whether they belong together."""
        nets = {"video": self.video, "audio": self.audio}
        return {name: net(views[name], tokens=False).pooled for name, net in nets.items()}

    def alike(self, video: Tensor, audio: Tensor) -> Tensor:
        """[Q, D] and [N, E] -> [Q, N]: how much the answer is yes rather than no."""
        rows: list[Tensor] = []
        for picture in video:
            apart, together = self._answer(picture.expand(len(audio), -1), audio).unbind(dim=1)
            rows.append(together - apart)
        return torch.stack(rows)

    def _answer(self, picture: Tensor, sound: Tensor) -> Tensor:
        return self.head(torch.cat([picture, sound], dim=1))
