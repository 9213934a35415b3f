"""Any timm image model as an encoder."""

from collections.abc import Sequence
from typing import Any, Literal, cast

import timm
import torch
from timm.models import group_parameters
from timm.models.resnet import ResNet
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from manyviews.core import Encoder, Features, Hide, Unsupported, UsageError
from manyviews.encoders.settings import TimmConfig, ViTConfig
from manyviews.encoders.vit import ViT, initialise
from manyviews.encoders.weights import pad_same

VIT = "vit_tiny_patch16_224"
"""The timm model that "vit" begins from."""

_END = ("norm", "fc_norm", "norm_head", "head")
"""What timm calls parts that come after the last block."""

MapLayout = Literal["NCHW", "NHWC", "NLC"]


class TimmEncoder(Encoder):
    """A timm model without classifier; `model.state_dict()` is timm's.

    `pooled` is what `model(x)` returns: nearly always the global average pool, followed in some
    families by a norm or a 1x1 convolution. `tokens` are the positions of the last feature map in
    row-major order; where pooling changes the width, each position goes through the same head.

    Attributes:
        model: timm's network.
        fixed_size: the only image side it can take; 0 if it takes others.
    """

    def __init__(self, model: nn.Module, *, name: str, image_size: int, channels: int) -> None:
        """Wrap a network built with `num_classes=0`; runs it once to learn its shapes.

        Args:
            model: the network; it is kept, not copied.
            name: for messages.
            image_size: side for which `grid` holds.
            channels: of the input.

        Raises:
            UsageError: it cannot take such images, or returns no single feature map.
        """
        super().__init__()
        self.model: Any = model
        self.name = name
        self.fixed_size = image_size if _has_fixed_size(name) else 0
        self.prefix = int(getattr(model, "num_prefix_tokens", 0))
        features = self._try(torch.zeros(1, channels, image_size, image_size))
        self.layout = _layout(features, int(self.model.num_features), model, name)
        self.headed = False
        with _evaluating(model), torch.no_grad():
            self.dim = int(self.model.forward_head(features, pre_logits=True).shape[1])
            self.headed = self.layout != "NLC" and self.dim != int(self.model.num_features)
            self.grid = self._grid(features)

    def forward(
        self,
        x: Tensor,
        *,
        keep: Tensor | None = None,
        hide: Hide | None = None,
        blocks: int = 0,
        tokens: bool = True,
    ) -> Features:
        """Pixels to features.

        Raises:
            Unsupported: keep, hide or blocks was asked for, or a size the model cannot take.
        """
        if keep is not None or hide is not None or blocks:
            raise Unsupported(
                f"The encoder {self.name} has no tokens to keep or hide. "
                "Set --encoder.name vit (or a timm vit_* model)."
            )
        if self.fixed_size and x.shape[2:] != (self.fixed_size, self.fixed_size):
            raise Unsupported(
                f"The encoder {self.name} takes only {self.fixed_size}-pixel images and got "
                f"{x.shape[2]}x{x.shape[3]}. Set all view sizes to {self.fixed_size}."
            )
        features = self.model.forward_features(x)
        pooled = self.model.forward_head(features, pre_logits=True)
        wanted = tokens or not self.headed  # a head on every place costs something
        return Features(pooled, self._tokens(features) if wanted else pooled[:, None, :][:, :0])

    def by_depth(self) -> Sequence[Sequence[nn.Parameter]]:
        """As timm groups the network's parameters, the norm and head at its end left out.

        Nothing where timm does not say how the network is made up.
        """
        try:
            groups = group_parameters(self.model, self.model.group_matcher(coarse=False))
        except (AttributeError, AssertionError, NotImplementedError):
            return []
        own: dict[str, nn.Parameter] = dict(self.model.named_parameters())
        kept = ([n for n in names if n.partition(".")[0] not in _END] for names in groups.values())
        return [[own[name] for name in names] for names in kept if names]

    def _tokens(self, features: Tensor) -> Tensor:
        if self.layout == "NLC":
            return features[:, self.prefix :]
        nchw = self.layout == "NCHW"
        tokens = features.flatten(2).transpose(1, 2) if nchw else features.flatten(1, 2)
        if not self.headed:
            return tokens
        one = (-1, tokens.shape[2], 1, 1) if nchw else (-1, 1, 1, tokens.shape[2])
        out = self.model.forward_head(tokens.reshape(one), pre_logits=True)
        return out.unflatten(0, tokens.shape[:2])

    def _grid(self, features: Tensor) -> tuple[int, ...]:
        """Rows and columns of a map; of a sequence its length."""
        if self.layout == "NLC":
            return (self._tokens(features).shape[1],)
        return tuple(features.shape[2:] if self.layout == "NCHW" else features.shape[1:3])

    def _try(self, x: Tensor) -> Tensor:
        side = x.shape[2]
        try:
            with _evaluating(self.model), torch.no_grad():
                features = self.model.forward_features(x)
        except (RuntimeError, AssertionError, ValueError) as error:
            raise UsageError(
                f"The encoder {self.name} cannot take {side}-pixel images ({_first_line(error)}). "
                "Set a larger --encoder.input.side or another --encoder.name."
            ) from None
        if not isinstance(features, Tensor) or min(features.shape) == 0:
            raise UsageError(
                f"The encoder {self.name} gives no feature map for {side}-pixel images. "
                "Choose another --encoder.name (see `manyviews list encoders`)."
            )
        return features


def arguments(config: ViTConfig | TimmConfig) -> tuple[str, dict[str, Any]]:
    """The timm name and the `timm.create_model` arguments that rebuild an encoder's network.

    A small stem cannot be asked of timm; it is put in afterwards (`shrink_stem`).
    """
    name = VIT if config.name == "vit" else config.name
    side = config.input.side
    given: dict[str, Any] = {"in_chans": config.input.channels, "num_classes": 0}
    if config.drop_path:
        given["drop_path_rate"] = config.drop_path
    if isinstance(config, ViTConfig):
        given |= {"img_size": side, "dynamic_img_size": True}
        given |= {"global_pool": "token" if config.pool == "cls" else "avg", "fc_norm": False}
        heads = config.heads or max(1, config.width // 64)
        sizes = {"patch_size": config.patch, "embed_dim": config.width, "depth": config.depth}
        given |= {key: value for key, value in sizes.items() if value}
        given |= {"num_heads": heads} if heads and (config.heads or config.width) else {}
    elif _has_fixed_size(name):
        given["img_size"] = side
    elif timm.models.is_model_in_modules(name, ["resnet"]) and not config.zero_init:
        given["zero_init_last"] = False
    return name, given


def build_timm(config: ViTConfig | TimmConfig) -> Encoder:
    """Build a timm model with random weights.

    Raises:
        UsageError: timm cannot build it so.
    """
    name, given = arguments(config)
    side, channels = config.input.side, config.input.channels
    try:
        model: nn.Module = timm.create_model(name, pretrained=False, **given)
    except (TypeError, AssertionError, RuntimeError, ValueError) as error:
        tokenless = " (--encoder.pool mean if it has no class token)" if "fc_norm" in given else ""
        advice = f"Set other --encoder settings{tokenless} or another --encoder.name."
        raise UsageError(
            f"timm cannot build the encoder {name} with {given} ({_first_line(error)}). {advice}"
        ) from None
    if isinstance(config, TimmConfig):
        if config.stem == "small":
            shrink_stem(model, name=name, channels=channels)
        _vary(model, config)
        return TimmEncoder(model, name=name, image_size=side, channels=channels)
    if type(model) is not VisionTransformer:
        return TimmEncoder(model, name=name, image_size=side, channels=channels)
    if config.positions == "sincos":
        initialise(model)
    return ViT(
        model,
        positions=config.positions,
        pool=config.pool,
        interpolation=config.interpolation,
        class_token=config.class_token,
    )


def _vary(model: Any, config: TimmConfig) -> None:
    """Change a network in what timm has no argument for; see `TimmConfig.variant`.

    Raises:
        UsageError: it has nothing of the kind.
    """
    if config.variant == "same-padding":
        pad_same(model)
    elif config.variant == "wide-stem" and config.stem == "small":
        model.conv1.padding = (2, 2)
    elif config.variant == "norm-first" and isinstance(model.fc_norm, nn.LayerNorm):
        model.norm, model.fc_norm = model.fc_norm, nn.Identity()
    elif config.variant != "timm":
        raise UsageError(
            f"The encoder {config.name} has no variant {config.variant}. "
            "Set --encoder.variant timm."
        )


def shrink_stem(model: nn.Module, *, name: str, channels: int) -> None:
    """Give a ResNet the stem for small images: 3x3, stride 1, padding 1, and no max pool.

    Chen et al. 2020 (SimCLR), appendix B.9. (solo-learn pads by 2.)

    Raises:
        UsageError: the model is no ResNet.
    """
    if not isinstance(model, ResNet):
        raise UsageError(
            f"The small stem is for ResNets; {name} is none. Set --encoder.stem imagenet."
        )
    width = cast("nn.BatchNorm2d", model.bn1).num_features
    stem = nn.Conv2d(channels, width, 3, 1, 1, bias=False)
    nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
    model.conv1 = stem
    model.maxpool = nn.Identity()


class _evaluating:  # noqa: N801 - reads as a statement
    """Evaluation mode for a while, so that a trial changes no statistics."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.before = model, model.training

    def __enter__(self) -> None:
        self.model.eval()

    def __exit__(self, *_: object) -> None:
        self.model.train(self.before)


def _layout(features: Tensor, width: int, model: nn.Module, name: str) -> MapLayout:
    if features.ndim == 3 and features.shape[2] == width:
        return "NLC"
    if features.ndim == 4:
        declared = str(getattr(model, "output_fmt", "NCHW")).rpartition(".")[2]
        if features.shape[1] == width and (features.shape[3] != width or declared == "NCHW"):
            return "NCHW"
        if features.shape[3] == width:
            return "NHWC"
    raise UsageError(
        f"The encoder {name} returns features of shape {tuple(features.shape)}, of which none can "
        f"be {width} channels. Choose another --encoder.name."
    )


def _has_fixed_size(name: str) -> bool:
    known = timm.models.get_pretrained_cfg(name)
    return bool(known is not None and cast("Any", known).fixed_input_size)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
