"""BEiT. Bao et al. 2022, arXiv:2106.08254; microsoft/unilm beit."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from manyviews.core import Batch, Clock, Given, Hide, Method, Step
from manyviews.core.ranges import NotNegative
from manyviews.losses.codes import code_cross_entropy
from manyviews.parts.masking import check_views, mask_token, square_patch, take, visible
from manyviews.parts.teaching import Shown, giver_of_codes, token_width


@dataclass(frozen=True, kw_only=True)
class BEiTConfig:
    """Settings of BEiT; what is hidden belongs to the view plan, the codes to the tokenizer.

    Attributes:
        head: deviation of the head's first weights.
    """

    head: NotNegative = 0.02


class BEiT(Method):
    """At hidden places, name the code that a frozen tokenizer gives them."""

    needs: Mapping[str, int] = {"global": 1, "global.mask": 1}
    tokens = True
    asks = ("tokenizer",)

    def __init__(self, given: Given, config: BEiTConfig) -> None:
        super().__init__(given)
        self.online = encoder = given.encoder
        square_patch(encoder, "BEiT")
        tokenizer = giver_of_codes(given, encoder, name="tokenizer")
        self.shown = Shown(tokenizer, encoder.input, name="tokenizer")
        self.mask_token = mask_token(encoder.dim)
        self.head = nn.Linear(encoder.dim, token_width(tokenizer))
        nn.init.trunc_normal_(self.head.weight, std=config.head)
        nn.init.zeros_(self.head.bias)

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The cross-entropy of the hidden places' codes."""
        views = batch.views["global"]
        images, hidden = views.flatten(0, 1), batch.cues["global.mask"].flatten(0, 1)
        check_views(self.online, images, hidden, "BEiT")
        wanted = visible(~hidden)
        codes = self.shown(images, tokens=True).tokens.argmax(dim=-1).gather(1, wanted)
        features = self.online(images, hide=Hide(hidden, self.mask_token))
        logits = self.head(take(features.tokens, wanted))
        return Step(
            {"codes": code_cross_entropy(logits, codes)},
            self.embedded(features.pooled.unflatten(0, views.shape[:2])),
        )
