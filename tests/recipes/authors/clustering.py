"""What the authors' code says of recipes in `recipes/clustering/`."""

from authors.table import OFF, Row, at, jitter, torchvision


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


def _local_aggregation() -> list[Row]:
    json = "exp_configs/la_final.json, res50_LA"
    return [
        (json, {"encoders.image.name": "resnet50", "method.clusters": [30000] * 10}),
        ("model/resnet_model.py, no zeros", {"encoders.image.zero_init": False}),
        (f"{json}: 2001800 steps of 128", {"train.epochs": 200}),
        ("README.md, 10 of them for recognition", {"method.clusters_from": 10 / 200}),
        ("framework.py:28", {"data.batch_size": 128}),
        ("framework.py:32", {"optim.lr": 0.03, "optim.lr_per": 0}),
        ("framework.py:46", {"optim.weight_decay": 1e-4}),
        ("framework.py:48", {"method.temperature": 0.07}),
        ("framework.py:50, for both", {"method.negatives": 4096, "method.background": 4096}),
        ("model/instance_model.py:150", {"method.momentum": 0.5}),
        ("model/memory_bank.py, rows at random", {"method.filled": False}),
        ("model/instance_model.py:281", {"method.out": 128}),
        ("model/resnet_model.py, one dense layer", {"method.hidden": 0}),
        ("model/cluster_km.py:21", {"method.rounds": 20}),
        ("framework.py:350", {"optim.name": "sgd", "optim.momentum": 0.9}),
        ("framework.py:99, not of batch norms", {"optim.decay_all": False}),
        ("ours: a cosine, for two steps", OFF | {"optim.lr_end": 0.0, "optim.warmup": 0.0}),
        ("model/prep_utils.py:348", at("global", scale=[0.2, 1.0], count=1, size=0)),
        ("model/prep_utils.py:374", at("global", grey=0.2)),
        ("model/prep_utils.py:375", jitter("global", 0.4, 0.4, 0.4, 0.4, p=1.0)),
        ("model/prep_utils.py:376, nothing else", at("global", flip=0.5, blur=[0.0])),
        ("model/prep_utils.py, nothing else", at("global", solarize=[0.0])),
        torchvision("global"),
    ]


_SHORTER = "scripts/deepclusterv2_400ep_pretrain.sh"


def _sela_v2() -> list[Row]:
    """As the paper says, what SwAV has; what else is known is DeepCluster-v2's shorter script."""
    return [
        *_swav(_SHORTER),
        (f"{_SHORTER}:28", at("global", size=160, scale=[0.08, 1.0])),
        (f"{_SHORTER}:27", at("local", count=4)),
        (f"{_SHORTER}, --epochs", {"train.epochs": 400}),
        (f"{_SHORTER}, --warmup_epochs", {"optim.warmup": 10 / 400}),
        (f"{_SHORTER}, --nmb_prototypes", {"method.prototypes": [3000] * 3}),
        ("arXiv:2006.09882 appendix A.1, one epoch", {"method.frozen_until": 1 / 400}),
        ("scripts/swav_400ep_pretrain.sh, --epsilon 0.05", {"method.sharpness": 0.1 / 0.05}),
        ("yukimasano/self-label sinkhornknopp.py, optimize_L_sk", {"method.tolerance": 0.1}),
    ]


AUTHORS: dict[str, tuple[str, list[Row]]] = {
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
    "deepcluster-imagenet": (
        "facebookresearch/swav",
        [
            *_swav(_DEEP),
            (f"{_DEEP}, --nmb_prototypes", {"method.prototypes": [3000] * 3}),
            ("main_deepclusterv2.py:345", {"method.rounds": 10}),
        ],
    ),
    "deepcluster-v1-imagenet": ("facebookresearch/deepcluster", _deepcluster_v1()),
    "sela-imagenet": ("yukimasano/self-label", _sela()),
    "sela-v2-imagenet": ("facebookresearch/swav", _sela_v2()),
    "local-aggregation-imagenet": ("neuroailab/LocalAggregation", _local_aggregation()),
}
