"""What the authors' code says of recipes in `recipes/points/`."""

from authors.table import OFF, Row, at


def _depthcontrast() -> list[Row]:
    yaml, augment = "configs/point_vox_template.yaml", "datasets/transforms/augment3d.py"
    nets = "models/trunks/pointnet.py"

    def both(**settings: object) -> dict[str, object]:
        return at("points", **settings) | at("voxels", **settings)

    return [
        ("README.md:77", {"data.batch_size": 1024, "method.norm_groups": 32}),
        (f"{yaml}:24", both(cuboid=[0.5, 1.0])),
        (f"{yaml}:25, of 50,000 points", both(least=0.2)),
        (f"{yaml}:29", both(drop=0.2)),
        (f"{augment}:274, of 20,000", both(density=[0.25, 1.0])),
        (f"{augment}:180, 183", both(flip=0.5)),
        (f"{augment}:191-202", both(turn="axis", angle=180.0, up="z")),
        (f"{augment}:208", both(scale=[0.8, 1.2])),
        (f"{yaml}:22-34, nothing else", both(jitter=0.0, hide_colour=0.0, hide_normals=0.0)),
        ("ours: DepthContrast hides no points", both(hide=0.0, cell=0.4, shake=0.01)),
        (f"{yaml}:36, two of each", both(count=2)),
        ("ours: DepthContrast does not ask for places", both(origin=False)),
        (f"{yaml}:40", {"optim.name": "sgd"}),
        (f"{yaml}:41", OFF | {"optim.weight_decay": 1e-4}),
        ("utils/main_utils.py:214, all parameters in one group", {"optim.decay_all": True}),
        (f"{yaml}:42", {"optim.momentum": 0.9}),
        (f"{yaml}:44", {"train.epochs": 1000}),
        (f"{yaml}:47", {"optim.lr": 0.12, "optim.lr_per": 0, "optim.warmup": 0.0}),
        (f"{yaml}:48, of the peak", {"optim.lr_end": 0.00012 / 0.12}),
        ("utils/main_utils.py:237, a step an epoch", {"optim.by_epoch": True}),
        (f"{augment}:315", {f"encoders.{k}.input.count": 20_000 for k in ("points", "voxels")}),
        ("ours: metres", {f"encoders.{k}.input.unit": False for k in ("points", "voxels")}),
        (f"{nets}:124", {"encoders.points.input.colour": False}),
        (f"{nets}:124", {"encoders.points.input.normals": False}),
        (f"{nets}:38-65", {"encoders.points.centres": [2048, 1024, 512, 256]}),
        (f"{nets}:39-66", {"encoders.points.radii": [0.2, 0.4, 0.8, 1.2]}),
        (f"{nets}:40-67", {"encoders.points.neighbours": [64, 32, 16, 16]}),
        (f"{nets}:41", {"encoders.points.width": 64}),
        (f"{nets}:74, 75", {"encoders.points.up": 2, "encoders.points.up_width": 512}),
        ("ours: places alone", {"encoders.voxels.input.colour": False}),
        ("ours: places alone", {"encoders.voxels.input.normals": False}),
        ("models/trunks/spconv/models/res16unet.py:18", {"encoders.voxels.width": 32}),
        ("models/trunks/spconv/models/res16unet.py:18", {"encoders.voxels.depth": 4}),
        ("ours: dense cells, 2.5 times theirs", {"encoders.voxels.cell": 2.5 * 0.05}),
        ("ours: 8 m", {"encoders.voxels.side": 64}),
        (f"{yaml}:59, 63, the encoder's", {"method.hidden": 0}),
        (f"{yaml}:71, 72", {"method.within": 0.5}),
        (f"{yaml}:73, 74", {"method.across": 0.5}),
        (f"{yaml}:77", {"method.temperature": 0.1}),
        (f"{yaml}:79", {"method.queue": 131072}),
        (f"{yaml}:80", {"method.out": 128}),
        (
            "models/base_ssl3d_model.py:59",
            {"method.momentum.start": 0.999, "method.momentum.end": 0.999},
        ),
    ]


AUTHORS: dict[str, tuple[str, list[Row]]] = {
    "depthcontrast-scannet": ("facebookresearch/DepthContrast", _depthcontrast()),
}
