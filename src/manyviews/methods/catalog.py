"""Every method by its name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from manyviews.core import Given, Method, UsageError
from manyviews.methods.audiovisual.avid import AVID, AVIDConfig
from manyviews.methods.clustering.deepcluster import DeepCluster, DeepClusterConfig
from manyviews.methods.clustering.deepcluster_v1 import DeepClusterV1, DeepClusterV1Config
from manyviews.methods.clustering.sela import SeLa, SeLaConfig
from manyviews.methods.clustering.swav import SwAV, SwAVConfig
from manyviews.methods.contrastive.align_uniform import AlignUniform, AlignUniformConfig
from manyviews.methods.contrastive.dcl import DCL, DCLConfig
from manyviews.methods.contrastive.debiased import Debiased, DebiasedConfig
from manyviews.methods.contrastive.drlim import DrLIM, DrLIMConfig
from manyviews.methods.contrastive.hcl import HCL, HCLConfig
from manyviews.methods.contrastive.moco import MoCo, MoCoConfig
from manyviews.methods.contrastive.mocov3 import MoCoV3, MoCoV3Config
from manyviews.methods.contrastive.nnclr import NNCLR, NNCLRConfig
from manyviews.methods.contrastive.npid import NPID, NPIDConfig
from manyviews.methods.contrastive.pirl import PIRL, PIRLConfig
from manyviews.methods.contrastive.simclr import SimCLR, SimCLRConfig
from manyviews.methods.contrastive.triplet import Triplet, TripletConfig
from manyviews.methods.distillation.byol import BYOL, BYOLConfig
from manyviews.methods.distillation.dino import DINO, DINOConfig
from manyviews.methods.distillation.distill import Distill, DistillConfig
from manyviews.methods.distillation.simsiam import SimSiam, SimSiamConfig
from manyviews.methods.information.er import ER, ERConfig
from manyviews.methods.masked.autoencoder import AutoEncoder, AutoEncoderConfig
from manyviews.methods.masked.data2vec import Data2Vec, Data2VecConfig
from manyviews.methods.masked.ijepa import IJEPA, IJEPAConfig
from manyviews.methods.masked.mae import MAE, MAEConfig
from manyviews.methods.masked.maskfeat import MaskFeat, MaskFeatConfig
from manyviews.methods.masked.simmim import SimMIM, SimMIMConfig
from manyviews.methods.pretext.context import Context, ContextConfig
from manyviews.methods.pretext.exemplar import Exemplar, ExemplarConfig
from manyviews.methods.pretext.jigsaw import Jigsaw, JigsawConfig
from manyviews.methods.pretext.rotation import Rotation, RotationConfig
from manyviews.methods.redundancy.barlow import BarlowTwins, BarlowTwinsConfig
from manyviews.methods.redundancy.vicreg import VICReg, VICRegConfig
from manyviews.parts.norm import convert


@dataclass(frozen=True)
class Entry:
    """A method and the dataclass that configures it.

    Attributes:
        method: called with what it is given and a config.
        config: its fields have the authors' values as defaults.
    """

    method: Callable[[Given, Any], Method]
    config: type[Any]


METHODS: dict[str, Entry] = {
    "simclr": Entry(SimCLR, SimCLRConfig),
    "moco": Entry(MoCo, MoCoConfig),
    "byol": Entry(BYOL, BYOLConfig),
    "simsiam": Entry(SimSiam, SimSiamConfig),
    "swav": Entry(SwAV, SwAVConfig),
    "dino": Entry(DINO, DINOConfig),
    "distill": Entry(Distill, DistillConfig),
    "barlow": Entry(BarlowTwins, BarlowTwinsConfig),
    "vicreg": Entry(VICReg, VICRegConfig),
    "er": Entry(ER, ERConfig),
    "mae": Entry(MAE, MAEConfig),
    "nnclr": Entry(NNCLR, NNCLRConfig),
    "npid": Entry(NPID, NPIDConfig),
    "mocov3": Entry(MoCoV3, MoCoV3Config),
    "dcl": Entry(DCL, DCLConfig),
    "debiased": Entry(Debiased, DebiasedConfig),
    "hcl": Entry(HCL, HCLConfig),
    "align-uniform": Entry(AlignUniform, AlignUniformConfig),
    "drlim": Entry(DrLIM, DrLIMConfig),
    "triplet": Entry(Triplet, TripletConfig),
    "autoencoder": Entry(AutoEncoder, AutoEncoderConfig),
    "simmim": Entry(SimMIM, SimMIMConfig),
    "maskfeat": Entry(MaskFeat, MaskFeatConfig),
    "data2vec": Entry(Data2Vec, Data2VecConfig),
    "ijepa": Entry(IJEPA, IJEPAConfig),
    "pirl": Entry(PIRL, PIRLConfig),
    "deepcluster": Entry(DeepCluster, DeepClusterConfig),
    "rotation": Entry(Rotation, RotationConfig),
    "context": Entry(Context, ContextConfig),
    "jigsaw": Entry(Jigsaw, JigsawConfig),
    "exemplar": Entry(Exemplar, ExemplarConfig),
    "deepcluster-v1": Entry(DeepClusterV1, DeepClusterV1Config),
    "sela": Entry(SeLa, SeLaConfig),
    "avid": Entry(AVID, AVIDConfig),
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
    method = METHODS[name_of(config)].method(given, config)
    convert(method)
    return method
