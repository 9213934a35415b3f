"""Several methods at once, for your own data."""

from typing import Any

from manyviews.core.settings import struct
from manyviews.methods.catalog import JointConfig
from manyviews.methods.contrastive.simclr import SimCLRConfig
from manyviews.methods.redundancy.vicreg import VICRegConfig
from manyviews.recipes import small_data
from manyviews.runs.settings import Facts, Run


def small(facts: Facts) -> Run[JointConfig, Any, Any]:
    """SimCLR and a tenth of VICReg, sized to the images and the hardware, as a pattern to change.

    Which methods are mixed is said in config.yaml or from Python (docs/methods/joint.md).
    Command: `manyviews train joint --data DIR --method.weights 1 0.1`.
    """
    methods = {
        "simclr": SimCLRConfig(temperature=0.2, hidden=512, out=128),
        "vicreg": VICRegConfig(hidden=512, out=512),
    }
    config = JointConfig(mixed=struct("Mixed", methods), weights=(1.0, 0.1))
    return small_data.run(facts, name="joint", method=config)
