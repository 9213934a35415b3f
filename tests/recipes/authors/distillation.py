"""What the authors' code says of recipes in `recipes/distillation/`."""

import math

from authors.table import IMAGENET_IMAGES, OFF, Row, at, jitter, torchvision


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


def _half_masked(*, least: str, most: str, kind: str) -> list[Row]:
    """Half the global views, with blocks of a tenth to a half; where each of that stands."""
    return [
        (least, at("global", least=0.1, masked=0.5)),
        (most, at("global", **{"mask.ratio": 0.5})),
        (kind, at("global", **{"mask.kind": "block", "mask.unit": 1})),
    ]


def _ibot() -> list[Row]:
    both: list[Row] = [
        row
        for family in ("global", "local")
        for row in (
            ("main_ibot.py:577", at(family, flip=0.5)),
            ("main_ibot.py:579", jitter(family, 0.4, 0.4, 0.2, 0.1, p=0.8)),
            ("main_ibot.py:582", at(family, grey=0.2)),
            ("utils.py:33", at(family, sigma=[0.1, 2.0])),
            torchvision(family, interpolation="bicubic"),
        )
    ]
    ramp = {"fraction": 30 / 800, "by_epoch": True}
    return [
        ("README.md:65, 70, 16 GPUs", {"data.batch_size": 16 * 64}),
        ("README.md:65; main_ibot.py:39", {"encoders.image.name": "vit_small_patch16_224"}),
        ("main_ibot.py:125", {"encoders.image.drop_path": 0.1}),
        ("models/vision_transformer.py:195", {"encoders.image.interpolation": "dino"}),
        ("models/vision_transformer.py:166", {"encoders.image.class_token": 0.02}),
        ("models/head.py:172", {"encoders.image.pool": "cls"}),
        ("models/vision_transformer.py:165", {"encoders.image.positions": "learned"}),
        ("README.md:71, 72", {"method.prototypes": 8192, "method.patch_prototypes": 0}),
        ("README.md:68", {"method.fixed_lengths": False}),
        ("models/head.py:148", {"method.hidden": 2048, "method.bottleneck": 256}),
        ("main_ibot.py:64", {"method.batch_norm": False}),
        ("main_ibot.py:77, 79", {"method.patches": 1.0}),
        ("main_ibot.py:481", {"method.temperature": 0.1}),
        ("main_ibot.py:482", {"method.center_momentum": 0.9}),
        ("main_ibot.py:83, 89", {"method.teacher_temperature.start": 0.04}),
        ("main_ibot.py:83, 89", {"method.patch_temperature.start": 0.04}),
        ("README.md:66; main_ibot.py:91", {"method.teacher_temperature.end": 0.07}),
        ("README.md:66; main_ibot.py:91", {"method.patch_temperature.end": 0.07}),
        ("README.md:67", {f"method.teacher_temperature.{k}": v for k, v in ramp.items()}),
        ("README.md:67", {f"method.patch_temperature.{k}": v for k, v in ramp.items()}),
        ("main_ibot.py:61", {"method.momentum.start": 0.996}),
        ("main_ibot.py:317", {"method.momentum.end": 1.0}),
        ("main_ibot.py:112", {"method.frozen_until": 1 / 800}),
        ("README.md:69", {"train.epochs": 800}),
        ("main_ibot.py:101", OFF | {"optim.weight_decay": 0.04}),
        ("main_ibot.py:103", {"optim.weight_decay_end": 0.4}),
        ("utils.py:705", {"optim.decay_all": False}),
        ("main_ibot.py:106; utils.py:154, each by itself", {"optim.clip": 3.0}),
        ("utils.py:154", {"optim.clip_each": True}),
        ("main_ibot.py:115", {"optim.lr": 5e-4, "optim.lr_per": 256}),
        ("main_ibot.py:118", {"optim.warmup": 10 / 800}),
        ("main_ibot.py:120, of 5e-4 * 1024 / 256", {"optim.lr_end": 1e-6 / 2e-3}),
        ("main_ibot.py:122", {"optim.name": "adamw"}),
        ("main_ibot.py:297, torch's default", {"optim.betas": [0.9, 0.999]}),
        ("README.md:74; main_ibot.py:128", at("global", scale=[0.25, 1.0], count=2)),
        ("README.md:73, 75", at("local", count=10, scale=[0.05, 0.25])),
        ("main_ibot.py:608", at("local", size=96)),
        ("main_ibot.py:594, 601", at("global", blur=[1.0, 0.1])),
        ("main_ibot.py:602", at("global", solarize=[0.0, 0.2])),
        ("main_ibot.py:610", at("local", blur=[0.5], solarize=[0.0])),
        *_half_masked(
            least="README.md:76, one of 0 and 0.3 - 0.2",
            most="README.md:77, 0.3 + 0.2",
            kind="main_ibot.py:74",
        ),
        *both,
    ]


def _dinov2() -> list[Row]:
    yaml, train = "dinov2/configs/ssl_default_config.yaml", "dinov2/train/train.py"
    views = "dinov2/data/augmentations.py"
    both: list[Row] = [
        row
        for family in ("global", "local")
        for row in (
            (f"{views}:49, 58", at(family, flip=0.5)),
            (f"{views}:66", jitter(family, 0.4, 0.4, 0.2, 0.1, p=0.8)),
            (f"{views}:69", at(family, grey=0.2)),
            ("dinov2/data/transforms.py:17", at(family, sigma=[0.1, 2.0])),
            torchvision(family, interpolation="bicubic"),
        )
    ]
    lr = 0.004 * (2048 / 1024) ** 0.5
    return [
        ("README.md, 4 nodes of 8 GPUs of 64", {"data.batch_size": 4 * 8 * 64}),
        # 125,000 steps of 2048 images, in whole passes over ImageNet-1k.
        (f"{yaml}, epochs of 1250 steps", {"train.epochs": round(125e3 * 2048 / IMAGENET_IMAGES)}),
        ("vitl16_short.yaml; timm's, of patch 14", {"encoders.image.patch": 16}),
        (f"{yaml}, arch, layerscale", {"encoders.image.name": "vit_large_patch14_dinov2"}),
        (f"{yaml}, drop_path_rate", {"encoders.image.drop_path": 0.3}),
        (f"{yaml}, interpolate_offset", {"encoders.image.interpolation": "dinov2"}),
        ("dinov2/models/vision_transformer.py:175", {"encoders.image.class_token": 0.0}),
        ("dinov2/train/ssl_meta_arch.py:157", {"encoders.image.pool": "cls"}),
        ("dinov2/models/vision_transformer.py:174", {"encoders.image.positions": "learned"}),
        (f"{yaml}, head_hidden_dim", {"method.hidden": 2048}),
        (f"{yaml}, head_bottleneck_dim", {"method.bottleneck": 256}),
        (f"{yaml}, ibot.head_bottleneck_dim", {"method.patch_bottleneck": 256}),
        (f"{yaml}, head_n_prototypes", {"method.prototypes": 65536}),
        (f"{yaml}, separate_head", {"method.patch_prototypes": 0}),
        ("dinov2/layers/dino_head.py:17", {"method.batch_norm": False}),
        (f"{yaml}, ibot.loss_weight", {"method.patches": 1.0}),
        (f"{yaml}, koleo_loss_weight", {"method.koleo": 0.1}),
        (f"{yaml}, centering", {"method.balance": "center"}),
        ("dinov2/loss/dino_clstoken_loss.py:35, not used", {"method.rounds": 3}),
        ("dinov2/loss/dino_clstoken_loss.py:16", {"method.temperature": 0.1}),
        ("dinov2/loss/dino_clstoken_loss.py:17", {"method.center_momentum": 0.9}),
        (f"{yaml}, warmup_teacher_temp", {"method.teacher_temperature.start": 0.04}),
        (f"{yaml}, teacher_temp", {"method.teacher_temperature.end": 0.07}),
        (
            f"{yaml}, warmup_teacher_temp_epochs; {train}, step by step",
            {
                "method.teacher_temperature.fraction": 30 / 100,
                "method.teacher_temperature.by_epoch": False,
            },
        ),
        (f"{yaml}, momentum_teacher", {"method.momentum.start": 0.992}),
        (f"{yaml}, final_momentum_teacher", {"method.momentum.end": 1.0}),
        (f"{yaml}, freeze_last_layer_epochs", {"method.frozen_until": 1 / 100}),
        (f"{yaml}, patch_embed_lr_mult", {"method.patch_embedding": 0.2}),
        (f"{yaml}, weight_decay", OFF | {"optim.weight_decay": 0.04}),
        (f"{yaml}, weight_decay_end", {"optim.weight_decay_end": 0.4}),
        ("dinov2/utils/param_groups.py:78", {"optim.decay_all": False}),
        (f"{yaml}, clip_grad", {"optim.clip": 3.0}),
        (f"{yaml}, layerwise_decay", {"optim.layer_decay": 0.9}),
        (f"{yaml}, base_lr, sqrt_wrt_1024", {"optim.lr": lr, "optim.lr_per": 0}),
        (f"{yaml}, min_lr", {"optim.lr_end": 1e-6 / lr}),
        (f"{yaml}, warmup_epochs", {"optim.warmup": 10 / 100}),
        (f"{yaml}, adamw_beta1, adamw_beta2", {"optim.betas": [0.9, 0.999]}),
        (f"{train}, build_optimizer", {"optim.name": "adamw"}),
        (f"{yaml}, global_crops_scale", at("global", scale=[0.32, 1.0], count=2)),
        (f"{yaml}, local_crops_number", at("local", scale=[0.05, 0.32], count=8, size=96)),
        # Their GaussianBlur turns its probability round (dinov2/data/transforms.py:19).
        (f"{views}:73, 77", at("global", blur=[1 - 1.0, 1 - 0.1])),
        (f"{views}:78", at("global", solarize=[0.0, 0.2])),
        (f"{views}:82", at("local", blur=[1 - 0.5], solarize=[0.0])),
        *_half_masked(
            least=f"{yaml}, mask_ratio_min_max, mask_sample_probability",
            most=f"{yaml}, mask_ratio_min_max",
            kind="dinov2/data/masking.py",
        ),
        *both,
    ]


def _msn() -> list[Row]:
    yaml = "configs/pretrain/msn_vits16.yaml"
    both: list[Row] = [
        row
        for family, line in (("global", 86), ("local", 96))
        for row in (
            (f"src/data_manager.py:{line + 1}", at(family, flip=0.5)),
            (f"{yaml}:13; src/data_manager.py:77", jitter(family, 0.4, 0.4, 0.4, 0.1, p=0.8)),
            ("src/data_manager.py:79", at(family, grey=0.2)),
            (f"src/data_manager.py:{line + 3}", at(family, blur=[0.5], solarize=[0.0])),
            ("src/data_manager.py:238", at(family, sigma=[0.1, 2.0])),
            torchvision(family),
        )
    ]
    # What half a cosine over 1.25 times the epochs has come to when training ends.
    rate = (1 + math.cos(math.pi * (800 - 15) / (1.25 * 800 - 15))) / 2
    decay = (1 + math.cos(math.pi / 1.25)) / 2
    return [
        (f"{yaml}:3, 5", {"method.sharpening": 0.25, "method.spread": 1.0}),
        (f"{yaml}:6", {"method.prototypes": 1024}),
        (f"{yaml}:8", {"method.temperature": 0.1}),
        (f"{yaml}:9; README.md, on 16 GPUs", {"data.batch_size": 16 * 64}),
        (f"{yaml}:11; src/losses.py:90", {"method.rounds": 3}),
        ("src/losses.py:66, the uniform prior", {"method.prior": 0.0}),
        (f"{yaml}:18", at("global", **{"mask.ratio": 0.15})),
        ("src/deit.py:253", at("global", **{"mask.kind": "random", "mask.unit": 1})),
        (f"{yaml}:20, 22", at("local", size=96, count=10)),
        (f"{yaml}:21; src/msn_train.py:197", at("global", count=1 + 1)),
        ("src/data_manager.py:67", at("global", scale=[0.3, 1.0])),
        ("src/data_manager.py:68", at("local", scale=[0.05, 0.3])),
        (f"{yaml}:30", {"encoders.image.drop_path": 0.0}),
        (f"{yaml}:31, 34", {"method.hidden": 2048, "method.out": 256}),
        (f"{yaml}:33", {"encoders.image.name": "vit_small_patch16_224"}),
        ("src/deit.py:197", {"encoders.image.class_token": 0.02}),
        ("src/deit.py:196", {"encoders.image.positions": "learned"}),
        ("src/deit.py:261", {"encoders.image.pool": "cls"}),
        ("src/deit.py:302, by size alone", {"encoders.image.interpolation": "mae"}),
        (f"{yaml}:40, all together", OFF | {"optim.clip": 3.0}),
        (f"{yaml}:41", {"train.epochs": 800}),
        (f"{yaml}:42, cut off", {"optim.lr_end": (1e-6 + (1e-3 - 1e-6) * rate) / 1e-3}),
        (f"{yaml}:43, cut off", {"optim.weight_decay_end": 0.4 + (0.04 - 0.4) * decay}),
        (f"{yaml}:44, as it is", {"optim.lr": 1e-3, "optim.lr_per": 0}),
        (f"{yaml}:45", {"optim.lr_start": 2e-4 / 1e-3}),
        (f"{yaml}:46", {"optim.warmup": 15 / 800}),
        (f"{yaml}:47", {"optim.weight_decay": 0.04}),
        ("src/msn_train.py:548", {"optim.name": "adamw", "optim.betas": [0.9, 0.999]}),
        ("src/msn_train.py:530", {"optim.decay_all": False}),
        ("src/msn_train.py:253", {"method.momentum.start": 0.996}),
        ("src/msn_train.py:254, cut off", {"method.momentum.end": 0.996 + 0.004 / 1.25}),
        ("src/msn_train.py:255", {"method.momentum.fraction": 1.0}),
        ("src/msn_train.py:375", {"method.momentum.by_epoch": False}),
        *both,
    ]


AUTHORS: dict[str, tuple[str, list[Row]]] = {
    "byol-imagenet": ("google-deepmind/deepmind-research", _byol()),
    "simsiam-imagenet": ("facebookresearch/simsiam", _simsiam()),
    "dino-imagenet": ("facebookresearch/dino", _dino()),
    "ibot-imagenet": ("bytedance/ibot", _ibot()),
    "dinov2-imagenet": ("facebookresearch/dinov2", _dinov2()),
    "msn-imagenet": ("facebookresearch/msn", _msn()),
}
