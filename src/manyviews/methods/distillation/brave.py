"""BraVe. Recasens et al. 2021, arXiv:2103.16559; google-deepmind/brave."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from manyviews.core import Batch, Clock, Given, Group, Method, Step, UsageError
from manyviews.core.ranges import Count, Positive
from manyviews.losses.regression import normalised_mse
from manyviews.parts.heads import mlp


@dataclass(frozen=True, kw_only=True)
class BraVeConfig:
    """Defaults: google-deepmind/brave, brave/models/brave/modules.py as its heads were in 2022.

    Attributes:
        hidden: width of the hidden layer of projectors and predictors.
        out: width of what they make.
        shared: one projector and one predictor for both views, or one of each for either.
        predictor_lr: factor on the learning rate of predictors.
    """

    hidden: Count = 4096
    out: Count = 128
    shared: bool = True
    predictor_lr: Positive = 10.0


class BraVe(Method):
    """A short clip predicts what another network makes of a long one, and the reverse."""

    needs: Mapping[str, int] = {"narrow": 1, "broad": 1}
    most = needs
    trains = ("narrow", "broad")

    def __init__(self, given: Given, config: BraVeConfig) -> None:
        super().__init__(given)
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
            dim = dims.get(name, dims["narrow"])
            self.projectors[name] = mlp([dim, config.hidden, config.out], last_norm="full")
            self.predictors[name] = mlp([config.out, config.hidden, config.out])

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """Half the squared distance of each view's prediction from the other's projection."""
        embedding: dict[str, Tensor] = {}
        made: dict[str, Tensor] = {}
        hoped: dict[str, Tensor] = {}
        for name, backbone in self.backbones.items():
            head = "both" if self.config.shared else name
            pooled = backbone(batch.views[name][:, 0], tokens=False).pooled
            embedding[name] = pooled[:, None].detach()
            hoped[name] = self.projectors[head](pooled)
            made[name] = self.predictors[head](hoped[name])
        losses = {
            "narrow_to_broad": normalised_mse(made["narrow"], hoped["broad"]) / 4,
            "broad_to_narrow": normalised_mse(made["broad"], hoped["narrow"]) / 4,
        }
        return Step(losses, embedding, projection=hoped["narrow"][:, None])

    def param_groups(self) -> list[Group]:
        """Predictors learn faster."""
        quick = list(self.predictors.parameters())
        known = {id(p) for p in quick}
        rest = [p for p in self.parameters() if p.requires_grad and id(p) not in known]
        return [Group(rest), Group(quick, lr_scale=self.config.predictor_lr)]
