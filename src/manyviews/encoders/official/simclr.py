"""SimCLR's TensorFlow weights, converted: trained on pixels in [0, 1], which nothing normalises."""

from manyviews.encoders.official.project import Found, Project


def _recognise(found: Found) -> bool:
    """The converter's network has each shortcut before the convolutions, and so has its file."""
    names = [name for name in found if "layer1.0." in name]
    return bool(names) and "layer1.0.downsample." in names[0]


PROJECT = Project(
    title="SimCLR",
    source="tonylins/simclr-converter resnet_wider.py, eval.py; google-research/simclr",
    recognise=_recognise,
    files=("resnet50-1x*", "resnet50-2x*", "resnet50-4x*"),
    places=("state_dict/",),
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
    resize="bilinear",
)
