"""BraVe. Recasens et al. 2021, arXiv:2103.16559; google-deepmind/brave."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from manyviews.core import Batch, Clock, Given, Group, Method, Step, UsageError
from manyviews.core.ranges import Count, Positive
from manyviews.losses.regression import normalised_mse
from manyviews.parts.heads import mlp

NARROW = "narrow"


@dataclass(frozen=True, kw_only=True)
class BraVeConfig:
    """Defaults: google-deepmind/brave, brave/models/brave/modules.py as its heads were in 2022.

    Attributes:
        hidden: width of the hidden layer of projectors and predictors.
        out: width of what they make.
        shared: one projector and one predictor for both views, or one of each for either.
        predictor_lr: factor on the learning rate of predictors.
        broad: names of the broad views, each with an encoder of its name: what goes on for longer
            (pictures, optical flow, sound), of which the narrow view predicts each.
    """

    hidden: Count = 4096
    out: Count = 128
    shared: bool = True
    predictor_lr: Positive = 10.0
    broad: tuple[str, ...] = ("broad",)

    def wrong(self) -> Iterator[tuple[str, object, str]]:
        """No broad view, one named twice, or as the narrow one is."""
        if not self.broad or len({*self.broad, NARROW}) <= len(self.broad):
            yield "broad", self.broad, f"one name or more, all different and none {NARROW!r}"


class BraVe(Method):
    """A short clip predicts what other networks make of broad views of it, and the reverse."""

    needs: Mapping[str, int] = {NARROW: 1, "broad": 1}
    most: Mapping[str, int] = needs
    trains: tuple[str, ...] = (NARROW, "broad")

    def __init__(self, given: Given, config: BraVeConfig) -> None:
        self.trains = (NARROW, *config.broad)
        super().__init__(given)
        self.needs = self.most = dict.fromkeys(self.trains, 1)
        self.config = config
        dims = {name: given.encoders[name].dim for name in self.trains}
        if config.shared and len(set(dims.values())) > 1:
            raise UsageError(
                "One projector cannot serve encoders of "
                f"{' and '.join(str(dim) for dim in dims.values())} channels. Set "
                "--method.shared false, or encoders of one width."
            )
        self.backbones = nn.ModuleDict({name: given.encoders[name] for name in self.trains})
        self.projectors, self.predictors = nn.ModuleDict(), nn.ModuleDict()
        for name in ("both",) if config.shared else self.trains:
            dim = dims.get(name, dims[NARROW])
            self.projectors[name] = mlp([dim, config.hidden, config.out], last_norm="full")
            self.predictors[name] = mlp([config.out, config.hidden, config.out])

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """Half the squared distance of each prediction from the projection of the other view."""
        embedding: dict[str, Tensor] = {}
        made: dict[str, Tensor] = {}
        hoped: dict[str, Tensor] = {}
        for name, backbone in self.backbones.items():
            head = "both" if self.config.shared else name
            pooled = backbone(batch.views[name][:, 0], tokens=False).pooled
            embedding[name] = pooled[:, None].detach()
            hoped[name] = self.projectors[head](pooled)
            made[name] = self.predictors[head](hoped[name])
        terms = 2 * len(self.config.broad)
        losses = {
            f"{one}_to_{other}": normalised_mse(made[one], hoped[other]) / 2 / terms
            for name in self.config.broad
            for one, other in ((NARROW, name), (name, NARROW))
        }
        return Step(losses, embedding, projection=hoped[NARROW][:, None])

    def param_groups(self) -> list[Group]:
        """Predictors learn faster."""
        quick = list(self.predictors.parameters())
        known = {id(p) for p in quick}
        rest = [p for p in self.parameters() if p.requires_grad and id(p) not in known]
        return [Group(rest), Group(quick, lr_scale=self.config.predictor_lr)]
