"""What the authors' public code says, number by number, beside the recipes and not made from them.

A row is where it stands and what it says there, in the words of our settings: `("main.py:36",
{"optim.lr": 0.2})`. Where a number of theirs means something else here, the row has the sum that
brings it over. What no code states has the paper as its source, and "ours" what is our own choice.
"""

from authors import (
    audio,
    audiovisual,
    clustering,
    contrastive,
    distillation,
    masked,
    points,
    pretext,
    redundancy,
    video,
)

COMMITS = {
    "facebookresearch/moco": "5df3287ecca83af5efc65515627009bb026dcce5",
    "facebookresearch/moco-v3": "c349e6e24f40d3fedb22d973f92defa4cedf37a7",
    "facebookresearch/simsiam": "a7bc1772896d0dad0806c51f0bb6f3b16d290468",
    "facebookresearch/swav": "06b1b7cbaf6ba2a792300d79c7299db98b93b7f9",
    "facebookresearch/dino": "7c446df5b9f45747937fb0d72314eb9f7b66930a",
    "bytedance/ibot": "da316d82636a7a7356835ef224b13d5f3ace0489",
    "facebookresearch/dinov2": "b8931f7bf91576930313be2c6d6af376033b35f0",
    "facebookresearch/msn": "4388dc1eadbe3042b85d3296d41b9b207656e043",
    "facebookresearch/mae": "efb2a8062c206524e35e47d04501ed4f544c0ae8",
    "facebookresearch/hiera": "b12b842542ee5c757fcfec8c41f6b56fcbe89b65",
    "microsoft/unilm": "768a3c873f598bb9b4d4dfb9267b099e35f8fe56",
    "microsoft/SimMIM": "d3e29bcac950b83edc34ca33fe4404f38309052c",
    "facebookresearch/SlowFast": "287ec0076846560f44a9327e931a5a2360240533",
    "facebookresearch/data2vec_vision": "af9a36349aaed59ae66e69b5dabeef2d62fdc5da",
    "facebookresearch/ijepa": "52c1ae95d05f743e000e8f10a1f3a79b10cff048",
    "facebookresearch/capi": "98b4fa17ee8eec8810c17022df9a27a44845368b",
    "openai/image-gpt": "c6af2ebf57e2460c71fefa53cd9054b060cf716d",
    "facebookresearch/jepa": "51c59d518fc63c08464af6de585f78ac0c7ed4d5",
    "facebookresearch/barlowtwins": "8e8d284ca0bc02f88b92328e53f9b901e86b4a3c",
    "facebookresearch/vicreg": "4e12602fd495af83efd1631fbe82523e6db092e0",
    "facebookresearch/vissl": "09270ed25a6c2cf71263d955b64cbe076d34ac45",
    "MCG-NJU/VideoMAE": "14ef8d856287c94ef1f985fe30f958eb4ec2c55d",
    "tensorflow/models": "00d83f37e2de5852699ed339d0c51085ab065651",
    "TengdaHan/DPC": "1592e5f5443c1a121d61c5b3a27b3be43f0e5fb5",
    "TengdaHan/MemDPC": "d7dbbf0dc6ec4aa8ff9a5dc8c189d78f4e5e34a7",
    "kahnchana/svt": "1827106d56c3d69e7ceb38b22ccbde59cb6510e5",
    "facebookresearch/AVID-CMA": "4538e404c79eb1b7459122a31508d918038705fd",
    "facebookresearch/GDT": "873e630fa3a11d7df1415f2ccd309023af8e1bed",
    "facebookresearch/selavi": "33d2b2d7a67a66a8b924b66266f34d70a28c2395",
    "google-deepmind/brave": "0ae20d9afcf6b1fa4d31d70c906d711901b56e9c",
    "YuanGongND/cav-mae": "68fe8c2a3917dc2926e41f796bfdcb331a64b42c",
    "cwx-worst-one/EAT": "06c1c34e2afd8dc35297e6d3815d31dbeec9d372",
    "facebookresearch/AudioMAE": "bd60e29651285f80d32a6405082835ad26e6f19f",
    "nttcslab/byol-a": "3e65c9283498d06915e6dbcff3445307d8d3e930",
    "facebookresearch/DepthContrast": "b8257890c94f7c58aeb5cefeb91af031692611d6",
    "facebookresearch/deepcluster": "2d1927e8e3dd272329e879e510fbbdf1b1d02d17",
    "yukimasano/self-label": "3891e376a82d1e4ac6de6d39505b692b8885c971",
    "open-mmlab/mmselfsup": "db861f30487c9a0b0cb3e35e176d6058887660bc",
    "richzhang/colorization": "4aa459f03cedd5678524ac3429cd89270dcf5290",
    "neuroailab/LocalAggregation": "87ac59350eca9d6d79d4a29eec3aa8eb34c5ad5c",
    "salesforce/PCL": "964da1fb7c0546e8ce55627fa3c0debde4b7e456",
    "google-research/simclr": "383d4143fd8cf7879ae10f1046a9baeb753ff438",
    "HobbitLong/CMC": "7b227be0b10ef4e526c72af07664f5079ed9ee09",
    "google-deepmind/deepmind-research": "f5de0ede8430809180254ee957abf36ed62579ef",
    "htdt/self-supervised": "d9662c8d07dafd194a9045375f4f6aa09f5b03e9",
    "rbalestr-lab/lejepa": "eddffdd857a19726342ef6526e01021fb3c32cae",
    "lightly-ai/lightly": "e8d317fc5a87f4387a85a35e689869039ec249ee",
    "tsb0601/EMP-SSL": "8fc3758617e09b88c8579b9bdfa5d219b41cd456",
    "Philip-Bachman/amdim-public": "8754ae149ed28da8066f696f95ba4ca0e3ffebd8",
    "HobbitLong/PyContrast": "84f94eabec4f031194c543579476ae52ea647b90",
}
"""Repository -> the commit whose lines are meant."""

AUTHORS = (
    audio.AUTHORS
    | audiovisual.AUTHORS
    | clustering.AUTHORS
    | contrastive.AUTHORS
    | distillation.AUTHORS
    | masked.AUTHORS
    | points.AUTHORS
    | pretext.AUTHORS
    | redundancy.AUTHORS
    | video.AUTHORS
)
"""Recipe -> the repository, and what it says."""
