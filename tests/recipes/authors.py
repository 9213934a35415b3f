"""What the authors' public code says, number by number, beside the recipes and not made from them.

A row is where it stands and what it says there, in the words of our settings: `("main.py:36",
{"optim.lr": 0.2})`. Where a number of theirs means something else here, the row has the sum that
brings it over. What no code states has the paper as its source, and "ours" what is our own choice.
"""

Row = tuple[str, dict[str, object]]

COMMITS = {
    "facebookresearch/moco": "5df3287ecca83af5efc65515627009bb026dcce5",
    "facebookresearch/moco-v3": "c349e6e24f40d3fedb22d973f92defa4cedf37a7",
    "facebookresearch/simsiam": "a7bc1772896d0dad0806c51f0bb6f3b16d290468",
    "facebookresearch/swav": "06b1b7cbaf6ba2a792300d79c7299db98b93b7f9",
    "facebookresearch/dino": "7c446df5b9f45747937fb0d72314eb9f7b66930a",
    "facebookresearch/mae": "efb2a8062c206524e35e47d04501ed4f544c0ae8",
    "microsoft/SimMIM": "d3e29bcac950b83edc34ca33fe4404f38309052c",
    "facebookresearch/SlowFast": "287ec0076846560f44a9327e931a5a2360240533",
    "facebookresearch/data2vec_vision": "af9a36349aaed59ae66e69b5dabeef2d62fdc5da",
    "facebookresearch/ijepa": "52c1ae95d05f743e000e8f10a1f3a79b10cff048",
    "facebookresearch/barlowtwins": "8e8d284ca0bc02f88b92328e53f9b901e86b4a3c",
    "facebookresearch/vicreg": "4e12602fd495af83efd1631fbe82523e6db092e0",
    "facebookresearch/vissl": "09270ed25a6c2cf71263d955b64cbe076d34ac45",
    "facebookresearch/AVID-CMA": "4538e404c79eb1b7459122a31508d918038705fd",
    "facebookresearch/deepcluster": "2d1927e8e3dd272329e879e510fbbdf1b1d02d17",
    "yukimasano/self-label": "3891e376a82d1e4ac6de6d39505b692b8885c971",
    "open-mmlab/mmselfsup": "db861f30487c9a0b0cb3e35e176d6058887660bc",
    "google-research/simclr": "383d4143fd8cf7879ae10f1046a9baeb753ff438",
    "google-deepmind/deepmind-research": "f5de0ede8430809180254ee957abf36ed62579ef",
}
"""Repository -> the commit whose lines are meant."""

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


PILLOW = "torchvision RandomResizedCrop, ColorJitter"
"""The library that their crops and colours are made with; its ratio is 3/4 to 4/3."""


def torchvision(family: str, *, interpolation: str = "bilinear") -> Row:
    """What a family has that is torchvision's default: filter, ratio, colours."""
    ratio = [3 / 4, 4 / 3]
    return PILLOW, at(family, interpolation=interpolation, colour="torchvision", ratio=ratio)


def _moco() -> list[Row]:
    return [
        ("main_moco.py:35", {"encoders.image.name": "resnet50", "encoders.image.zero_init": False}),
        ("main_moco.py:42", {"train.epochs": 200}),
        ("main_moco.py:46", {"data.batch_size": 256}),
        ("main_moco.py:51", {"optim.lr": 0.03, "optim.lr_per": 256}),
        ("main_moco.py:55", {"optim.momentum": 0.9}),
        ("main_moco.py:57", {"optim.weight_decay": 1e-4}),
        ("main_moco.py:83", {"method.out": 128}),
        ("main_moco.py:85", {"method.queue": 65536}),
        ("main_moco.py:87", {"method.momentum.start": 0.999, "method.momentum.end": 0.999}),
        ("README.md:51", {"method.temperature": 0.2, "method.layers": 2}),
        ("moco/builder.py:31", {"method.hidden": 0}),
        ("README.md:41, 8 GPUs with norms of their own", {"method.norm_groups": 8}),
        ("moco/builder.py:120", {"method.symmetric": False}),
        ("main_moco.py:195, all parameters in one group", {"optim.decay_all": True}),
        ("main_moco.py:195", {"optim.name": "sgd"}),
        ("main_moco.py:375, by epoch to 0", OFF | {"optim.by_epoch": True, "optim.lr_end": 0.0}),
        ("main_moco.py:375", {"optim.warmup": 0.0}),
        ("main_moco.py:226", at("global", scale=[0.2, 1.0], count=2)),
        ("main_moco.py:227", jitter("global", 0.4, 0.4, 0.4, 0.1, p=0.8)),
        ("main_moco.py:230", at("global", grey=0.2)),
        ("main_moco.py:231", at("global", blur=[0.5], sigma=[0.1, 2.0])),
        ("main_moco.py:232", at("global", flip=0.5, solarize=[0.0])),
        torchvision("global"),
    ]


def _simclr() -> list[Row]:
    return [
        ("run.py:224", {"encoders.image.name": "resnet50"}),
        ("resnet.py:480", {"encoders.image.zero_init": True}),
        ("README.md:102", {"data.batch_size": 4096}),
        ("README.md:53, the 69.1 %; arXiv:2002.05709 figure 9", {"train.epochs": 1000}),
        ("README.md:102", {"method.temperature": 0.1}),
        ("run.py:43", {"optim.lr": 0.3, "optim.lr_per": 256}),
        ("run.py:51", {"optim.warmup": 10 / 1000, "optim.lr_start": 0.0}),
        ("model_util.py:79, to 0", OFF | {"optim.lr_end": 0.0}),
        ("arXiv:2002.05709 section 2.2", {"optim.weight_decay": 1e-6}),
        ("lars_optimizer.py:113, classic momentum", {"optim.name": "lars-classic"}),
        ("run.py:175", {"optim.momentum": 0.9}),
        ("model_util.py:99, neither norms nor biases", {"optim.decay_all": False}),
        ("arXiv:2002.05709 section 2.1, one hidden layer", {"method.layers": 2}),
        ("run.py:203", {"method.out": 128}),
        ("model_util.py:144", {"method.hidden": 0}),
        ("objective.py:89, loss_a + loss_b", {"method.sum_of_views": True}),
        ("data_util.py:321", at("global", ratio=[3 / 4, 4 / 3])),
        ("data_util.py:322", at("global", scale=[0.08, 1.0], count=2)),
        ("tf2/data_util.py:319, antialias is off", at("global", interpolation="sharp-bicubic")),
        ("data_util.py:472", at("global", flip=0.5)),
        ("data_util.py:74", jitter("global", 0.8, 0.8, 0.8, 0.2, p=0.8)),
        ("data_util.py:160, TensorFlow's operations", at("global", colour="tensorflow")),
        ("data_util.py:393", at("global", grey=0.2)),
        ("data_util.py:417", at("global", blur=[0.5], solarize=[0.0])),
        ("data_util.py:411", at("global", sigma=[0.1, 2.0])),
    ]


def _byol() -> list[Row]:
    return [
        ("byol/configs/byol.py:43", {"encoders.image.name": "resnet50"}),
        ("haiku nets/resnet.py, scale_init=jnp.zeros", {"encoders.image.zero_init": True}),
        ("byol/README.md, 1000 epochs", {"train.epochs": 1000}),
        ("byol/main_loop.py, pretrain", {"data.batch_size": 4096}),
        ("byol/configs/byol.py:21", {"optim.lr": 0.2, "optim.lr_per": 256}),
        ("byol/configs/byol.py:22", {"optim.weight_decay": 1.5e-6}),
        ("byol/configs/byol.py:23", {"method.momentum.start": 0.996}),
        ("byol/utils/schedules.py:24", {"method.momentum.end": 1.0}),
        ("byol/configs/byol.py:40", {"method.hidden": 4096}),
        ("byol/configs/byol.py:41", {"method.out": 256}),
        ("byol/configs/byol.py:60", {"optim.momentum": 0.9}),
        ("byol/configs/byol.py:64", {"optim.warmup": 10 / 1000}),
        ("byol/utils/schedules.py:42, to 0", OFF | {"optim.lr_end": 0.0}),
        ("byol/utils/optimizers.py:101, rate outside", {"optim.name": "lars"}),
        ("byol/utils/optimizers.py:33", {"optim.decay_all": False}),
        ("byol/utils/dataset.py:210", at("global", scale=[0.08, 1.0], count=2)),
        ("byol/utils/dataset.py:212", at("global", ratio=[3 / 4, 4 / 3])),
        ("byol/utils/dataset.py:201", at("global", interpolation="sharp-bicubic")),
        ("byol/utils/augmentations.py:29", at("global", flip=0.5)),
        ("byol/utils/augmentations.py:33", jitter("global", 0.4, 0.4, 0.2, 0.1, p=0.8)),
        ("byol/utils/augmentations.py:239", at("global", colour="tensorflow-add")),
        ("byol/utils/augmentations.py:40", at("global", grey=0.2)),
        ("byol/utils/augmentations.py:44, 64", at("global", blur=[1.0, 0.1])),
        ("byol/utils/augmentations.py:48", at("global", sigma=[0.1, 2.0])),
        ("byol/utils/augmentations.py:50, 65", at("global", solarize=[0.0, 0.2])),
    ]


def _simsiam() -> list[Row]:
    return [
        ("main_simsiam.py:40", {"encoders.image.name": "resnet50"}),
        ("simsiam/builder.py:24", {"encoders.image.zero_init": True}),
        ("main_simsiam.py:47", {"train.epochs": 100}),
        ("main_simsiam.py:51", {"data.batch_size": 512}),
        ("main_simsiam.py:56, 157", {"optim.lr": 0.05, "optim.lr_per": 256}),
        ("main_simsiam.py:58", {"optim.momentum": 0.9}),
        ("main_simsiam.py:60", {"optim.weight_decay": 1e-4}),
        ("main_simsiam.py:86", {"method.out": 2048}),
        ("main_simsiam.py:88", {"method.bottleneck": 512}),
        ("simsiam/builder.py:28, 2048 of a ResNet-50", {"method.hidden": 2048}),
        ("README.md, --fix-pred-lr", {"method.fixed_predictor": True}),
        ("main_simsiam.py:199, all parameters", {"optim.decay_all": True, "optim.name": "sgd"}),
        ("main_simsiam.py:361, by epoch to 0", OFF | {"optim.by_epoch": True, "optim.lr_end": 0.0}),
        ("main_simsiam.py:361", {"optim.warmup": 0.0}),
        ("main_simsiam.py:230", at("global", scale=[0.2, 1.0], count=2)),
        ("main_simsiam.py:232", jitter("global", 0.4, 0.4, 0.4, 0.1, p=0.8)),
        ("main_simsiam.py:234", at("global", grey=0.2)),
        ("main_simsiam.py:235", at("global", blur=[0.5], sigma=[0.1, 2.0])),
        ("main_simsiam.py:236", at("global", flip=0.5, solarize=[0.0])),
        torchvision("global"),
    ]


def _swav(script: str) -> list[Row]:
    """What SwAV and DeepCluster-v2 share; the lines are those of SwAV's script."""
    views: list[Row] = []
    for family, count, size, scale in (
        ("global", 2, 0, [0.14, 1.0]),
        ("local", 6, 96, [0.05, 0.14]),
    ):
        views += [
            (f"{script}:28", at(family, count=count, size=size, scale=scale)),
            ("src/multicropdataset.py:48", at(family, flip=0.5, solarize=[0.0])),
            ("src/multicropdataset.py:71", at(family, blur=[0.5], sigma=[0.1, 2.0])),
            ("src/multicropdataset.py:90", jitter(family, 0.8, 0.8, 0.8, 0.2, p=0.8)),
            ("src/multicropdataset.py:92", at(family, grey=0.2)),
            torchvision(family),
        ]
    return [
        (f"{script}, --arch", {"encoders.image.name": "resnet50"}),
        ("src/resnet50.py:139", {"encoders.image.zero_init": False}),
        (f"{script}, --temperature", {"method.temperature": 0.1}),
        (f"{script}, --feat_dim", {"method.out": 128}),
        ("main_swav.py:107", {"method.hidden": 2048}),
        (f"{script}, --epochs", {"train.epochs": 800}),
        (f"{script}, 64 on 64 GPUs", {"data.batch_size": 64 * 64}),
        (f"{script}, --base_lr 4.8", {"optim.lr": 4.8 / (64 * 64 / 256), "optim.lr_per": 256}),
        (f"{script}, --wd", {"optim.weight_decay": 1e-6}),
        ("main_swav.py:171, all parameters in one group", {"optim.decay_all": True}),
        ("main_swav.py:174", {"optim.momentum": 0.9}),
        ("main_swav.py:177", OFF | {"optim.name": "larc"}),
        (f"{script}, --final_lr", {"optim.lr_end": 0.0048 / 4.8}),
        (f"{script}, --warmup_epochs", {"optim.warmup": 10 / 800}),
        (f"{script}, --start_warmup", {"optim.lr_start": 0.3 / 4.8}),
        *views,
    ]


def _dino() -> list[Row]:
    both: list[Row] = [
        row
        for family in ("global", "local")
        for row in (
            ("main_dino.py:422", at(family, flip=0.5)),
            ("main_dino.py:424", jitter(family, 0.4, 0.4, 0.2, 0.1, p=0.8)),
            ("main_dino.py:427", at(family, grey=0.2)),
            ("utils.py:40", at(family, sigma=[0.1, 2.0])),
            torchvision(family, interpolation="bicubic"),
        )
    ]
    return [
        ("README.md:165, 8 GPUs; main_dino.py:90", {"data.batch_size": 8 * 64}),
        ("main_dino.py:45, 50", {"encoders.image.name": "vit_small_patch16_224"}),
        ("main_dino.py:105", {"encoders.image.drop_path": 0.1}),
        ("vision_transformer.py:171", {"encoders.image.interpolation": "dino"}),
        ("vision_transformer.py:158", {"encoders.image.class_token": 0.02}),
        ("vision_transformer.py:211", {"encoders.image.pool": "cls"}),
        ("vision_transformer.py:157", {"encoders.image.positions": "learned"}),
        ("main_dino.py:55", {"method.prototypes": 65536}),
        ("main_dino.py:57", {"method.fixed_lengths": True}),
        ("main_dino.py:61", {"method.momentum.start": 0.996}),
        ("main_dino.py:250", {"method.momentum.end": 1.0}),
        ("main_dino.py:64", {"method.batch_norm": False}),
        ("main_dino.py:68", {"method.teacher_temperature.start": 0.04}),
        ("main_dino.py:71", {"method.teacher_temperature.end": 0.04}),
        ("main_dino.py:365", {"method.temperature": 0.1}),
        ("main_dino.py:366", {"method.center_momentum": 0.9}),
        ("vision_transformer.py:258", {"method.hidden": 2048, "method.bottleneck": 256}),
        ("main_dino.py:93", {"method.frozen_until": 1 / 100}),
        ("main_dino.py:92", {"train.epochs": 100}),
        ("main_dino.py:82", OFF | {"optim.weight_decay": 0.04}),
        ("main_dino.py:84", {"optim.weight_decay_end": 0.4}),
        ("utils.py:639", {"optim.decay_all": False}),
        ("main_dino.py:87; utils.py:133, each by itself", {"optim.clip": 3.0}),
        ("utils.py:133", {"optim.clip_each": True}),
        ("main_dino.py:96", {"optim.lr": 5e-4, "optim.lr_per": 256}),
        ("main_dino.py:99", {"optim.warmup": 10 / 100}),
        ("main_dino.py:101, of 5e-4 * 512 / 256", {"optim.lr_end": 1e-6 / 1e-3}),
        ("main_dino.py:103", {"optim.name": "adamw"}),
        ("main_dino.py:227, torch's default", {"optim.betas": [0.9, 0.999]}),
        ("main_dino.py:108", at("global", scale=[0.4, 1.0], count=2)),
        ("main_dino.py:111", at("local", count=8)),
        ("main_dino.py:115", at("local", scale=[0.05, 0.4])),
        ("main_dino.py:452", at("local", size=96)),
        ("main_dino.py:438, 445", at("global", blur=[1.0, 0.1])),
        ("main_dino.py:446", at("global", solarize=[0.0, 0.2])),
        ("main_dino.py:454", at("local", blur=[0.5], solarize=[0.0])),
        *both,
    ]


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


def _mae() -> list[Row]:
    return [
        ("PRETRAIN.md:11", {"encoders.image.name": "vit_base_patch16_224"}),
        ("models_mae.py:66", {"encoders.image.positions": "sincos"}),
        ("models_mae.py:80", {"encoders.image.class_token": 0.02}),
        ("models_mae.py:223", {"encoders.image.pool": "cls", "encoders.image.drop_path": 0.0}),
        ("models_mae.py:226", {"method.width": 512, "method.depth": 8, "method.heads": 16}),
        ("PRETRAIN.md:12", {"method.normalise_patches": True}),
        ("models_mae.py:223", {"method.token_inside": False}),
        ("PRETRAIN.md:13", at("global", **{"mask.ratio": 0.75})),
        ("models_mae.py:123", at("global", **{"mask.kind": "random", "mask.unit": 1})),
        ("arXiv:2111.06377 section 4.3; README.md", {"train.epochs": 1600}),
        ("PRETRAIN.md:15", {"optim.warmup": 40 / 1600}),
        ("PRETRAIN.md:16", {"optim.lr": 1.5e-4, "optim.lr_per": 256}),
        ("PRETRAIN.md:16", OFF | {"optim.weight_decay": 0.05}),
        ("PRETRAIN.md:19", {"data.batch_size": 4096}),
        ("main_pretrain.py:68", {"optim.lr_end": 0.0}),
        ("main_pretrain.py:179", {"optim.decay_all": False}),
        ("main_pretrain.py:180", {"optim.name": "adamw", "optim.betas": [0.9, 0.95]}),
        ("main_pretrain.py:124", at("global", scale=[0.2, 1.0], count=1)),
        ("main_pretrain.py:125", at("global", flip=0.5)),
        ("main_pretrain.py:126, nothing else", at("global", jitter=0.0, grey=0.0)),
        ("main_pretrain.py:126, nothing else", at("global", blur=[0.0], solarize=[0.0])),
        torchvision("global", interpolation="bicubic"),
    ]


def _crop_and_flip(source: str, *, scale: list[float], **rest: object) -> list[Row]:
    """Views of masked modelling: a crop, a flip and nothing else."""
    off = at("global", jitter=0.0, grey=0.0, blur=[0.0], solarize=[0.0])
    return [(source, at("global", scale=scale, count=1, **rest)), (f"{source}, nothing else", off)]


def _simmim() -> list[Row]:
    yaml = "configs/vit_base__800ep/simmim_pretrain__vit_base__img224__800ep.yaml"
    return [
        (f"{yaml}:4", {"encoders.image.drop_path": 0.1}),
        (f"{yaml}:6, 7, 8", {"encoders.image.name": "vit_base_patch16_224"}),
        ("ours: docs/methods/simmim.md", {"encoders.image.positions": "sincos"}),
        ("models/vision_transformer.py:260", {"encoders.image.class_token": 0.02}),
        ("ours: docs/methods/simmim.md", {"encoders.image.pool": "mean"}),
        (f"{yaml}:15; data/data_simmim.py:32", at("global", **{"mask.unit": 32 // 16})),
        (f"{yaml}:16", at("global", **{"mask.ratio": 0.6})),
        ("data/data_simmim.py:38", at("global", **{"mask.kind": "random"})),
        ("models/simmim.py:119", {"method.loss": "l1"}),
        (f"{yaml}:18", {"train.epochs": 800}),
        (f"{yaml}:19", {"optim.warmup": 10 / 800}),
        (f"{yaml}:20; main_simmim.py:218", OFF | {"optim.lr": 1e-4, "optim.lr_per": 512}),
        (f"{yaml}:21", {"optim.lr_start": 5e-7 / 1e-4}),
        (f"{yaml}:22", {"optim.weight_decay": 0.05}),
        ("ours, a cosine: docs/methods/simmim.md", {"optim.lr_end": 0.0}),
        ("config.py:102", {"optim.clip": 5.0}),
        ("config.py:125", {"optim.name": "adamw"}),
        ("config.py:129", {"optim.betas": [0.9, 0.999]}),
        ("optimizer.py:56", {"optim.decay_all": False}),
        ("README.md:119, 16 GPUs", {"data.batch_size": 16 * 128}),
        *_crop_and_flip("data/data_simmim.py:52", scale=[0.67, 1.0], flip=0.5),
        torchvision("global"),
    ]


def _maskfeat() -> list[Row]:
    yaml = "configs/masked_ssl/in1k_VIT_B_MaskFeat_PT.yaml"
    return [
        (f"{yaml}:5, 8 machines; arXiv:2112.09133 table 9", {"data.batch_size": 8 * 256}),
        (f"{yaml}:29", {"encoders.image.name": "vit_base_patch16_224"}),
        (f"{yaml}:33", {"encoders.image.drop_path": 0.0}),
        ("slowfast/config/defaults.py:531, 558", {"encoders.image.positions": "learned"}),
        ("slowfast/models/video_model_builder.py", {"encoders.image.class_token": 0.02}),
        ("ours: docs/methods/maskfeat.md", {"encoders.image.pool": "mean"}),
        ("slowfast/models/masked.py:45, 46", {"method.bins": 9, "method.cells": 16 // 8}),
        (f"{yaml}:47", at("global", **{"mask.ratio": 0.4})),
        ("slowfast/datasets/imagenet.py:187", at("global", **{"mask.kind": "block"})),
        ("slowfast/datasets/transform.py:776", at("global", **{"mask.unit": 1})),
        (f"{yaml}:52", OFF | {"optim.lr": 2e-4, "optim.lr_per": 256}),
        (f"{yaml}:54", {"train.epochs": 300}),
        (f"{yaml}:56", {"optim.weight_decay": 0.05}),
        (f"{yaml}:57", {"optim.warmup": 30 / 300}),
        (f"{yaml}:58", {"optim.lr_start": 1e-6 / 2e-4}),
        (f"{yaml}:59", {"optim.name": "adamw"}),
        ("slowfast/config/defaults.py:881", {"optim.betas": [0.9, 0.999]}),
        (f"{yaml}:61", {"optim.lr_end": 1e-6 / 2e-4}),
        (f"{yaml}:62", {"optim.decay_all": False}),
        (f"{yaml}:63", {"optim.clip": 0.02}),
        *_crop_and_flip(f"{yaml}:10", scale=[0.5, 1.0], flip=0.5),
        torchvision("global", interpolation="bicubic"),
    ]


def _data2vec() -> list[Row]:
    readme = "beit/README.md"
    return [
        (f"{readme}:23, 29", {"data.batch_size": 16 * 128}),
        (f"{readme}:25", {"encoders.image.name": "vit_base_patch16_224"}),
        ("ours: docs/methods/data2vec.md", {"encoders.image.positions": "sincos"}),
        ("beit/modeling_cyclical.py:122", {"encoders.image.class_token": 0.02}),
        ("ours: docs/methods/data2vec.md", {"encoders.image.pool": "mean"}),
        (f"{readme}:30", {"encoders.image.drop_path": 0.25}),
        (f"{readme}:27", {"method.average": 6}),
        (f"{readme}:28", {"method.momentum.start": 0.9998, "method.momentum.end": 0.9998}),
        (f"{readme}:28, from the first step", {"method.momentum.fraction": 0.0}),
        ("beit/engine_for_cyclical.py:53", {"method.momentum.by_epoch": False}),
        (f"{readme}:34", {"method.beta": 2.0}),
        (f"{readme}:24", at("global", **{"mask.ratio": 120 / 196})),
        (f"{readme}:33", at("global", **{"mask.kind": "block", "mask.unit": 1})),
        (f"{readme}:29", OFF | {"optim.lr": 2e-3, "optim.lr_per": 0}),
        (f"{readme}:29", {"optim.warmup": 10 / 800, "train.epochs": 800}),
        ("beit/run_cyclical.py:141", {"optim.lr_start": 1e-6 / 2e-3}),
        ("beit/run_cyclical.py:148", {"optim.lr_end": 1e-5 / 2e-3}),
        (f"{readme}:30", {"optim.clip": 3.0}),
        (f"{readme}:35", {"optim.weight_decay": 0.05}),
        ("beit/run_cyclical.py:87", {"optim.name": "adamw"}),
        ("beit/run_cyclical.py:100, torch's default", {"optim.betas": [0.9, 0.999]}),
        ("beit/optim_factory.py:65", {"optim.decay_all": False}),
        ("beit/transforms.py:83", at("global", scale=[0.08, 1.0], count=1)),
        ("beit/datasets.py:69", jitter("global", 0.4, 0.4, 0.4, 0.0, p=1.0)),
        ("beit/datasets.py:70", at("global", flip=0.5)),
        ("beit/datasets.py:68, nothing else", at("global", grey=0.0, blur=[0.0], solarize=[0.0])),
        torchvision("global", interpolation="bicubic"),
    ]


def _ijepa() -> list[Row]:
    yaml = "configs/in1k_vith14_ep300.yaml"
    return [
        (f"{yaml}:2, 16 GPUs (README.md:120)", {"data.batch_size": 16 * 128}),
        (f"{yaml}:36, 29", {"encoders.image.name": "vit_huge_patch14_gap_224"}),
        ("src/models/vision_transformer.py, VisionTransformer", {"encoders.image.pool": "mean"}),
        ("the same, get_2d_sincos_pos_embed", {"encoders.image.positions": "sincos"}),
        ("the same, no class token", {"encoders.image.class_token": 0.0}),
        (f"{yaml}:37, 38", {"method.width": 384, "method.depth": 12}),
        ("src/helper.py:84", {"method.heads": 16}),
        (f"{yaml}:42", {"method.momentum.start": 0.996, "method.momentum.end": 1.0}),
        (f"{yaml}:48", {"method.momentum.fraction": 1.0, "method.momentum.by_epoch": False}),
        (f"{yaml}:20", at("global", aspect=[0.75, 1.5])),
        (f"{yaml}:23", at("global", context=[0.85, 1.0])),
        (f"{yaml}:28", at("global", blocks=4)),
        (f"{yaml}:30", at("global", target=[0.15, 0.2])),
        ("ours: docs/methods/ijepa.md", at("global", shown=0.3)),
        ("src/masks/multiblock.py, blocks alone", at("global", **{"mask.ratio": 0.0})),
        (f"{yaml}:45", {"train.epochs": 300}),
        (f"{yaml}:46", {"optim.lr_end": 1e-6 / 1e-3}),
        (f"{yaml}:49", OFF | {"optim.lr": 1e-3, "optim.lr_per": 0}),
        (f"{yaml}:50", {"optim.lr_start": 2e-4 / 1e-3}),
        (f"{yaml}:51, 52", {"optim.warmup": 40 / 300, "optim.weight_decay": 0.04}),
        (f"{yaml}:47", {"optim.weight_decay_end": 0.4}),
        ("src/helper.py:142", {"optim.name": "adamw", "optim.betas": [0.9, 0.999]}),
        ("src/helper.py:130", {"optim.decay_all": False}),
        *_crop_and_flip(f"{yaml}:4, 14", scale=[0.3, 1.0], flip=0.0),
        torchvision("global"),
    ]


def _pirl() -> list[Row]:
    yaml = "configs/config/pretrain/pirl/pirl_jigsaw_4node_resnet50.yaml"
    both: list[Row] = [
        row
        for family in ("global", "tiles")
        for row in (
            (f"{yaml}:23", jitter(family, 0.4, 0.4, 0.4, 0.2, p=1.0)),
            (f"{yaml}:29", at(family, grey=0.2)),
            (f"{yaml}:31", at(family, flip=0.5)),
        )
    ]
    return [
        (f"{yaml}:14, 32 on 32 GPUs", {"data.batch_size": 32 * 32}),
        (f"{yaml}:18", at("global", scale=[0.08, 1.0], count=1)),
        (f"{yaml}:19", at("global", size=0)),
        (f"{yaml}:20", at("tiles", scale=[0.6, 1.0])),
        (f"{yaml}:21", at("tiles", grid=3, cell=255 // 3)),
        ("vissl/data/ssl_transforms/img_patches_tensor.py:25", at("tiles", size=85 - 21)),
        (f"{yaml}:45", {"encoders.image.name": "resnet50"}),
        ("vissl/config/defaults.yaml:666", {"encoders.image.zero_init": False}),
        (f"{yaml}:58", {"method.hidden": 0, "method.out": 128, "method.transform": "jigsaw"}),
        ("vissl/config/defaults.yaml:1018", {"method.loss": "nce"}),
        (f"{yaml}:72", {"method.temperature": 0.07}),
        (f"{yaml}:73", {"method.transformed": 0.5}),
        (f"{yaml}:76", {"method.negatives": 32000}),
        (f"{yaml}:81", {"method.momentum": 0.5}),
        (f"{yaml}:87", {"optim.name": "sgd"}),
        (f"{yaml}:88", OFF | {"optim.weight_decay": 1e-4}),
        (f"{yaml}:89", {"optim.momentum": 0.9}),
        (f"{yaml}:91", {"train.epochs": 800}),
        (f"{yaml}:93", {"optim.decay_all": False}),
        (f"{yaml}:99", {"optim.lr": 0.03, "optim.lr_per": 256, "optim.warmup": 0.0}),
        (f"{yaml}:103", {"optim.lr_end": 0.00012 / 0.12}),
        (f"{yaml}:104", {"optim.by_epoch": True}),
        ("no blur is named; solarising: docs/methods/pirl.md", at("global", blur=[0.0])),
        ("no blur is named; solarising: docs/methods/pirl.md", at("global", solarize=[0.0])),
        torchvision("global"),
        *both,
    ]


def _npidpp() -> list[Row]:
    yaml = "configs/config/pretrain/npid/npid++_4nodes_resnet.yaml"
    return [
        (f"{yaml}:17, 32 on 32 GPUs", {"data.batch_size": 32 * 32}),
        (f"{yaml}:20", jitter("global", 0.4, 0.4, 0.4, 0.4, p=1.0)),
        (f"{yaml}:25", at("global", scale=[0.08, 1.0], count=1)),
        (f"{yaml}:26", at("global", size=0)),
        (f"{yaml}:27", at("global", flip=0.5)),
        (f"{yaml}:28, nothing else", at("global", grey=0.0, blur=[0.0], solarize=[0.0])),
        (f"{yaml}:43", {"encoders.image.name": "resnet50"}),
        ("vissl/config/defaults.yaml:666", {"encoders.image.zero_init": False}),
        (f"{yaml}:45", {"method.hidden": 0, "method.out": 128}),
        ("vissl/config/defaults.yaml:1018", {"method.loss": "nce"}),
        (f"{yaml}:51", {"method.temperature": 0.07}),
        (f"{yaml}:54", {"method.negatives": 32000}),
        (f"{yaml}:59", {"method.momentum": 0.5}),
        ("vissl/losses/nce_loss.py, no such term", {"method.proximal": 0.0}),
        (f"{yaml}:63", {"optim.name": "sgd"}),
        (f"{yaml}:64", OFF | {"optim.weight_decay": 1e-4}),
        (f"{yaml}:65", {"optim.momentum": 0.9}),
        (f"{yaml}:66", {"train.epochs": 800}),
        (f"{yaml}:68", {"optim.decay_all": False}),
        (f"{yaml}:74", {"optim.lr": 0.03, "optim.lr_per": 256, "optim.warmup": 0.0}),
        (f"{yaml}:78", {"optim.lr_end": 0.00012 / 0.12}),
        (f"{yaml}:79", {"optim.by_epoch": True}),
        torchvision("global"),
    ]


def _mocov3() -> list[Row]:
    """What both networks share."""
    return [
        ("main_moco.py:60", {"data.batch_size": 4096}),
        ("main_moco.py:95", {"method.out": 256}),
        ("main_moco.py:97", {"method.hidden": 4096}),
        ("main_moco.py:101", {"method.momentum.end": 1.0}),
        ("main_moco.py:190", {"optim.lr_per": 256}),
        ("main_moco.py:265", jitter("global", 0.4, 0.4, 0.2, 0.1, p=0.8)),
        ("main_moco.py:267", at("global", grey=0.2, count=2)),
        ("main_moco.py:268, 280", at("global", blur=[1.0, 0.1], sigma=[0.1, 2.0])),
        ("main_moco.py:281", at("global", solarize=[0.0, 0.2])),
        ("main_moco.py:269", at("global", flip=0.5)),
        ("main_moco.py, adjust_learning_rate, to 0", OFF | {"optim.lr_end": 0.0}),
        torchvision("global"),
    ]


def _mocov3_resnet() -> list[Row]:
    return [
        *_mocov3(),
        ("main_moco.py:49", {"encoders.image.name": "resnet50"}),
        ("main_moco.py:186", {"encoders.image.zero_init": True}),
        ("CONFIG.md:44", {"optim.lr": 0.3, "optim.weight_decay": 1.5e-6, "train.epochs": 1000}),
        ("CONFIG.md:45", {"method.momentum.start": 0.996} | at("global", scale=[0.2, 1.0])),
        ("main_moco.py:104", {"method.temperature": 1.0}),
        ("main_moco.py:115", {"optim.warmup": 10 / 1000}),
        ("main_moco.py:112; moco/optimizer.py", {"optim.name": "lars", "optim.decay_all": False}),
        ("main_moco.py:67", {"optim.momentum": 0.9}),
        ("moco/builder.py:105", {"method.layers": 2, "method.frozen_patches": False}),
        ("moco/builder.py:109", {"method.predictor_norm": False}),
    ]


def _mocov3_vit() -> list[Row]:
    return [
        *_mocov3(),
        ("CONFIG.md:127", {"encoders.image.name": "vit_small_patch16_224"}),
        ("vits.py:117", {"encoders.image.heads": 12}),
        ("vits.py:29", {"encoders.image.positions": "sincos"}),
        ("vits.py:41, timm's own", {"encoders.image.class_token": 0.0}),
        ("vits.py:115, its class token", {"encoders.image.pool": "cls"}),
        ("vits.py:115, timm's default", {"encoders.image.drop_path": 0.0}),
        ("CONFIG.md:128", {"optim.name": "adamw", "optim.lr": 1.5e-4, "optim.weight_decay": 0.1}),
        ("CONFIG.md:129", {"train.epochs": 300, "optim.warmup": 40 / 300}),
        ("CONFIG.md:130", {"method.frozen_patches": True, "method.temperature": 0.2}),
        ("main_moco.py:99", {"method.momentum.start": 0.99}),
        ("main_moco.py:117", at("global", scale=[0.08, 1.0])),
        ("main_moco.py:229, all parameters in one group", {"optim.decay_all": True}),
        ("main_moco.py:229, torch's default", {"optim.betas": [0.9, 0.999]}),
        ("moco/builder.py:118", {"method.layers": 3}),
        ("moco/builder.py:122", {"method.predictor_norm": True}),
    ]


def _avid() -> list[Row]:
    yaml = "configs/main/avid/kinetics/Cross-N1024.yaml"
    return [
        (f"{yaml}:18", {"data.batch_size": 256}),
        (f"{yaml}:19, half a second", {"encoders.video.input.frames": 8}),
        (f"{yaml}:20", {"encoders.video.input.rate": 16.0}),
        (f"{yaml}:21", {"encoders.video.input.side": 224}),
        (f"{yaml}:22", {"encoders.audio.input.seconds": 2.0}),
        (f"{yaml}:23", {"encoders.audio.input.rate": 24000}),
        (f"{yaml}:24", {"encoders.audio.input.hop": 1 / 100}),
        (f"{yaml}:33, 40, ten clips of each an epoch", {"train.epochs": 30 * 10}),
        (f"{yaml}:38", {"optim.name": "adam"}),
        (f"{yaml}:39", OFF | {"optim.weight_decay": 1e-5}),
        ("main-avid.py:106, all parameters in one group", {"optim.decay_all": True}),
        ("utils/main_utils.py:255", {"optim.betas": [0.9, 0.999]}),
        (f"{yaml}:43", {"optim.lr": 2e-4, "optim.lr_per": 0, "optim.warmup": 0.0}),
        (f"{yaml}:44, nothing falls", {"optim.lr_end": 1.0}),
        (f"{yaml}:52", {"method.hidden": 512, "method.out": 128}),
        (f"{yaml}:55", {"encoders.video.width": 64, "encoders.video.depth": 2}),
        ("models/audio.py:24", {"encoders.audio.width": 64, "encoders.audio.depth": 2}),
        (f"{yaml}:64", {"method.negatives": 1024}),
        (f"{yaml}:65", {"method.momentum": 0.5}),
        (f"{yaml}:66", {"method.terms": "cross"}),
        ("criterions/avid.py:32", {"method.temperature": 0.07}),
        ("datasets/preprocessing.py:18", jitter("video", 0.4, 0.4, 0.4, 0.2, p=1.0)),
        ("datasets/preprocessing.py:35", at("video", scale=[0.08, 1.0], count=1)),
        ("utils/videotransforms/video_transforms.py:318", at("video", ratio=[3 / 4, 4 / 3])),
        ("datasets/preprocessing.py:36", at("video", flip=0.5)),
        ("datasets/preprocessing.py:37, nothing else", at("video", grey=0.0, blur=0.0)),
        ("utils/videotransforms/video_transforms.py:318", at("video", interpolation="bilinear")),
        ("datasets/preprocessing.py:117", at("audio", gain=0.1, count=1)),
        ("utils/main_utils.py:207", at("audio", offset=0.5)),
        ("ours: log-mel bands (docs/methods/avid.md)", {"encoders.audio.input.bins": 128}),
    ]


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


def _deepcluster_v1() -> list[Row]:
    return [
        ("ours: a ResNet-50 for their AlexNet and VGG-16", {"encoders.image.name": "resnet50"}),
        ("ours: a ResNet-50 for their AlexNet and VGG-16", {"encoders.image.zero_init": False}),
        ("main.sh:11", {"optim.lr": 0.05, "optim.lr_per": 0}),
        ("main.py:84, nothing falls", OFF | {"optim.lr_end": 1.0, "optim.warmup": 0.0}),
        ("main.sh:12", {"optim.weight_decay": 1e-5}),
        ("main.py:84, all parameters in one group", {"optim.decay_all": True}),
        ("main.py:56", {"optim.name": "sgd", "optim.momentum": 0.9}),
        ("main.sh:13", {"method.clusters": 10000}),
        ("main.py:50", {"train.epochs": 200}),
        ("main.py:54", {"data.batch_size": 256}),
        ("clustering.py:21", {"method.components": 256}),
        ("clustering.py, run_kmeans", {"method.rounds": 20}),
        ("clustering.py, cluster_assign", at("global", scale=[0.08, 1.0], count=1, size=0)),
        ("clustering.py, cluster_assign", at("global", flip=0.5, jitter=0.0, grey=0.0)),
        ("clustering.py, cluster_assign", at("global", blur=[0.0], solarize=[0.0])),
        torchvision("global"),
    ]


def _sela() -> list[Row]:
    return [
        ("scripts/resnet.sh:7", {"encoders.image.name": "resnet50"}),
        ("ours: as torchvision's", {"encoders.image.zero_init": False}),
        ("scripts/resnet.sh:8", {"method.heads": 10}),
        ("scripts/resnet.sh:9", {"method.clusters": 3000}),
        ("scripts/resnet.sh:13", {"data.batch_size": 256}),
        ("scripts/resnet.sh:14", {"train.epochs": 400}),
        ("scripts/resnet.sh:18", {"method.labellings": 100}),
        ("main.py:188", {"method.sharpness": 25.0}),
        ("sinkhornknopp.py, optimize_L_sk", {"method.tolerance": 0.1}),
        ("main.py:180", {"optim.lr": 0.08, "optim.lr_per": 0}),
        ("main.py:182", {"optim.weight_decay": 1e-5}),
        ("main.py:137, all parameters in one group", {"optim.decay_all": True}),
        ("main.py:137", {"optim.name": "sgd", "optim.momentum": 0.9}),
        ("ours: a cosine, for steps every 150", OFF | {"optim.lr_end": 0.0, "optim.warmup": 0.0}),
        ("data.py:58", at("global", scale=[0.08, 1.0], count=1, size=0)),
        ("data.py:59", at("global", grey=0.2)),
        ("data.py:60", jitter("global", 0.4, 0.4, 0.4, 0.4, p=1.0)),
        ("data.py:61", at("global", flip=0.5)),
        ("data.py:56, nothing else", at("global", blur=[0.0], solarize=[0.0])),
        torchvision("global"),
    ]


_SCRIPT = "scripts/swav_800ep_pretrain.sh"
_DEEP = "scripts/deepclusterv2_800ep_pretrain.sh"

AUTHORS: dict[str, tuple[str, list[Row]]] = {
    "simclr-imagenet": ("google-research/simclr", _simclr()),
    "moco-imagenet": ("facebookresearch/moco", _moco()),
    "byol-imagenet": ("google-deepmind/deepmind-research", _byol()),
    "simsiam-imagenet": ("facebookresearch/simsiam", _simsiam()),
    "swav-imagenet": (
        "facebookresearch/swav",
        [
            *_swav(_SCRIPT),
            (f"{_SCRIPT}, --epsilon", {"method.sharpness": 0.05}),
            (f"{_SCRIPT}, --sinkhorn_iterations", {"method.rounds": 3}),
            (f"{_SCRIPT}, --nmb_prototypes", {"method.prototypes": 3000}),
            (f"{_SCRIPT}, --queue_length", {"method.queue": 0}),
            # 313 steps are one epoch.
            (f"{_SCRIPT}, --freeze_prototypes_niters", {"method.frozen_until": 1 / 800}),
        ],
    ),
    "dino-imagenet": ("facebookresearch/dino", _dino()),
    "barlow-imagenet": ("facebookresearch/barlowtwins", _barlow()),
    "vicreg-imagenet": ("facebookresearch/vicreg", _vicreg()),
    "mae-imagenet": ("facebookresearch/mae", _mae()),
    "npidpp-imagenet": ("facebookresearch/vissl", _npidpp()),
    "mocov3-imagenet": ("facebookresearch/moco-v3", _mocov3_resnet()),
    "mocov3-vit-imagenet": ("facebookresearch/moco-v3", _mocov3_vit()),
    "maskfeat-imagenet": ("facebookresearch/SlowFast", _maskfeat()),
    "data2vec-imagenet": ("facebookresearch/data2vec_vision", _data2vec()),
    "ijepa-imagenet": ("facebookresearch/ijepa", _ijepa()),
    "simmim-imagenet": ("microsoft/SimMIM", _simmim()),
    "pirl-imagenet": ("facebookresearch/vissl", _pirl()),
    "deepcluster-imagenet": (
        "facebookresearch/swav",
        [
            *_swav(_DEEP),
            (f"{_DEEP}, --nmb_prototypes", {"method.prototypes": [3000] * 3}),
            ("main_deepclusterv2.py:345", {"method.rounds": 10}),
        ],
    ),
    "rotation-imagenet": ("open-mmlab/mmselfsup", _rotation()),
    "jigsaw-imagenet": ("facebookresearch/vissl", _jigsaw()),
    "context-imagenet": ("open-mmlab/mmselfsup", _context()),
    "deepcluster-v1-imagenet": ("facebookresearch/deepcluster", _deepcluster_v1()),
    "sela-imagenet": ("yukimasano/self-label", _sela()),
    "avid-kinetics": ("facebookresearch/AVID-CMA", _avid()),
}
"""Recipe -> the repository, and what it says."""
