"""What the authors' code says of recipes in `recipes/masked/`."""

import math

from authors.table import IMAGENET_IMAGES, OFF, PIXELS, Row, at, jitter, torchvision


def _mae() -> list[Row]:
    return [
        ("PRETRAIN.md:11", {"encoders.image.name": "vit_base_patch16_224"}),
        ("models_mae.py:66", {"encoders.image.positions": "sincos"}),
        ("models_mae.py:80", {"encoders.image.class_token": 0.02}),
        ("models_mae.py:223", {"encoders.image.pool": "cls", "encoders.image.drop_path": 0.0}),
        ("models_mae.py:226", {"method.width": 512, "method.depth": 8, "method.heads": 16}),
        ("models_mae.py:58", {"method.attention": "global"}),
        ("PRETRAIN.md:12", {"method.normalise_patches": True}),
        ("models_mae.py:223", {"method.token_inside": False}),
        ("models_mae.py, forward_loss, over all values", {"method.by_channel": False}),
        (
            "models_mae.py, forward_loss, pixels",
            PIXELS,
        ),
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


def _hiera() -> list[Row]:
    paper = "arXiv:2306.00989 appendix, pre-training on ImageNet"
    size = {"width": 0, "heads": 0, "depths": []}
    return [
        ("hiera_mae.py:318", {"encoders.image.name": "hiera_base", "encoders.image.pools": 2}),
        (
            "hiera_mae.py:404, all else its default",
            {f"encoders.image.{k}": v for k, v in size.items()},
        ),
        ("hiera.py:225", {"encoders.image.patch": 4}),
        ("hiera_mae.py:74", {"encoders.image.fusion": True}),
        ("hiera_mae.py:47", {"method.width": 512, "method.depth": 8, "method.heads": 16}),
        ("hiera_mae.py, decoder blocks", {"method.attention": "global"}),
        ("hiera_mae.py:148", {"method.normalise_patches": True, "method.by_channel": False}),
        (
            "hiera_mae.py:148, pixels",
            PIXELS,
        ),
        ("hiera.py:416, hidden units are left out", {"method.token_inside": False}),
        ("hiera_mae.py:280", at("global", **{"mask.ratio": 0.6})),
        ("hiera.py:219, units of 8 x 8 tokens, pooled twice", at("global", **{"mask.unit": 2})),
        ("hiera.py:352", at("global", **{"mask.kind": "random"})),
        (paper, {"optim.name": "adamw", "optim.betas": [0.9, 0.95], "optim.weight_decay": 0.05}),
        (paper, {"optim.lr": 8e-4, "optim.lr_per": 0, "data.batch_size": 4096}),
        (paper, {"optim.warmup": 40 / 1600, "train.epochs": 1600, "optim.lr_end": 0.0}),
        (paper, {"encoders.image.drop_path": 0.2}),
        ("hiera.py:346, positions and vectors", OFF | {"optim.decay_all": False}),
        *_crop_and_flip(paper, scale=[0.2, 1.0], flip=0.5),
        torchvision("global", interpolation="bicubic"),
    ]


def _beit() -> list[Row]:
    run, args = "beit/README.md:136", "beit/run_beit_pretraining.py"
    return [
        (f"{run}, but for its positions", {"encoders.image.name": "vit_base_patch16_224"}),
        ("ours, relative positions in each block", {"encoders.image.positions": "learned"}),
        ("beit/modeling_finetune.py, use_mean_pooling", {"encoders.image.pool": "mean"}),
        ("beit/modeling_pretrain.py:75", {"encoders.image.class_token": 0.02, "method.head": 0.02}),
        (run, {"encoders.image.drop_path": 0.1, "data.batch_size": 128 * 16}),
        (run, {"optim.lr": 1.5e-3, "optim.lr_per": 0, "optim.warmup": 10 / 800}),
        (run, {"train.epochs": 800}),
        (f"{run}; {args}:75", OFF | {"optim.clip": 3.0, "optim.weight_decay": 0.05}),
        (f"{args}:83", {"optim.lr_start": 1e-6 / 1.5e-3}),
        (f"{args}:85", {"optim.lr_end": 1e-5 / 1.5e-3}),
        (f"{args}:65, 69", {"optim.name": "adamw", "optim.betas": [0.9, 0.999]}),
        ("beit/optim_factory.py, vectors are spared", {"optim.decay_all": False}),
        (f"{run}, of 14 x 14", at("global", **{"mask.ratio": 75 / 196, "mask.kind": "block"})),
        ("beit/masking_generator.py", at("global", **{"mask.unit": 1})),
        ("beit/datasets.py, ColorJitter", jitter("global", 0.4, 0.4, 0.4, 0.0, p=1.0)),
        ("beit/transforms.py", at("global", scale=[0.08, 1.0], count=1, flip=0.5)),
        ("beit/datasets.py, nothing else", at("global", grey=0.0, blur=[0.0], solarize=[0.0])),
        ("yours to name", {"teachers.tokenizer.source": "", "teachers.tokenizer.encoder": ""}),
        ("yours to name", {"teachers.tokenizer.image_size": 0, "teachers.tokenizer.whole": False}),
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


def _capi() -> list[Row]:
    yaml, last = "default_pretrain_config.yaml", (1 + math.cos(0.8 * math.pi)) / 2
    return [
        (f"{yaml}:3, 37, nodes of 8 GPUs", {"data.batch_size": 4 * 8 * 512}),
        (f"{yaml}:35, as epochs", {"train.epochs": round(500_000 * 16384 / IMAGENET_IMAGES)}),
        (f"{yaml}:70, 76; model.py, patch_size", {"encoders.image.name": "vit_large_patch14_224"}),
        ("ours, rotary positions", {"encoders.image.positions": "sincos"}),
        ("ours, the predictor's first block", {"encoders.image.pool": "mean"}),
        (f"{yaml}:71", {"encoders.image.drop_path": 0.2}),
        (f"{yaml}:17", {"method.prototypes": 16384}),
        (f"{yaml}:18", {"method.temperature": 0.12}),
        (f"{yaml}:20", {"method.target_temperature": 0.06}),
        (f"{yaml}:21", {"method.cluster_temperature": 0.12}),
        (f"{yaml}:22", {"method.rounds": 3}),
        (f"{yaml}:29, of the rate in 43", {"method.cluster_lr": 5e-4 / 1e-3}),
        (f"{yaml}:70, 74, of both networks", {"method.width": 1024, "method.heads": 16}),
        (f"{yaml}, decoder_kwargs", {"method.depth": 12}),
        (f"{yaml}:47", {"method.patch_embedding": 0.2}),
        (f"{yaml}:51, 52", {"method.momentum.start": 1.0, "method.momentum.peak": 0.999}),
        (f"{yaml}:54", {"method.momentum.warmup": 50_000 / 500_000}),
        (f"{yaml}:53, 55", {"method.momentum.end": 1 - (1 - 0.999) * last}),
        ("utils.py, WarmupThenCosine, with every step", {"method.momentum.by_epoch": False}),
        (f"{yaml}:60", {"method.predicted": 0.05}),
        (f"{yaml}:59, 64", at("global", **{"mask.ratio": int(256 * 0.65) / 256})),
        (f"{yaml}:64, 66", at("global", **{"mask.kind": "around", "mask.unit": 1})),
        (f"{yaml}:38, 40", {"optim.name": "adamw", "optim.betas": [0.9, 0.95]}),
        (f"{yaml}:41", OFF | {"optim.weight_decay": 0.1}),
        (f"{yaml}:43", {"optim.lr": 1e-3, "optim.lr_per": 0}),
        (f"{yaml}:44, 46", {"optim.lr_end": last}),
        (f"{yaml}:45", {"optim.warmup": 50_000 / 500_000}),
        ("ours, a tenth for norms, none for biases", {"optim.decay_all": False}),
        *_crop_and_flip(f"{yaml}:61, 63", scale=[0.6, 1.0], flip=0.5),
        torchvision("global", interpolation="bicubic"),
    ]


def _igpt() -> list[Row]:
    paper = "Generative Pretraining from Pixels, section"
    crop = [(224 / 384) ** 2, (224 / 256) ** 2]
    return [
        ("src/run.py:31", {"encoders.image.width": 512}),
        (
            "src/run.py:32, 33, 64 channels a head",
            {"encoders.image.heads": 0, "encoders.image.depth": 24},
        ),
        ("src/run.py:34", {"encoders.image.input.side": 32}),
        ("src/run.py:35", {"encoders.image.colours": 512}),
        ("src/model.py:168", {"method.init": 0.0}),
        ("ours, of k-means", {"method.pixels": 8}),
        (f"{paper} 3.4", {"data.batch_size": 128, "train.steps": 1_000_000, "train.epochs": 0}),
        (f"{paper} 3.4", OFF | {"optim.name": "adam", "optim.betas": [0.9, 0.95]}),
        (f"{paper} 3.4", {"optim.warmup": IMAGENET_IMAGES // 128 / 1e6, "optim.lr_end": 0.0}),
        (f"{paper} 3.4, one of those tried", {"optim.lr": 0.003, "optim.lr_per": 0}),
        (f"{paper} 3.4, none", {"optim.weight_decay": 0.0, "optim.decay_all": False}),
        *_crop_and_flip(f"{paper} 3.1, of square images", scale=crop, ratio=[1.0, 1.0], flip=0.0),
        ("ours, no filter is said", at("global", interpolation="bicubic", colour="torchvision")),
        (f"{paper} 2.1, none", at("global", **{"mask.ratio": 0.0})),
    ]


AUTHORS: dict[str, tuple[str, list[Row]]] = {
    "mae-imagenet": ("facebookresearch/mae", _mae()),
    "mae-hiera-imagenet": ("facebookresearch/hiera", _hiera()),
    "beit-imagenet": ("microsoft/unilm", _beit()),
    "maskfeat-imagenet": ("facebookresearch/SlowFast", _maskfeat()),
    "data2vec-imagenet": ("facebookresearch/data2vec_vision", _data2vec()),
    "ijepa-imagenet": ("facebookresearch/ijepa", _ijepa()),
    "capi-imagenet": ("facebookresearch/capi", _capi()),
    "igpt-imagenet": ("openai/image-gpt", _igpt()),
    "simmim-imagenet": ("microsoft/SimMIM", _simmim()),
}
