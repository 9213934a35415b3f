"""What rows of authors' numbers are made of."""

Row = tuple[str, dict[str, object]]

PIXELS = {"method.target": "pixels", "method.first": 0, "method.count": 0}
"""What MAE predicts."""

IMAGENET_IMAGES = 1_281_167

OFF = {"optim.lr_1d": -1.0, "optim.weight_decay_end": -1.0, "optim.clip": 0.0}
OFF |= {"optim.clip_each": False, "optim.by_epoch": False, "optim.lr_start": 0.0}
OFF |= {"optim.layer_decay": 1.0}


def at(family: str, **settings: object) -> dict[str, object]:
    """Settings of one family of views."""
    return {f"views.{family}.{name}": value for name, value in settings.items()}


def jitter(family: str, *strengths: float, p: float) -> dict[str, object]:
    """Brightness, contrast, saturation and hue of one family."""
    names = ("brightness", "contrast", "saturation", "hue")
    return at(family, jitter=p, **dict(zip(names, strengths, strict=True)))


def anywhere(family: str) -> dict[str, object]:
    """Clips that begin anywhere, each by itself, at the video's own speed."""
    return at(family, within=-1.0, times="uniform", alike=False, speeds=[1.0])


def as_it_is(family: str, *but: str) -> dict[str, object]:
    """Pieces of sound to which nothing is done but what is named."""
    whole = {"gain": 0.0, "speed": 0.0, "roll": 0.0, "noise": 0.0, "mix": 0.0, "canvas": 1.5}
    whole |= {"crop_time": [1.0, 1.0], "crop_bands": [1.0, 1.0], "snr": [5.0, 40.0]}
    whole |= {"reverb": 0.0, "decay": [0.1, 0.8], "lead": 0.0}
    whole |= {"apart": -1.0, "mask_time": 0.0, "mask_bands": 0.0, "mask.ratio": 0.0}
    return at(family, **{name: value for name, value in whole.items() if name not in but})


PILLOW = "torchvision RandomResizedCrop, ColorJitter"
"""The library that their crops and colours are made with; its ratio is 3/4 to 4/3."""


def torchvision(family: str, *, interpolation: str = "bilinear") -> Row:
    """What a family has that is torchvision's default: filter, ratio, colours."""
    ratio = [3 / 4, 4 / 3]
    return PILLOW, at(family, interpolation=interpolation, colour="torchvision", ratio=ratio)
