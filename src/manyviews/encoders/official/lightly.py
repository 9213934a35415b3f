"""lightly's examples: torchvision's ResNet as a `Sequential`, its parts numbered."""

from manyviews.encoders.official.project import Project, has

_PARTS = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}
"""Number of each part among the children of torchvision's ResNet."""


def _spelling(name: str) -> tuple[str, ...]:
    first, _, rest = name.partition(".")
    return (f"{_PARTS[first]}.{rest}",) if first in _PARTS else (name,)


PROJECT = Project(
    title="lightly",
    source="lightly-ai/lightly examples/pytorch",
    recognise=lambda found: has(found, r"(^|[./])4\.0\.conv1\.weight$", r"(^|[./])0\.weight$"),
    places=("backbone.", "state_dict/backbone."),
    spelling=_spelling,
    resize="bilinear",
    mean=(),
    std=(),
)
