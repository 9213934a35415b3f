"""What the authors' code says of recipes in `recipes/redundancy/`."""

from authors.table import OFF, Row, at, jitter, torchvision


def _siblings(file: str, first: int) -> list[Row]:
    """The views of Barlow Twins and VICReg, which are the same but for the lines."""
    return [
        (f"{file}:{first}", at("global", scale=[0.08, 1.0], count=2)),
        (f"{file}:{first + 1}", at("global", flip=0.5)),
        (f"{file}:{first + 3}", jitter("global", 0.4, 0.4, 0.2, 0.1, p=0.8)),
        (f"{file}:{first + 7}", at("global", grey=0.2)),
        (f"{file}, GaussianBlur", at("global", blur=[1.0, 0.1], sigma=[0.1, 2.0])),
        (f"{file}, Solarization", at("global", solarize=[0.0, 0.2])),
        torchvision("global", interpolation="bicubic"),
    ]


def _barlow() -> list[Row]:
    return [
        ("main.py:191", {"encoders.image.name": "resnet50", "encoders.image.zero_init": True}),
        ("main.py:29", {"train.epochs": 1000}),
        ("main.py:31", {"data.batch_size": 2048}),
        ("main.py:33", {"optim.lr": 0.2, "optim.lr_per": 256}),
        # Their gradient is the loss's by the number of GPUs (main.py:216), 16 (section 2.2).
        ("main.py:35", OFF | {"optim.lr_1d": 0.0048 / 16}),
        ("main.py:37", {"optim.weight_decay": 16 * 1e-6}),
        ("main.py:39", {"method.off_diagonal": 0.0051}),
        ("main.py:41", {"method.hidden": 8192, "method.out": 8192}),
        ("main.py:157", {"optim.warmup": 10 / 1000}),
        ("main.py:165", {"optim.lr_end": 0.001}),
        ("main.py:225", {"optim.momentum": 0.9}),
        ("main.py:234", {"optim.decay_all": False}),
        ("main.py:263, rate outside", {"optim.name": "lars"}),
        *_siblings("main.py", 293),
    ]


def _vicreg() -> list[Row]:
    return [
        ("main_vicreg.py:42", {"encoders.image.name": "resnet50"}),
        ("main_vicreg.py:190", {"encoders.image.zero_init": True}),
        ("README.md:80", {"train.epochs": 1000, "data.batch_size": 2048, "optim.lr": 0.2}),
        ("main_vicreg.py:53", {"optim.lr_per": 256}),
        ("main_vicreg.py:54", OFF | {"optim.weight_decay": 1e-6}),
        ("main_vicreg.py:58", {"method.invariance": 25.0}),
        ("main_vicreg.py:60", {"method.variance": 25.0}),
        ("main_vicreg.py:62", {"method.covariance": 1.0}),
        ("main_vicreg.py:44", {"method.hidden": 8192, "method.out": 8192}),
        ("main_vicreg.py:169", {"optim.warmup": 10 / 1000}),
        ("main_vicreg.py:177", {"optim.lr_end": 0.001}),
        ("main_vicreg.py:250", {"optim.momentum": 0.9}),
        ("main_vicreg.py:236", {"optim.decay_all": False}),
        ("main_vicreg.py:299, rate outside", {"optim.name": "lars"}),
        *_siblings("augmentations.py", 41),
    ]


def _wmse() -> list[Row]:
    return [
        ("cfg.py:132", {"encoders.image.name": "resnet18"}),
        ("model.py:21, torchvision's", {"encoders.image.zero_init": False}),
        ("README.md:72", {"train.epochs": 240, "method.out": 128, "method.sub_batch": 256}),
        ("cfg.py:81", {"method.hidden": 1024}),
        ("cfg.py:75", {"method.shrinkage": 0.0}),
        ("cfg.py:88", {"method.rounds": 1}),
        ("cfg.py:112", {"data.batch_size": 512}),
        ("README.md:72; train.py, as it is", {"optim.lr": 2e-3, "optim.lr_per": 0}),
        ("cfg.py:67", {"optim.weight_decay": 1e-6}),
        ("train.py, all parameters in one group", {"optim.decay_all": True}),
        ("train.py, torch's default", {"optim.name": "adam", "optim.betas": [0.9, 0.999]}),
        # 500 steps, of which an epoch over 126,689 images has 247.
        ("train.py, lr_warmup", {"optim.warmup": 500 / (240 * (126_689 // 512))}),
        ("ours: a cosine, for two steps", OFF | {"optim.lr_end": 0.0}),
        ("README.md:72; cfg.py:27", at("global", scale=[0.08, 1.0], count=2)),
        ("README.md:72; cfg.py:36", jitter("global", 0.8, 0.8, 0.8, 0.2, p=0.8)),
        ("README.md:72", at("global", grey=0.2)),
        ("cfg.py:42", at("global", flip=0.5)),
        ("datasets/imagenet.py:30", at("global", blur=[0.5], sigma=[0.1, 2.0])),
        ("datasets/transforms.py:18, nothing else", at("global", solarize=[0.0])),
        torchvision("global", interpolation="bicubic"),
    ]


def _lejepa() -> list[Row]:
    return [
        ("README.md:25, the first model", {"encoders.image.name": "vit_large_patch14_224"}),
        ("README.md:25", {"train.epochs": 100}),
        ("MINIMAL.md, drop_path_rate", {"encoders.image.drop_path": 0.1}),
        ("timm's", {"encoders.image.pool": "cls", "encoders.image.positions": "learned"}),
        ("timm's", {"encoders.image.interpolation": "timm", "encoders.image.class_token": 0.0}),
        ("lightly benchmarks/imagenet/vitb16/main.py:39, on 4 GPUs", {"data.batch_size": 4 * 128}),
        ("lightly lightly/loss/lejepa_loss.py, lambda_param", {"method.gaussian": 0.05}),
        ("README.md:113", {"method.lines": 1024}),
        ("MINIMAL.md, ViTEncoder", {"method.hidden": 2048}),
        ("lightly lightly/models/modules/heads.py:794", {"method.out": 64}),
        ("README.md, Training Configuration", {"optim.name": "adamw", "optim.lr": 5e-4}),
        ("README.md, as it is", OFF | {"optim.lr_per": 0}),
        ("README.md, for transformers", {"optim.weight_decay": 0.05}),
        ("MINIMAL.md, all parameters in one group", {"optim.decay_all": True}),
        ("MINIMAL.md, torch's default", {"optim.betas": [0.9, 0.999]}),
        ("README.md, initial_lr / 1000", {"optim.lr_end": 0.001}),
        ("MINIMAL.md, LinearLR of one epoch", {"optim.lr_start": 0.01, "optim.warmup": 1 / 100}),
        ("README.md, Global Views", at("global", scale=[0.3, 1.0], count=2)),
        ("README.md, Local Views", at("local", scale=[0.05, 0.3], count=6, size=98)),
        *[
            row
            for family in ("global", "local")
            for row in (
                ("README.md, RandomHorizontalFlip", at(family, flip=0.5)),
                ("README.md, ColorJitter", jitter(family, 0.4, 0.4, 0.2, 0.1, p=0.8)),
                ("README.md, RandomGrayscale", at(family, grey=0.2)),
                ("README.md; MINIMAL.md, GaussianBlur", at(family, blur=[0.5], sigma=[0.1, 2.0])),
                ("README.md, RandomSolarize", at(family, solarize=[0.2])),
                torchvision(family),
            )
        ],
    ]


def _visreg() -> list[Row]:
    return [
        (
            "benchmarks/imagenet/vitb16/visreg.py:31",
            {"encoders.image.name": "vit_small_patch16_224"},
        ),
        ("benchmarks/imagenet/vitb16/visreg.py:36", {"encoders.image.drop_path": 0.1}),
        ("timm's", {"encoders.image.pool": "cls", "encoders.image.positions": "learned"}),
        ("timm's", {"encoders.image.interpolation": "timm", "encoders.image.class_token": 0.0}),
        ("benchmarks/imagenet/vitb16/main.py:40", {"train.epochs": 100}),
        ("benchmarks/imagenet/vitb16/main.py:39, on 4 GPUs", {"data.batch_size": 4 * 128}),
        ("lightly/loss/visreg_loss.py, lambda_param", {"method.gaussian": 0.9}),
        ("lightly/loss/visreg_loss.py, lambda_center", {"method.centre": 1.0}),
        ("lightly/loss/visreg_loss.py, lambda_scale", {"method.scale": 1.0}),
        ("lightly/loss/visreg_loss.py, lambda_shape", {"method.shape": 1.0}),
        ("benchmarks/imagenet/vitb16/visreg.py:51", {"method.lines": 2048}),
        ("benchmarks/imagenet/vitb16/visreg.py:44", {"method.hidden": 2048, "method.out": 256}),
        ("benchmarks/imagenet/vitb16/visreg.py:22", OFF | {"optim.lr": 9e-4, "optim.lr_per": 0}),
        ("benchmarks/imagenet/vitb16/visreg.py:23", {"optim.weight_decay": 0.05}),
        ("benchmarks/imagenet/vitb16/visreg.py:104, one group", {"optim.decay_all": True}),
        (
            "benchmarks/imagenet/vitb16/visreg.py:100, torch's default",
            {"optim.name": "adamw", "optim.betas": [0.9, 0.999]},
        ),
        ("benchmarks/imagenet/vitb16/visreg.py:117", {"optim.warmup": 1 / 100}),
        (
            "benchmarks/imagenet/vitb16/visreg.py:125, 126",
            {"optim.lr_start": 0.01, "optim.lr_end": 0.001},
        ),
        ("benchmarks/imagenet/vitb16/visreg.py:139, 149", at("global", scale=[0.3, 1.0], count=4)),
        (
            "benchmarks/imagenet/vitb16/visreg.py:144, 149",
            at("local", scale=[0.05, 0.3], count=6, size=96),
        ),
        *[
            row
            for family in ("global", "local")
            for row in (
                ("lightly/transforms/dino_transform.py:223", at(family, flip=0.5)),
                (
                    "lightly/transforms/dino_transform.py:288, times 0.5",
                    jitter(family, 0.4, 0.4, 0.2, 0.1, p=0.8),
                ),
                ("lightly/transforms/dino_transform.py:297", at(family, grey=0.2)),
                (
                    "benchmarks/imagenet/vitb16/visreg.py:140, 146; dino_transform.py, sigmas",
                    at(family, blur=[0.5], sigma=[0.1, 2.0]),
                ),
                ("benchmarks/imagenet/vitb16/visreg.py:141, 147", at(family, solarize=[0.2])),
                torchvision(family, interpolation="bicubic"),
            )
        ],
    ]


def _emp() -> list[Row]:
    return [
        ("README.md, ImageNet100", {"encoders.image.name": "resnet18"}),
        ("model/model.py:18, torchvision's", {"encoders.image.zero_init": False}),
        ("dataset/aug4img.py, Normalize", {"encoders.image.input.mean": [0.5] * 3}),
        ("dataset/aug4img.py, Normalize", {"encoders.image.input.std": [0.5] * 3}),
        ("main.py, --patch_sim", {"method.likeness": 200.0}),
        ("main.py, --tcr", {"method.rate": 1.0}),
        ("main.py, --eps", {"method.precision": 0.2}),
        ("model/model.py, encoder", {"method.hidden": 4096, "method.out": 1024}),
        ("README.md, the table", {"train.epochs": 10}),
        ("main.py, --bs", {"data.batch_size": 100}),
        ("main.py, LARSWrapper; lars.py", {"optim.name": "lars", "optim.lr": 0.005 / 0.001}),
        ("main.py, --lr, as it is", OFF | {"optim.lr_1d": 0.3, "optim.lr_per": 0}),
        ("main.py, SGD", {"optim.momentum": 0.9, "optim.weight_decay": 1e-4}),
        ("main.py, exclude_bias_n_norm", {"optim.decay_all": False}),
        ("main.py, CosineAnnealingLR", {"optim.lr_end": 0.0, "optim.warmup": 0.0}),
        ("README.md, ImageNet100, --num_patches", at("global", count=20)),
        ("dataset/aug4img.py", at("global", scale=[0.25, 0.25], flip=0.5)),
        ("dataset/aug4img.py", jitter("global", 0.4, 0.4, 0.4, 0.2, p=0.8)),
        ("dataset/aug4img.py", at("global", grey=0.2, solarize=[0.1])),
        ("dataset/aug4img.py, GBlur", at("global", blur=[0.1], sigma=[0.1, 2.0])),
        torchvision("global", interpolation="bicubic"),
    ]


AUTHORS: dict[str, tuple[str, list[Row]]] = {
    "barlow-imagenet": ("facebookresearch/barlowtwins", _barlow()),
    "vicreg-imagenet": ("facebookresearch/vicreg", _vicreg()),
    "wmse-imagenet": ("htdt/self-supervised", _wmse()),
    "lejepa-imagenet": ("rbalestr-lab/lejepa", _lejepa()),
    "visreg-imagenet": ("lightly-ai/lightly", _visreg()),
    "emp-imagenet": ("tsb0601/EMP-SSL", _emp()),
}
