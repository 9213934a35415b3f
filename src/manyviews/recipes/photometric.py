"""The colour pipelines that papers share, as `Crops` to start from.

Source of each: the authors' public code, named beside it. Local crops are given by each recipe.
"""

from dataclasses import replace

from manyviews.views.plan import Crops, Mask

# facebookresearch/moco main_moco.py with --aug-plus; SimSiam uses the same.
MOCO_V2 = Crops(scale=(0.2, 1.0), brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)

# google-research/simclr data_util.py, strength 1; resized as in tf2/data_util.py.
SIMCLR = Crops(
    scale=(0.08, 1.0),
    interpolation="sharp-bicubic",
    colour="tensorflow",
    brightness=0.8,
    contrast=0.8,
    saturation=0.8,
    hue=0.2,
)

# facebookresearch/barlowtwins main.py, facebookresearch/vicreg augmentations.py: BYOL's numbers
# with Pillow's and torchvision's operations.
BARLOW = Crops(
    scale=(0.08, 1.0),
    interpolation="bicubic",
    brightness=0.4,
    contrast=0.4,
    saturation=0.2,
    hue=0.1,
    blur=(1.0, 0.1),
    solarize=(0.0, 0.2),
)

# deepmind-research byol/utils/augmentations.py and dataset.py.
BYOL = replace(BARLOW, interpolation="sharp-bicubic", colour="tensorflow-add")

# facebookresearch/swav src/multicropdataset.py: 2 x 224 + 6 x 96.
SWAV = Crops(scale=(0.14, 1.0), brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2)
SWAV_LOCAL = Crops(
    count=6, size=96, scale=(0.05, 0.14), brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2
)

# facebookresearch/dino main_dino.py: 2 x 224 + 8 x 96.
DINO = Crops(
    scale=(0.4, 1.0),
    interpolation="bicubic",
    brightness=0.4,
    contrast=0.4,
    saturation=0.2,
    hue=0.1,
    blur=(1.0, 0.1),
    solarize=(0.0, 0.2),
)
DINO_LOCAL = Crops(
    count=8,
    size=96,
    scale=(0.05, 0.4),
    interpolation="bicubic",
    brightness=0.4,
    contrast=0.4,
    saturation=0.2,
    hue=0.1,
    blur=(0.5,),
)

# facebookresearch/mae main_pretrain.py: crop and flip only, three of four patches hidden.
MAE = Crops(
    count=1,
    scale=(0.2, 1.0),
    interpolation="bicubic",
    jitter=0.0,
    grey=0.0,
    blur=(0.0,),
    mask=Mask(ratio=0.75),
)
