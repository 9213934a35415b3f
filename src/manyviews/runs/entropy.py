"""The entropy of ER, added to any method from outside."""

from dataclasses import replace
from typing import Any

from torch import nn

from manyviews.core import Method, Step, UsageError
from manyviews.losses.entropy import cluster_entropy_term, entropy_term
from manyviews.runs.settings import EntropyTerm


def spread(method: Method, settings: EntropyTerm) -> None:
    """Let a method also be rewarded for spreading out what its loss compares.

    Where the loss compares distributions over clusters (`Step.clusters`), that is the entropy of
    their mean; else that of the projections (`Step.projection`), by a kernel density estimate.
    Nothing of the method's state changes, nor a name in its checkpoints.

    Source: Rodriguez-Galvez et al. 2023, section 5 (docs/methods/er.md).

    Raises:
        UsageError: at the first batch, where the method has neither.
    """

    def add(module: nn.Module, given: tuple[Any, ...], step: Step) -> Step:
        del given
        if step.clusters is not None:
            more = cluster_entropy_term(step.clusters, weight=settings.weight)
        elif step.projection is not None:
            kappa = settings.concentration
            more = entropy_term(step.projection, weight=settings.weight, kappa=kappa)
        else:
            raise UsageError(
                f"{type(module).__name__} compares no projections that could be spread out. "
                "Leave out --entropy.weight."
            )
        return replace(step, losses={**step.losses, **more})

    method.register_forward_hook(add)
