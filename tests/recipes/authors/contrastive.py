"""What the authors' code says of recipes in `recipes/contrastive/`."""

from authors.table import IMAGENET_IMAGES, OFF, Row, at, jitter, torchvision


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
        ("moco/builder.py, no tiles", {"method.jigsaw": 0.0}),
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


def _simclrv2() -> list[Row]:
    return [
        *_simclr(),
        ("run.py:207, num_proj_layers", {"method.layers": 3}),
        ("README.md:102, by the root", {"optim.lr": 0.075 * 4096**0.5, "optim.lr_per": 0}),
        ("README.md:102", {"optim.weight_decay": 1e-4, "train.epochs": 100}),
        ("run.py:51", {"optim.warmup": 10 / 100}),
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
        ("vissl/losses/nce_loss.py, rows at random", {"method.filled": False}),
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
        ("vissl/losses/nce_loss.py, rows at random", {"method.filled": False}),
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


def _amdim() -> list[Row]:
    return [
        ("ours: for a network of theirs", {"encoders.image.name": "resnet50"}),
        ("ours: as other recipes", {"encoders.image.zero_init": True}),
        ("train.py:34", {"method.out": 1024}),
        ("train.py:36", {"method.clip": 20.0}),
        ("costs.py, lgt_reg", {"method.penalty": 0.05}),
        ("train.py:18", {"data.batch_size": 200}),
        ("train.py:20", OFF | {"optim.lr": 2e-4, "optim.lr_per": 0}),
        ("task_self_supervised.py:125", {"optim.name": "adam", "optim.decay_all": True}),
        ("task_self_supervised.py:127", {"optim.betas": [0.8, 0.999]}),
        ("task_self_supervised.py:127", {"optim.weight_decay": 1e-5}),
        ("task_self_supervised.py:61", {"optim.warmup": 500 / (50 * (IMAGENET_IMAGES // 200))}),
        ("task_self_supervised.py:136", {"train.epochs": 50}),
        ("ours: a cosine, for two steps", {"optim.lr_end": 0.0}),
        ("datasets.py:170", at("global", scale=[0.3, 1.0], count=2)),
        ("datasets.py:168, one for both views", at("global", flip=0.5)),
        ("datasets.py:173", jitter("global", 0.4, 0.4, 0.4, 0.1, p=0.8)),
        ("datasets.py:174", at("global", grey=0.25)),
        ("datasets.py:186, nothing else", at("global", blur=[0.0], solarize=[0.0])),
        torchvision("global", interpolation="bicubic"),
        ("datasets.py:170", at("global", ratio=[0.7, 1.4])),
    ]


def _infomin() -> list[Row]:
    return [
        ("options/base_options.py:73", {"encoders.image.name": "resnet50"}),
        ("networks/resnet.py, as torchvision's", {"encoders.image.zero_init": False}),
        ("options/base_options.py:19", {"method.temperature": 0.15, "method.layers": 2}),
        ("options/base_options.py:76", {"method.out": 128}),
        ("networks/build_backbone.py, the encoder's width", {"method.hidden": 0}),
        ("options/base_options.py:78", {"method.queue": 65536}),
        ("options/base_options.py:84", {"method.momentum.start": 0.999}),
        ("options/base_options.py:84", {"method.momentum.end": 0.999}),
        ("learning/contrast_trainer.py:157, 8 GPUs", {"method.norm_groups": 8}),
        ("learning/contrast_trainer.py, one direction", {"method.symmetric": False}),
        ("options/base_options.py:19, options/train_options.py:13", {"method.jigsaw": 0.5}),
        ("options/base_options.py:36", {"data.batch_size": 256}),
        ("options/base_options.py:42", {"train.epochs": 200}),
        ("options/base_options.py:44", {"optim.lr": 0.03, "optim.lr_per": 0}),
        ("options/base_options.py:50", {"optim.weight_decay": 1e-4, "optim.decay_all": True}),
        ("options/base_options.py:52", {"optim.name": "sgd", "optim.momentum": 0.9}),
        ("learning/base_trainer.py:70", OFF | {"optim.lr_end": 0.001, "optim.by_epoch": True}),
        ("options/train_options.py:15, off", {"optim.warmup": 0.0}),
        ("datasets/util.py:232, 287", at("global", scale=[0.2, 1.0], count=2)),
        ("datasets/util.py:288", at("global", flip=0.5)),
        ("datasets/util.py:290", jitter("global", 0.8, 0.8, 0.8, 0.2, p=0.8)),
        ("datasets/util.py:292, 149", at("global", blur=[0.5], sigma=[0.1, 2.0])),
        ("datasets/util.py:293", at("global", operations=2, magnitude=10.0, spread=0.5)),
        ("datasets/RandAugment.py, AutoAugmentOp", at("global", applied=0.5)),
        ("datasets/util.py:296", at("global", grey=0.2)),
        ("datasets/util.py, nothing else", at("global", solarize=[0.0])),
        torchvision("global"),
        ("datasets/util.py:326", at("tiles", scale=[0.6, 1.0])),
        ("datasets/util.py:327, the whole image", at("tiles", flip=0.5)),
        ("datasets/util.py:27", at("tiles", grid=3, cell=255 // 3, size=64)),
        ("datasets/util.py:329, no colours", at("tiles", jitter=0.0, grey=0.0)),
    ]


def _cmc() -> list[Row]:
    networks: list[Row] = [
        (
            "models/resnet.py:274, resnet50v2",
            {
                f"encoders.{part}.sees": part,
                f"encoders.{part}.network": "resnet50",
                f"encoders.{part}.zero_init": False,
            },
        )
        for part in ("L", "ab")
    ]
    return [
        *networks,
        ("train_CMC.py:44", {"data.batch_size": 128}),
        ("train_CMC.py:46", {"train.epochs": 240}),
        ("train_CMC.py:49", {"optim.lr": 0.03, "optim.lr_per": 0}),
        ("train_CMC.py:54", {"optim.weight_decay": 1e-4}),
        ("train_CMC.py:55", {"optim.momentum": 0.9}),
        ("train_CMC.py:190, all parameters in one group", {"optim.decay_all": True}),
        ("train_CMC.py:190", {"optim.name": "sgd"}),
        ("ours: a cosine, for three steps", OFF | {"optim.lr_end": 0.0, "optim.warmup": 0.0}),
        ("train_CMC.py:66, without --softmax", {"method.loss": "nce"}),
        ("train_CMC.py:67", {"method.negatives": 16384}),
        ("train_CMC.py:68", {"method.temperature": 0.07}),
        ("train_CMC.py:69", {"method.momentum": 0.5}),
        ("train_CMC.py:70", {"method.out": 128}),
        ("models/resnet.py:126, one layer", {"method.hidden": 0}),
        ("two views, whose full graph and core view are the same", {"method.core": ""}),
        ("train_CMC.py:97", at("global", scale=[0.08, 1.0])),
        ("train_CMC.py:144", at("global", count=1, size=0)),
        ("train_CMC.py:145", at("global", flip=0.5)),
        (
            "train_CMC.py:143, nothing else",
            at("global", jitter=0.0, grey=0.0, blur=[0.0], solarize=[0.0]),
        ),
        torchvision("global"),
    ]


def _pcl() -> list[Row]:
    return [
        ("main_pcl.py:35", {"encoders.image.name": "resnet50", "encoders.image.zero_init": False}),
        ("main_pcl.py:43", {"train.epochs": 200}),
        ("main_pcl.py:47", {"data.batch_size": 256}),
        ("main_pcl.py:52", {"optim.lr": 0.03, "optim.lr_per": 256}),
        ("main_pcl.py:56", {"optim.momentum": 0.9}),
        ("main_pcl.py:58", {"optim.weight_decay": 1e-4}),
        ("main_pcl.py:83", {"method.out": 128}),
        ("main_pcl.py:85, one number for both", {"method.queue": 16384, "method.negatives": 16384}),
        ("main_pcl.py:87", {"method.momentum.start": 0.999, "method.momentum.end": 0.999}),
        ("main_pcl.py:89", {"method.temperature": 0.2}),
        ("main_pcl.py:99", {"method.prototypes": [25000, 50000, 100000]}),
        ("main_pcl.py:101, of 200 epochs", {"method.clusters_from": 20 / 200}),
        ("main_pcl.py:421", {"method.rounds": 20}),
        ("README.md:29, --mlp; pcl/builder.py:32", {"method.hidden": 0}),
        ("README.md:17, 8 GPUs with norms of their own", {"method.norm_groups": 8}),
        ("main_pcl.py:205, all parameters in one group", {"optim.decay_all": True}),
        ("main_pcl.py:205", {"optim.name": "sgd"}),
        ("main_pcl.py:526, by epoch to 0", OFF | {"optim.by_epoch": True, "optim.lr_end": 0.0}),
        ("main_pcl.py:526", {"optim.warmup": 0.0}),
        ("main_pcl.py:237", at("global", scale=[0.2, 1.0], count=2)),
        ("main_pcl.py:239", jitter("global", 0.4, 0.4, 0.4, 0.1, p=0.8)),
        ("main_pcl.py:241", at("global", grey=0.2)),
        ("main_pcl.py:242", at("global", blur=[0.5], sigma=[0.1, 2.0])),
        ("main_pcl.py:243", at("global", flip=0.5, solarize=[0.0])),
        torchvision("global"),
    ]


AUTHORS: dict[str, tuple[str, list[Row]]] = {
    "simclr-imagenet": ("google-research/simclr", _simclr()),
    "simclrv2-imagenet": ("google-research/simclr", _simclrv2()),
    "moco-imagenet": ("facebookresearch/moco", _moco()),
    "npidpp-imagenet": ("facebookresearch/vissl", _npidpp()),
    "mocov3-imagenet": ("facebookresearch/moco-v3", _mocov3_resnet()),
    "mocov3-vit-imagenet": ("facebookresearch/moco-v3", _mocov3_vit()),
    "pirl-imagenet": ("facebookresearch/vissl", _pirl()),
    "cmc-imagenet": ("HobbitLong/CMC", _cmc()),
    "pcl-imagenet": ("salesforce/PCL", _pcl()),
    "amdim-imagenet": ("Philip-Bachman/amdim-public", _amdim()),
    "infomin-imagenet": ("HobbitLong/PyContrast", _infomin()),
}
