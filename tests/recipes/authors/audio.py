"""What the authors' code says of recipes in `recipes/audio/`."""

from authors.table import OFF, PIXELS, Row, as_it_is, at


def _audiomae() -> list[Row]:
    run = "submit_pretrain_audioset2M.sh"
    vit, fed = "encoders.audio", "encoders.audio.input"
    return [
        (f"{run}:21, 22; submitit_pretrain.py:22", {"data.batch_size": 8 * 8 * 8}),
        (f"{run}:23", {"method.normalise_patches": True}),
        ("models_mae.py, forward_loss", PIXELS),
        (f"{run}:24; models_mae.py:436", {f"{vit}.width": 768, f"{vit}.depth": 12}),
        (f"{run}:24; models_mae.py:436", {f"{vit}.patch": 16, f"{vit}.heads": 0}),
        (f"{run}:25; models_mae.py, random_masking", at("global", **{"mask.ratio": 0.8})),
        ("main_pretrain.py:140", at("global", **{"mask.kind": "random", "mask.unit": 1})),
        (f"{run}:26", {"train.epochs": 33}),
        (f"{run}:27", {"optim.warmup": 3 / 33}),
        (f"{run}:5, 29", OFF | {"optim.lr": 2e-4, "optim.lr_per": 256, "optim.weight_decay": 1e-4}),
        (
            f"{run}:33; dataset.py:173",
            as_it_is("global", "gain", "mask.ratio") | at("global", count=1),
        ),
        ("ours: uniform, as far spread as Beta(10, 10) + 0.5", at("global", gain=0.19)),
        ("no clips", at("global", offset=0.5)),
        (f"{run}:34; models_mae.py:80, 84", {"method.attention": "local", "method.depth": 16}),
        ("models_mae.py:437", {"method.width": 512, "method.heads": 16}),
        ("models_mae.py, forward_loss, over all values", {"method.by_channel": False}),
        ("models_mae.py, forward_encoder", {"method.token_inside": False}),
        ("main_pretrain.py:70", {"optim.lr_end": 0.0}),
        ("main_pretrain.py:254", {"optim.decay_all": False}),
        ("main_pretrain.py:255", {"optim.name": "adamw", "optim.betas": [0.9, 0.95]}),
        ("main_pretrain.py:175, 177", {f"{fed}.seconds": 10.24, f"{fed}.bins": 128}),
        ("main_pretrain.py:174; dataset.py, over twice the deviation", {f"{fed}.std": 9.1379948}),
        ("main_pretrain.py:174", {f"{fed}.mean": -4.2677393}),
        ("dataset.py:210", {f"{fed}.hop": 0.01, f"{fed}.rate": 16000}),
    ]


def _byol_a() -> list[Row]:
    bent = {"mix", "crop_time", "crop_bands", "canvas"}
    return [
        ("config.yaml:2", {"encoders.audio.input.seconds": 0.95}),
        ("config.yaml:4", {"encoders.audio.input.rate": 16000}),
        ("config.yaml:7", {"encoders.audio.input.hop": 160 / 16000}),
        ("config.yaml:8", {"encoders.audio.input.bins": 64}),
        ("config.yaml:14", {"method.out": 256}),
        ("config.yaml:15", {"method.hidden": 4096}),
        ("config.yaml:16, at all times", {"method.momentum.start": 0.99}),
        ("config.yaml:16, at all times", {"method.momentum.end": 0.99}),
        ("config.yaml:19", {"data.batch_size": 256}),
        ("config.yaml:20", {"optim.lr": 3e-4, "optim.lr_per": 0}),
        ("config.yaml:21", {"train.epochs": 100}),
        ("train.py, configure_optimizers", OFF | {"optim.name": "adam", "optim.lr_end": 1.0}),
        ("torch.optim.Adam", {"optim.betas": [0.9, 0.999], "optim.weight_decay": 0.0}),
        ("torch.optim.Adam", {"optim.decay_all": True, "optim.warmup": 0.0}),
        ("train.py, AugmentationModule, two of each", at("global", count=2)),
        ("train.py, AugmentationModule", at("global", mix=0.4, crop_time=[0.6, 1.5])),
        ("train.py, AugmentationModule", at("global", canvas=1.5, crop_bands=[0.6, 1.5])),
        ("byol_a/dataset.py, a random unit, nothing else", as_it_is("global", *bent)),
        ("no clips", at("global", offset=0.5)),
        ("ours: AVID's network (docs/methods/sound.md)", {"encoders.audio.width": 64}),
        ("ours: AVID's network (docs/methods/sound.md)", {"encoders.audio.depth": 2}),
    ]


def _eat() -> list[Row]:
    run, vit, fed = "config/pretraining_AS2M.yaml", "encoders.audio", "encoders.audio.input"
    forward = "models/EAT_pretraining.py:642, 659"
    return [
        (f"{run}:28", {f"{fed}.seconds": 10.24, f"{fed}.bins": 128}),
        ("data/raw_audio_dataset.py:416, 428, with more digits", {f"{fed}.std": 9.1379948}),
        ("data/raw_audio_dataset.py:415, with more digits", {f"{fed}.mean": -4.2677393}),
        (f"{run}:33, 39", {"data.batch_size": 4 * 12}),
        (f"{run}:53, of 48 from two million sounds", {"train.epochs": 10}),
        (f"{run}:56, of all together", OFF | {"optim.clip": 4.0}),
        (f"{run}:63", {"optim.lr": 5e-4, "optim.lr_per": 0, "optim.lr_end": 0.0}),
        (f"{run}:65, 66, fairseq's adam takes the decay off", {"optim.name": "adamw"}),
        (f"{run}:66", {"optim.betas": [0.9, 0.95]}),
        (f"{run}:67, dynamic_groups", {"optim.weight_decay": 0.05, "optim.decay_all": False}),
        (f"{run}:70", {"optim.warmup": 53333 / 400000}),
        (f"{run}:77", {"method.momentum.start": 0.9998}),
        (f"{run}:78", {"method.momentum.end": 0.99999}),
        (f"{run}:79", {"method.momentum.fraction": 100000 / 400000}),
        ("ours: with every step", {"method.momentum.by_epoch": False}),
        (f"{run}:85", {f"{vit}.depth": 12, f"{vit}.width": 768}),
        ("models/images.py", {f"{vit}.patch": 16, f"{vit}.heads": 0}),
        (f"{run}:86", {"method.average": 12}),
        (f"{run}:87", {"method.masks": 16}),
        (f"{run}:33, 87, 100; {forward}, a sum of rows", {"method.utterance": 12.0 * 16 * 1}),
        (f"{run}:107, 108", {"method.share": 0.2}),
        (f"{run}:109", {"method.extra": 0.07}),
        (f"{run}:110", {"method.side": 5}),
        (f"{run}, decoder", {"method.groups": 16, "method.kernel": 3, "method.layers": 6}),
        (f"{run}:28, as it is", as_it_is("global") | at("global", count=1)),
        ("no clips", at("global", offset=0.5)),
    ]


AUTHORS: dict[str, tuple[str, list[Row]]] = {
    "mae-audio-audioset": ("facebookresearch/AudioMAE", _audiomae()),
    "eat-audioset": ("cwx-worst-one/EAT", _eat()),
    "audio-byol-audioset": ("nttcslab/byol-a", _byol_a()),
}
