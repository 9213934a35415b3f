"""Small clouds that tests make themselves: balls, boxes, rings and sticks, in several formats."""

import numpy as np

SHAPES = ("ball", "box", "ring", "stick")


def shape(kind, *, seed=0, count=400):
    """[N, 3] float32: points on a surface, turned about z."""
    rng = np.random.default_rng(seed)
    if kind == "ball":
        xyz = rng.normal(size=(count, 3))
        xyz /= np.linalg.norm(xyz, axis=1, keepdims=True)
    elif kind == "box":
        xyz = rng.uniform(-1, 1, (count, 3))
        axis = rng.integers(3, size=count)
        xyz[np.arange(count), axis] = np.sign(xyz[np.arange(count), axis])
    else:
        turn = rng.uniform(0, 2 * np.pi, count)
        level = np.stack([np.cos(turn), np.sin(turn)], axis=1)
        flat = kind == "ring"
        height = rng.uniform(-1, 1, (count, 1)) * (0.1 if flat else 2.0)
        xyz = np.concatenate([level * (1.0 if flat else 0.3), height], axis=1)
    angle = rng.uniform(0, 2 * np.pi)
    turned = [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    return (xyz @ np.array(turned).T).astype(np.float32)


def ply(path, xyz, *, colour=None, normals=None, form="binary_little_endian", before=""):
    """Write a .ply, with an element before the vertices if one is given, and a face after them."""
    fields = [("x", "float", xyz[:, 0]), ("y", "float", xyz[:, 1]), ("z", "float", xyz[:, 2])]
    if normals is not None:
        fields += [(f"n{k}", "float", normals[:, i]) for i, k in enumerate("xyz")]
    if colour is not None:
        fields += [(k, "uchar", colour[:, i]) for i, k in enumerate(("red", "green", "blue"))]
    lines = ["ply", f"format {form} 1.0", "comment made by a test"]
    lines += ["element camera 1", "property int number"] if before else []
    lines += [
        f"element vertex {len(xyz)}",
        *(f"property {kind} {name}" for name, kind, _ in fields),
    ]
    lines += ["element face 1", "property list uchar int vertex_indices", "end_header"]
    order = ">" if form == "binary_big_endian" else "<"
    codes = {"float": "f4", "uchar": "u1"}
    rows = np.zeros(len(xyz), [(name, order + codes[kind]) for name, kind, _ in fields])
    for name, _, values in fields:
        rows[name] = values
    with path.open("wb") as file:
        file.write("\n".join([*lines, ""]).encode())
        if form == "ascii":
            file.write(b"7\n" if before else b"")
            file.write("".join(" ".join(map(repr, row.tolist())) + "\n" for row in rows).encode())
            file.write(b"3 0 1 2\n")
        else:
            file.write(np.array(7, order + "i4").tobytes() if before else b"")
            file.write(rows.tobytes() + b"\x03" + np.array([0, 1, 2], order + "i4").tobytes())
    return path


def folder(where, *, count=24, points=400, labelled=False):
    """A folder of clouds of four kinds; made if it is not there. With labels each has a folder."""
    if not where.exists():
        where.mkdir()
        for i in range(count):
            kind = SHAPES[i % 4]
            into = where / kind if labelled else where
            into.mkdir(exist_ok=True)
            ply(into / f"{i:02}.ply", shape(kind, seed=i, count=points))
    return str(where)
