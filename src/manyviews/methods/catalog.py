"""Every method by its name."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from manyviews.core import Given, Method, UsageError
from manyviews.core.ranges import NotNegative
from manyviews.core.settings import parts, struct
from manyviews.methods.audiovisual.avid import AVID, AVIDConfig
from manyviews.methods.audiovisual.avts import AVTS, AVTSConfig
from manyviews.methods.audiovisual.cavmae import CAVMAE, CAVMAEConfig
from manyviews.methods.audiovisual.cma import CMA, CMAConfig
from manyviews.methods.audiovisual.gdt import GDT, GDTConfig
from manyviews.methods.audiovisual.l3 import L3, L3Config
from manyviews.methods.audiovisual.mavil import MAViL, MAViLConfig
from manyviews.methods.audiovisual.multisensory import Multisensory, MultisensoryConfig
from manyviews.methods.audiovisual.selavi import SeLaVi, SeLaViConfig
from manyviews.methods.audiovisual.xdc import XDC, XDCConfig
from manyviews.methods.clustering.bownet import BoWNet, BoWNetConfig
from manyviews.methods.clustering.deepcluster import DeepCluster, DeepClusterConfig
from manyviews.methods.clustering.deepcluster_v1 import DeepClusterV1, DeepClusterV1Config
from manyviews.methods.clustering.local_aggregation import (
    LocalAggregation,
    LocalAggregationConfig,
)
from manyviews.methods.clustering.sela import SeLa, SeLaConfig
from manyviews.methods.clustering.sela_v2 import SeLaV2, SeLaV2Config
from manyviews.methods.clustering.swav import SwAV, SwAVConfig
from manyviews.methods.contrastive.align_uniform import AlignUniform, AlignUniformConfig
from manyviews.methods.contrastive.amdim import AMDIM, AMDIMConfig
from manyviews.methods.contrastive.cmc import CMC, CMCConfig
from manyviews.methods.contrastive.cpc import CPC, CPCConfig
from manyviews.methods.contrastive.dcl import DCL, DCLConfig
from manyviews.methods.contrastive.debiased import Debiased, DebiasedConfig
from manyviews.methods.contrastive.dpc import DPC, DPCConfig
from manyviews.methods.contrastive.drlim import DrLIM, DrLIMConfig
from manyviews.methods.contrastive.hcl import HCL, HCLConfig
from manyviews.methods.contrastive.infomax import DeepInfoMax, DeepInfoMaxConfig
from manyviews.methods.contrastive.memdpc import MemDPC, MemDPCConfig
from manyviews.methods.contrastive.moco import MoCo, MoCoConfig
from manyviews.methods.contrastive.mocov3 import MoCoV3, MoCoV3Config
from manyviews.methods.contrastive.nnclr import NNCLR, NNCLRConfig
from manyviews.methods.contrastive.npid import NPID, NPIDConfig
from manyviews.methods.contrastive.pcl import PCL, PCLConfig
from manyviews.methods.contrastive.pirl import PIRL, PIRLConfig
from manyviews.methods.contrastive.simclr import SimCLR, SimCLRConfig
from manyviews.methods.contrastive.tcn import TCN, TCNConfig
from manyviews.methods.contrastive.triplet import Triplet, TripletConfig
from manyviews.methods.distillation.brave import BraVe, BraVeConfig
from manyviews.methods.distillation.byol import BYOL, BYOLConfig
from manyviews.methods.distillation.dino import DINO, DINOConfig
from manyviews.methods.distillation.dinov2 import DINOv2, DINOv2Config
from manyviews.methods.distillation.distill import Distill, DistillConfig
from manyviews.methods.distillation.ibot import IBOT, IBOTConfig
from manyviews.methods.distillation.msn import MSN, MSNConfig
from manyviews.methods.distillation.simsiam import SimSiam, SimSiamConfig
from manyviews.methods.elo import ELo
from manyviews.methods.information.er import ER, ERConfig
from manyviews.methods.joint import Joint
from manyviews.methods.masked.autoencoder import AutoEncoder, AutoEncoderConfig
from manyviews.methods.masked.beit import BEiT, BEiTConfig
from manyviews.methods.masked.capi import CAPI, CAPIConfig
from manyviews.methods.masked.data2vec import Data2Vec, Data2VecConfig
from manyviews.methods.masked.eat import EAT, EATConfig
from manyviews.methods.masked.igpt import IGPT, IGPTConfig
from manyviews.methods.masked.ijepa import IJEPA, IJEPAConfig
from manyviews.methods.masked.mae import MAE, MAEConfig
from manyviews.methods.masked.mage import MAGE, MAGEConfig
from manyviews.methods.masked.maskfeat import MaskFeat, MaskFeatConfig
from manyviews.methods.masked.simmim import SimMIM, SimMIMConfig
from manyviews.methods.masked.tokenizer import DiscreteVAE, DiscreteVAEConfig
from manyviews.methods.masked.vjepa import VJEPA, VJEPAConfig
from manyviews.methods.points.depthcontrast import DepthContrast, DepthContrastConfig
from manyviews.methods.points.pointcontrast import PointContrast, PointContrastConfig
from manyviews.methods.points.sonata import Sonata, SonataConfig
from manyviews.methods.pretext.clip_order import ClipOrder, ClipOrderConfig
from manyviews.methods.pretext.colorization import Colorization, ColorizationConfig
from manyviews.methods.pretext.context import Context, ContextConfig
from manyviews.methods.pretext.cubic_puzzle import CubicPuzzle, CubicPuzzleConfig
from manyviews.methods.pretext.exemplar import Exemplar, ExemplarConfig
from manyviews.methods.pretext.jigsaw import Jigsaw, JigsawConfig
from manyviews.methods.pretext.playback import Playback, PlaybackConfig
from manyviews.methods.pretext.pointing import Pointing, PointingConfig
from manyviews.methods.pretext.rotation import Rotation, RotationConfig
from manyviews.methods.redundancy.barlow import BarlowTwins, BarlowTwinsConfig
from manyviews.methods.redundancy.emp import EMP, EMPConfig
from manyviews.methods.redundancy.lejepa import LeJEPA, LeJEPAConfig
from manyviews.methods.redundancy.tico import TiCo, TiCoConfig
from manyviews.methods.redundancy.vicreg import VICReg, VICRegConfig
from manyviews.methods.redundancy.visreg import VISReg, VISRegConfig
from manyviews.methods.redundancy.wmse import WMSE, WMSEConfig
from manyviews.parts.norm import convert


@dataclass(frozen=True)
class Entry:
    """A method and the dataclass that configures it.

    Attributes:
        method: called with what it is given and a config.
        config: its fields have the authors' values as defaults.
        held: the public code that its loss and gradient equal (tests/reference/data/README.md), or
            what of it; "" where they are held against the paper's formula alone.
        follows: methods from whose runs it goes on as if they were its own.
    """

    method: Callable[[Given, Any], Method]
    config: type[Any]
    held: str = ""
    follows: tuple[str, ...] = ()


def _both() -> Any:
    return struct("Mixed", {"simclr": SimCLRConfig(), "vicreg": VICRegConfig()})


@dataclass(frozen=True, kw_only=True)
class JointConfig:
    """Settings of several methods at once. They stand here, as only the catalogue knows others.

    Attributes:
        mixed: name -> settings of any method, as `core.settings.struct` makes a class of a
            mapping. The first one's encoder is kept.
        weights: of each method's losses, in the same order.
    """

    OPEN: ClassVar[tuple[str, ...]] = ("mixed",)
    """What holds settings of other methods; config.yaml says the kind of each."""
    mixed: Any = field(default_factory=_both)
    weights: tuple[NotNegative, ...] = (1.0, 0.1)

    @property
    def weighed(self) -> tuple[str, ...]:
        """What each weight is of."""
        return tuple(parts(self.mixed))

    def wrong(self) -> Iterator[tuple[str, object, str]]:
        """No methods, or as many weights as there are none of."""
        names = list(parts(self.mixed))
        if not names or len(self.weights) != len(names):
            wanted = f"one number for each of the methods {', '.join(names) or '(there are none)'}"
            yield "weights", self.weights, wanted


def _contrasts() -> Any:
    return struct("Tasks", {"contrast": SimCLRConfig(), "flow_contrast": SimCLRConfig()})


@dataclass(frozen=True, kw_only=True)
class ELoConfig:
    """Settings of tasks on several streams and of what is distilled between them.

    Attributes:
        tasks: name -> settings of any method, as `core.settings.struct` makes a class of a
            mapping. A name is that of the task's views too, and no encoder's.
        on: the encoder of each task, in the same order; of one with several encoders their names
            joined by "+".
        main: the encoder that the others are distilled into, and that is the one to keep.
        sides: those others.
        weights: of each task's losses, then of the distillation from each side.
    """

    OPEN: ClassVar[tuple[str, ...]] = ("tasks",)
    """What holds settings of other methods; config.yaml says the kind of each."""
    tasks: Any = field(default_factory=_contrasts)
    on: tuple[str, ...] = ("video", "flow")
    main: str = "video"
    sides: tuple[str, ...] = ("flow",)
    weights: tuple[NotNegative, ...] = (1.0, 1.0, 1.0)

    @property
    def weighed(self) -> tuple[str, ...]:
        """What each weight is of."""
        return (*parts(self.tasks), *(f"from_{side}" for side in self.sides))

    def wrong(self) -> Iterator[tuple[str, object, str]]:
        """Tasks and encoders that do not fit together, or another number of weights."""
        names, encoders = list(parts(self.tasks)), {self.main, *self.sides}
        on = {name for each in self.on for name in each.split("+")}
        if len(encoders) <= len(self.sides):
            yield "sides", self.sides, f"different encoders, without the main one {self.main!r}"
        if len(self.on) != len(names) or on != encoders:
            wanted = f"one for each of {', '.join(names)}, in which all of "
            yield "on", self.on, f"{wanted}{', '.join(sorted(encoders))} are named"
        if taken := sorted(encoders & set(names)):
            yield "tasks", names, f"other names than the encoder's {taken[0]!r}"
        if len(self.weights) != len(names) + len(self.sides):
            yield "weights", self.weights, f"one number for each of {', '.join(self.weighed)}"


METHODS: dict[str, Entry] = {
    "simclr": Entry(SimCLR, SimCLRConfig, "google-research/simclr"),
    "moco": Entry(MoCo, MoCoConfig, "facebookresearch/moco"),
    "byol": Entry(BYOL, BYOLConfig, "deepmind/deepmind-research"),
    "simsiam": Entry(SimSiam, SimSiamConfig, "facebookresearch/simsiam"),
    "swav": Entry(SwAV, SwAVConfig, "facebookresearch/swav"),
    "dino": Entry(DINO, DINOConfig, "facebookresearch/dino"),
    "ibot": Entry(IBOT, IBOTConfig, "bytedance/ibot"),
    "dinov2": Entry(DINOv2, DINOv2Config, "facebookresearch/dinov2"),
    "msn": Entry(MSN, MSNConfig, "facebookresearch/msn"),
    "distill": Entry(Distill, DistillConfig, "UMBCvision/CompRess, jacobswan1/SEED"),
    "barlow": Entry(BarlowTwins, BarlowTwinsConfig, "facebookresearch/barlowtwins"),
    "vicreg": Entry(VICReg, VICRegConfig, "facebookresearch/vicreg"),
    "wmse": Entry(WMSE, WMSEConfig, "htdt/self-supervised"),
    "tico": Entry(TiCo, TiCoConfig, "sayannag/TiCo-pytorch"),
    "lejepa": Entry(LeJEPA, LeJEPAConfig, "rbalestr-lab/lejepa"),
    "visreg": Entry(VISReg, VISRegConfig, "lightly-ai/lightly"),
    "emp": Entry(EMP, EMPConfig, "tsb0601/EMP-SSL"),
    "er": Entry(ER, ERConfig, "apple/ml-entropy-reconstruction"),
    "mae": Entry(MAE, MAEConfig, "facebookresearch/mae"),
    "nnclr": Entry(NNCLR, NNCLRConfig),
    "npid": Entry(NPID, NPIDConfig, "zhirongw/lemniscate.pytorch"),
    "cmc": Entry(CMC, CMCConfig, "HobbitLong/CMC"),
    "pcl": Entry(PCL, PCLConfig, "salesforce/PCL"),
    "mocov3": Entry(MoCoV3, MoCoV3Config, "facebookresearch/moco-v3"),
    "dcl": Entry(DCL, DCLConfig, "raminnakhli/Decoupled-Contrastive-Learning"),
    "debiased": Entry(Debiased, DebiasedConfig, "chingyaoc/DCL"),
    "hcl": Entry(HCL, HCLConfig, "joshr17/HCL"),
    "align-uniform": Entry(AlignUniform, AlignUniformConfig, "SsnL/align_uniform"),
    "drlim": Entry(DrLIM, DrLIMConfig),
    "triplet": Entry(Triplet, TripletConfig),
    "infomax": Entry(DeepInfoMax, DeepInfoMaxConfig, "rdevon/DIM"),
    "amdim": Entry(AMDIM, AMDIMConfig, "Philip-Bachman/amdim-public"),
    "cpc": Entry(CPC, CPCConfig, "Lightning-Universe/lightning-bolts: guesses"),
    "autoencoder": Entry(AutoEncoder, AutoEncoderConfig),
    "tokenizer": Entry(DiscreteVAE, DiscreteVAEConfig, "microsoft/unilm beit"),
    "beit": Entry(BEiT, BEiTConfig, "microsoft/unilm beit"),
    "mage": Entry(MAGE, MAGEConfig, "LTH14/mage"),
    "igpt": Entry(IGPT, IGPTConfig, "openai/image-gpt"),
    "simmim": Entry(SimMIM, SimMIMConfig, "microsoft/SimMIM"),
    "maskfeat": Entry(MaskFeat, MaskFeatConfig, "facebookresearch/SlowFast: targets"),
    "data2vec": Entry(Data2Vec, Data2VecConfig, "facebookresearch/data2vec_vision"),
    "eat": Entry(EAT, EATConfig),
    "ijepa": Entry(IJEPA, IJEPAConfig, "facebookresearch/ijepa"),
    "capi": Entry(CAPI, CAPIConfig, "facebookresearch/capi"),
    "vjepa": Entry(VJEPA, VJEPAConfig, "facebookresearch/jepa"),
    "pirl": Entry(PIRL, PIRLConfig, "facebookresearch/vissl"),
    "deepcluster": Entry(DeepCluster, DeepClusterConfig, "facebookresearch/swav"),
    "rotation": Entry(Rotation, RotationConfig, "gidariss/FeatureLearningRotNet: turns"),
    "colorization": Entry(
        Colorization, ColorizationConfig, "richzhang/colorization: targets, gradient"
    ),
    "context": Entry(Context, ContextConfig),
    "jigsaw": Entry(Jigsaw, JigsawConfig, "facebookresearch/vissl: orders"),
    "exemplar": Entry(Exemplar, ExemplarConfig),
    "deepcluster-v1": Entry(DeepClusterV1, DeepClusterV1Config),
    "sela": Entry(SeLa, SeLaConfig, "yukimasano/self-label: labels"),
    "bownet": Entry(BoWNet, BoWNetConfig),
    "sela-v2": Entry(SeLaV2, SeLaV2Config, "yukimasano/self-label: labels"),
    "local-aggregation": Entry(
        LocalAggregation, LocalAggregationConfig, "neuroailab/LocalAggregation"
    ),
    "clip-order": Entry(ClipOrder, ClipOrderConfig),
    "cubic-puzzle": Entry(CubicPuzzle, CubicPuzzleConfig),
    "pointing": Entry(Pointing, PointingConfig),
    "tcn": Entry(TCN, TCNConfig),
    "dpc": Entry(DPC, DPCConfig, "TengdaHan/DPC"),
    "memdpc": Entry(MemDPC, MemDPCConfig, "TengdaHan/MemDPC"),
    "brave": Entry(BraVe, BraVeConfig),
    "playback": Entry(Playback, PlaybackConfig),
    "joint": Entry(Joint, JointConfig),
    "elo": Entry(ELo, ELoConfig),
    "avid": Entry(AVID, AVIDConfig, "facebookresearch/AVID-CMA"),
    "cma": Entry(CMA, CMAConfig, "facebookresearch/AVID-CMA", follows=("avid",)),
    "gdt": Entry(GDT, GDTConfig, "facebookresearch/GDT"),
    "l3": Entry(L3, L3Config),
    "avts": Entry(AVTS, AVTSConfig),
    "multisensory": Entry(Multisensory, MultisensoryConfig),
    "xdc": Entry(XDC, XDCConfig),
    "cav-mae": Entry(CAVMAE, CAVMAEConfig),
    "mavil": Entry(MAViL, MAViLConfig),
    "selavi": Entry(SeLaVi, SeLaViConfig, "facebookresearch/selavi: labels"),
    "depthcontrast": Entry(DepthContrast, DepthContrastConfig, "facebookresearch/DepthContrast"),
    "pointcontrast": Entry(PointContrast, PointContrastConfig, "facebookresearch/PointContrast"),
    "sonata": Entry(Sonata, SonataConfig),
}


def name_of(config: object) -> str:
    """The name of the method that a config belongs to.

    Raises:
        UsageError: if it belongs to none.
    """
    for name, entry in METHODS.items():
        if type(config) is entry.config:
            return name
    known = ", ".join(entry.config.__name__ for entry in METHODS.values())
    raise UsageError(f"{type(config).__name__} configures no method; use one of {known}.")


def build(config: object, given: Given) -> Method:
    """The method that a config belongs to, from what it is given.

    Its batch norms take their statistics over all ranks, so the number of ranks changes nothing.

    Raises:
        UsageError: if the config belongs to no method.
        Unsupported: if the encoder cannot do what the method needs.
    """
    method = METHODS[name_of(config)].method(replace(given, build=build), config)
    convert(method)
    return method
