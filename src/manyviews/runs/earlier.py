"""What earlier versions wrote, in the words of today."""

from collections.abc import MutableMapping
from typing import Any

Tree = MutableMapping[str, Any]


def settings(tree: Tree) -> None:
    """Bring the settings of a run that an earlier version began up to date, in place."""
    if not all(isinstance(tree.get(key), dict) for key in ("method", "data")):
        return  # whoever reads it says what is wrong
    tree["data"].pop("views_on", None)  # 0.1.0 could make views on a device
    weight = tree["method"].pop("entropy_weight", None)
    concentration = tree["method"].pop("entropy_concentration", 10.0)
    if "entropy" not in tree:
        tree["entropy"] = {"weight": weight or 0.0, "concentration": concentration}
