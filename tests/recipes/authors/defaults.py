"""Where the defaults of methods are from of which no recipe claims the authors' numbers.

A row is where a number stands, as `path:line` of the repository, and what it says there in our
settings. "second-hand" names who says it of the authors; "ours" is what nobody said.
"""

from authors.table import Row
from manyviews.methods.audiovisual.mavil import MAViLConfig
from manyviews.methods.audiovisual.multisensory import MultisensoryConfig
from manyviews.methods.contrastive.tcn import TCNConfig
from manyviews.methods.masked.mage import MAGEConfig
from manyviews.methods.pretext.cubic_puzzle import CubicPuzzleConfig
from manyviews.methods.pretext.pointing import PointingConfig
from manyviews.views.video.cuboids import Cuboids

_TCN = "research/tcn/configs/tcn_default.yml"
_NOTES = "second-hand: notes on the paper by others; its authors' code for training is not public"
_PUZZLE = "second-hand: n_grid (2,2,4), jitter_size (80,80,16) of CubicPuzzle3D, a reimplementation"

DEFAULTS: dict[type, tuple[str, list[Row]]] = {
    TCNConfig: (
        "tensorflow/models@35731dac2fbdc0dfe89ccf6ac42d6d667ebcb176",
        [
            (f"{_TCN}:22, of svtcn_estimator.py", {"margin": 0.2}),
            (f"{_TCN}:76, 6 of 30 frames a second", {"near": 6 / 30}),
            (f"{_TCN}:77, 12 of them", {"far": 12 / 30}),
            (f"{_TCN}:45", {"out": 32}),
            (f"{_TCN}:52", {"hidden": 2048}),
            (
                "ours: as svtcn_loss.py with multiseq, which its estimator leaves off",
                {"others": True},
            ),
        ],
    ),
    MultisensoryConfig: (
        "andrewowens/multisensory@8a5b44a7294a9440c72075ef433b1011a1ba2d9e",
        [
            ("src/shift_params.py:136, 146, 60 of int(4.2 x 29.97) frames", {"overlap": 60 / 125}),
            ("src/shift_net.py:431", {"width": 128}),
            ("src/shift_net.py:469, 470, those of 128", {"depth": 2}),
        ],
    ),
    PointingConfig: (
        "wbaek/tracking_via_colorization@1fcff923277fe1ba04c44a00507c91d067e45a66",
        [
            ("second-hand: bin/clustering.py:18", {"colours": 16}),
            ("second-hand: networks/resnet_colorizer.py:97", {"out": 64}),
            ("second-hand: networks/colorizer.py:28, in training", {"temperature": 1.0}),
        ],
    ),
    CubicPuzzleConfig: (
        "",
        [
            (
                "ours: what each piece becomes, and who tells the orders",
                {"hidden": 512, "shared": False},
            )
        ],
    ),
    Cuboids: (
        "",
        [
            (f"{_PUZZLE}, cells of 112 of which 80 are seen", {"room": 112 / 80}),
            (f"{_PUZZLE}, four of either kind", {"count": 4}),
            ("second-hand: grayscale_prob of CubicPuzzle3D", {"grey": 0.5}),
            ("ours: how clips are cropped and coloured", {"scale": (0.5, 1.0), "jitter": 0.0}),
        ],
    ),
    MAViLConfig: (
        "roger-tseng/av-superb@696e269abc9d7bf7ebe4ecae6800b39a528f78ad",
        [
            ("upstream_models/mavil/expert.py:41, by the authors; 3 once fine-tuned", {"joint": 2}),
            (_NOTES, {"inter": 0.1, "intra": 0.01, "temperature": 0.1}),
            (_NOTES, {"width": 512, "depth": 8, "heads": 16, "normalise_patches": True}),
            ("ours: the first stage", {"target": "patches"}),
        ],
    ),
    MAGEConfig: (
        "LTH14/mage@1becb14475354fc40df35ba7c7c7bf418a137cd3",
        [
            ("models_mage.py:365, of ViT-B", {"width": 768, "depth": 8, "heads": 16}),
            ("models_mage.py:153", {"mean": 0.55, "std": 0.25}),
            ("models_mage.py:223", {"smoothing": 0.1}),
            ("models_mage.py:203", {"gap": "class"}),
            ("ours: MAGE without contrast", {"contrast": 0.0}),
            ("ours: MAGE-C's are in no code (issue 5 there)", {"temperature": 0.2}),
            ("ours: MAGE-C's are in no code (issue 5 there)", {"hidden": 2048, "out": 256}),
        ],
    ),
}
"""Settings -> repository and commit, and rows."""
