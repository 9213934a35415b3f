"""What the authors' code says of recipes in `recipes/pretext/`."""

from authors.table import OFF, Row, at, torchvision

_MM = "configs/selfsup"

_WITHOUT_COLOURS = "the pipeline has nothing else"


def _steps(file: str, *, epochs: int = 70) -> list[Row]:
    """What mmselfsup's two pretext tasks share: SGD, a warm-up of 5 epochs, steps down."""
    return [
        (f"{file}:9", {"optim.name": "sgd", "optim.momentum": 0.9, "optim.weight_decay": 1e-4}),
        (f"{file}:9, as it is", {"optim.lr": 0.2, "optim.lr_per": 0}),
        ("ours: a cosine, for steps at 30 and 50", OFF | {"optim.lr_end": 0.0}),
        ("LinearLR of 5 epochs", {"optim.lr_start": 0.1, "optim.warmup": 5 / epochs}),
        ("max_epochs", {"train.epochs": epochs}),
        ("paramwise_cfg spares no tensor", {"optim.decay_all": True}),
    ]


def _rotation() -> list[Row]:
    file = f"{_MM}/rotation_pred/rotation-pred_resnet50_8xb16-steplr-70e_in1k.py"
    base = f"{_MM}/_base_/datasets/imagenet_rotation-pred.py"
    return [
        *_steps(file),
        (f"{base}:17, on 8 GPUs", {"data.batch_size": 16 * 8}),
        (f"{base}:7", at("global", scale=[0.08, 1.0], count=1, size=0)),
        (f"{base}:8", at("global", flip=0.5)),
        (_WITHOUT_COLOURS, at("global", jitter=0.0, grey=0.0, blur=[0.0], solarize=[0.0])),
        (f"{_MM}/_base_/models/rotation-pred.py:9", {"encoders.image.name": "resnet50"}),
        ("models/backbones/resnet.py:94", {"encoders.image.zero_init": False}),
        (f"{_MM}/_base_/models/rotation-pred.py:15", {"method.hidden": 0}),
        torchvision("global"),
    ]


def _uncoloured(file: str) -> Row:
    return f"{file}, nothing else", at("tiles", flip=0.0, jitter=0.0, grid=3, cell=85, size=85 - 21)


def _jigsaw() -> list[Row]:
    yaml = "configs/config/pretrain/jigsaw/jigsaw_8gpu_resnet.yaml"
    return [
        (f"{yaml}:17, 32 on 8 GPUs", {"data.batch_size": 32 * 8}),
        ("ours: area of a square in a photo (docs/methods/jigsaw.md)", at("tiles", scale=[0.7, 1])),
        (f"{yaml}:25, here tile by tile", at("tiles", grey=0.66)),
        _uncoloured(f"{yaml}:30"),
        (f"{yaml}:47", {"encoders.image.name": "resnet50"}),
        ("vissl/config/defaults.yaml:666", {"encoders.image.zero_init": False}),
        (f"{yaml}:52", {"method.hidden": 1000}),
        (f"{yaml}:54", {"method.permutations": 2000}),
        (f"{yaml}:28, by the data set's numbers alone", {"method.standardise": False}),
        (f"{yaml}:61", {"optim.name": "sgd", "optim.momentum": 0.9}),
        (f"{yaml}:62", OFF | {"optim.weight_decay": 1e-4}),
        (f"{yaml}:64", {"train.epochs": 105}),
        (f"{yaml}:66, biases are decayed there", {"optim.decay_all": False}),
        (f"{yaml}:72", {"optim.lr": 0.1, "optim.lr_per": 256}),
        (f"{yaml}:77", {"optim.lr_start": 0.025 / 0.1, "optim.warmup": 5 / 105}),
        (f"{yaml}:82", {"optim.by_epoch": True}),
        ("ours: a cosine, for steps at 30, 60, 90 and 100", {"optim.lr_end": 0.0}),
    ]


def _context() -> list[Row]:
    file = f"{_MM}/relative_loc/relative-loc_resnet50_8xb64-steplr-70e_in1k.py"
    base = f"{_MM}/_base_/datasets/imagenet_relative-loc.py"
    model = f"{_MM}/_base_/models/relative-loc.py"
    return [
        *_steps(file),
        (f"{base}:18, on 8 GPUs", {"data.batch_size": 64 * 8}),
        ("ours: around (255 / 292)^2 (docs/methods/context.md)", at("tiles", scale=[0.6, 0.8])),
        (f"{base}:9, here tile by tile", at("tiles", grey=0.66)),
        _uncoloured("mmselfsup/datasets/transforms/processing.py:591"),
        (f"{model}:11", {"encoders.image.name": "resnet50"}),
        ("models/backbones/resnet.py:94", {"encoders.image.zero_init": False}),
        (f"{model}:18", {"method.hidden": 4096}),
        (f"{base}:9, nothing else", {"method.colour": "keep"}),
    ]


def _colorization() -> list[Row]:
    network, solver = "models/colorization_train_val_v2.prototxt", "train/solver.prototxt"
    layers = "resources/caffe_traininglayers.py"
    crop = [(176 / 256) ** 2] * 2
    return [
        ("ours: a ResNet-50, for a VGG", {"encoders.image.network": "resnet50"}),
        ("ours: as torchvision's", {"encoders.image.zero_init": False}),
        (f"{network}: img_l", {"encoders.image.sees": "L"}),
        (f"{network}: batch_size", {"data.batch_size": 40}),
        (f"{solver}: max_iter", {"train.steps": 500_000, "train.epochs": 0}),
        (f"{solver}: base_lr", {"optim.lr": 3e-5, "optim.lr_per": 0}),
        (f"{solver}: momentum, momentum2", {"optim.betas": [0.9, 0.99]}),
        (f"{solver}: weight_decay, of all", {"optim.weight_decay": 1e-3, "optim.decay_all": True}),
        (f"{solver}: type", {"optim.name": "adam"}),
        ("ours: a cosine, for two steps", OFF | {"optim.lr_end": 0.0, "optim.warmup": 0.0}),
        (f"{layers}: NNEncLayer", {"method.neighbours": 10, "method.sigma": 5.0}),
        (f"{layers}: PriorBoostLayer, gamma", {"method.uniform": 0.5}),
        (f"{layers}: NonGrayMaskLayer", {"method.grey": 5.0}),
        (f"{network}: data_ab_ss, stride 4 of 32", {"method.places": 32 // 4}),
        ("ours: a layer, for three convolutions", {"method.hidden": 256}),
        torchvision("global"),
        (f"{network}: crop_size", at("global", scale=crop, ratio=[1.0, 1.0], count=1)),
        ("ours: shown at 224", at("global", size=0)),
        (f"{network}: mirror", at("global", flip=0.5)),
        (f"{network}, nothing else", at("global", jitter=0.0, grey=0.0)),
        (f"{network}, nothing else", at("global", blur=[0.0], solarize=[0.0])),
    ]


AUTHORS: dict[str, tuple[str, list[Row]]] = {
    "rotation-imagenet": ("open-mmlab/mmselfsup", _rotation()),
    "jigsaw-imagenet": ("facebookresearch/vissl", _jigsaw()),
    "context-imagenet": ("open-mmlab/mmselfsup", _context()),
    "colorization-imagenet": ("richzhang/colorization", _colorization()),
}
