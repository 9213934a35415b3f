"""What earlier versions wrote, in the words of today."""

from collections.abc import MutableMapping
from typing import Any

from manyviews.core import UsageError
from manyviews.encoders import earlier

Tree = MutableMapping[str, Any]


def settings(tree: Tree) -> None:
    """Bring the settings of a run that 0.1.0 began up to date, in place.

    Raises:
        UsageError: what was a mapping then is none, or is not there.
    """
    whole = {key: _mapping(tree, key) for key in ("method", "data", "encoder", "views")}
    method, data, views = whole["method"], whole["data"], whole["views"]
    for name in views:
        _mapping(views, name, "config.views.")
    data.pop("views_on", None)  # 0.1.0 could make views on a device
    weight = method.pop("entropy_weight", None)
    concentration = method.pop("entropy_concentration", 10.0)
    if "entropy" not in tree:
        tree["entropy"] = {"weight": weight or 0.0, "concentration": concentration}
    tree["method"] = {"is": method.pop("name", None), **method}
    if tree["method"]["is"] == "mae":  # the encoder's own, since it has an input
        for name in ("patch", "channels"):
            tree["method"].pop(name, None)
    mean, std = data.pop("mean", None), data.pop("std", None)
    flat = {**tree.pop("encoder"), "channels": data.pop("channels", None)}
    tree["encoders"] = {"image": earlier.settings(flat, mean=mean, std=std)}
    mask = views.pop("mask", {})
    tree["views"] = {
        name: {"is": "crops", "to": "image", "of": "image", **crops}
        for name, crops in views.items()
        if crops.get("count") != 0
    }
    if "global" in tree["views"]:
        tree["views"]["global"]["mask"] = {"ratio": mask.get("ratio", 0.0)}


def _mapping(tree: Tree, key: str, path: str = "config.") -> Tree:
    if not isinstance(tree.get(key), dict):
        raise UsageError(f"{path}{key} should be a mapping; got {tree.get(key)!r}.")
    return tree[key]
