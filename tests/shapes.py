"""Pictures of coloured shapes on grey noise, with exact boxes, as a folder with COCO's JSON."""

import json

import numpy as np
from PIL import Image

COLOURS = {"red": (220, 40, 40), "green": (40, 200, 60)}
IDS = {"red": 7, "green": 3}
"""Ids of categories are neither in the order of names nor without gaps, as COCO's are."""


def draw(root, count, *, seed=0, width=64, height=48, name="annotations.json", folder="images"):
    """Write `count` pictures of one or two rectangles, and the JSON that says where they are."""
    rng = np.random.default_rng(seed)
    (root / folder).mkdir(parents=True, exist_ok=True)
    images, boxes = [], []
    for i in range(count):
        pixels = rng.normal(110, 12, (height, width, 3))
        for half in range(rng.integers(1, 3)):  # one in the left half, one in the right
            kind = list(COLOURS)[rng.integers(2)]
            wide, high = rng.integers(12, 24), rng.integers(14, 30)
            left = half * width // 2 + rng.integers(0, width // 2 - wide)
            top = rng.integers(0, height - high)
            pixels[top : top + high, left : left + wide] = COLOURS[kind]
            box = [int(left), int(top), int(wide), int(high)]
            one = {"image_id": i + 10, "category_id": IDS[kind], "bbox": box}
            boxes.append(one | {"id": len(boxes) + 1, "area": int(wide * high), "iscrowd": 0})
        file = f"{seed}-{i}.png"
        Image.fromarray(pixels.clip(0, 255).astype("u1")).save(root / folder / file)
        images.append({"id": i + 10, "file_name": file, "width": width, "height": height})
    said = {"images": images, "annotations": boxes}
    said["categories"] = [{"id": key, "name": kind} for kind, key in IDS.items()]
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(said))
    return path
