"""BYOL's JAX weights, converted: the network pads as TensorFlow's "SAME", unevenly."""

from manyviews.encoders.official.project import Found, Project


def _recognise(found: Found) -> bool:
    """The converter turns kernels without copying them, and Haiku counts no batches."""
    kernel = found.get("layer1.0.conv2.weight")
    turned = kernel is not None and kernel.ndim == 4 and kernel.stride() == _turned(kernel.shape)
    return turned and not any(name.endswith("num_batches_tracked") for name in found)


def _turned(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of [O, I, H, W] that lies in memory as [H, W, I, O]."""
    wide, deep, _, across = shape
    return (1, wide, across * deep * wide, deep * wide)


PROJECT = Project(
    title="BYOL",
    source="ajtejankar/byol-convert convert.py, resnet.py; google-deepmind/deepmind-research byol",
    recognise=_recognise,
    files=("pretrain_res50x1*", "pretrain_res200x2*", "res50x1_batchsize_*", "res50x1_crop_*"),
    resize="bicubic",
    same_padding=True,
)
