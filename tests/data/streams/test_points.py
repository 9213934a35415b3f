"""Files of points: what is read of every format, and what is said of broken ones."""

import struct

import numpy as np
import pytest

from clouds import ply, shape
from manyviews.core.sample import Unreadable
from manyviews.data.streams.files import open_streams
from manyviews.data.streams.pcd import unpack
from manyviews.data.streams.points import open_cloud

XYZ = shape("box", count=50)
COLOUR = np.random.default_rng(1).integers(0, 256, (50, 3)).astype(np.uint8)
NORMALS = shape("ball", seed=2, count=50)
NOTHING = np.full((50, 3), np.nan, np.float32)


def read(path):
    return open_cloud(str(path)).read()


def whole(colour=None, normals=None):
    parts = [XYZ, NOTHING if colour is None else colour / np.float32(255)]
    return np.concatenate([*parts, NOTHING if normals is None else normals], axis=1)


@pytest.mark.parametrize("form", ["ascii", "binary_little_endian", "binary_big_endian"])
@pytest.mark.parametrize("before", ["", "camera"])
def test_a_ply_has_places_colours_and_normals(tmp_path, form, before):
    path = ply(tmp_path / "a.PLY", XYZ, colour=COLOUR, normals=NORMALS, form=form, before=before)
    cloud = open_streams(str(path))["points"]
    assert (cloud.points, cloud.has, cloud.span) == (50, ("colour", "normals"), 0.0)
    np.testing.assert_array_equal(cloud.read(), whole(COLOUR, NORMALS))


def test_a_ply_without_colours_and_normals_says_so_by_nan(tmp_path):
    np.testing.assert_array_equal(read(ply(tmp_path / "a.ply", XYZ)), whole())


def pcd(path, form, *, packed=True):
    """x, y, z, a column of two numbers that nobody reads, and a colour in the bits of a float."""
    bits = (COLOUR.astype(np.uint32) * [65536, 256, 1]).sum(axis=1).astype("<u4")
    kinds = [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("pair", "<f4", (2,)), ("rgb", "<f4")]
    rows = np.zeros(50, kinds)
    for i, name in enumerate("xyz"):
        rows[name] = XYZ[:, i]
    rows["rgb"] = bits.view("<f4")
    head = "# .PCD v0.7\nVERSION 0.7\nFIELDS x y z pair rgb\nSIZE 4 4 4 4 4\nTYPE F F F F F\n"
    head += f"COUNT 1 1 1 2 1\nWIDTH 50\nHEIGHT 1\nPOINTS 50\nDATA {form}\n"
    if form == "ascii":
        head = head.replace("TYPE F F F F F", "TYPE F F F F U")
        body = "".join(
            f"{x!r} {y!r} {z!r} 0 0 {int(c)}\n"
            for (x, y, z), c in zip(XYZ.tolist(), bits, strict=True)
        ).encode()
    elif form == "binary":
        body = rows.tobytes()
    else:
        data = b"".join(np.ascontiguousarray(rows[name]).tobytes() for name in rows.dtype.names)
        squeezed = squeeze(data)
        body = struct.pack("<II", len(squeezed), len(data)) + squeezed
    path.write_bytes(head.encode() + body)
    return path


def squeeze(data):
    """LZF by hand: runs of one byte as references to the byte before, all else as it is."""
    out, at = b"", 0
    while at < len(data):
        run = 1
        while at + run < len(data) and data[at + run] == data[at] and run < 200:
            run += 1
        if run < 5:
            piece = data[at : at + run]
            out += bytes([len(piece) - 1]) + piece
        else:
            out += bytes([0, data[at]])  # the byte, then the same again run - 1 times
            length = run - 1 - 2
            out += bytes([length << 5, 0]) if length < 7 else bytes([7 << 5, length - 7, 0])
        at += run
    return out


@pytest.mark.parametrize("form", ["ascii", "binary", "binary_compressed"])
def test_a_pcd_has_places_and_packed_colours(tmp_path, form):
    np.testing.assert_array_equal(read(pcd(tmp_path / "a.pcd", form)), whole(COLOUR))


def test_lzf_repeats_what_it_has_just_written():
    # "ab", then seven bytes from two bytes back on, which are more than there are
    assert unpack(bytes([1]) + b"ab" + bytes([5 << 5, 1]), 9) == b"ababababa"
    assert unpack(bytes([0]) + b"z" + bytes([7 << 5, 11, 0]), 21) == b"z" * 21
    with pytest.raises(ValueError, match=r"2 of 9 bytes come out of its compression"):
        unpack(bytes([1]) + b"ab" + bytes([5 << 5, 7]), 9)


def test_arrays_have_colours_or_normals_by_their_signs(tmp_path):
    np.save(tmp_path / "a.npy", XYZ.astype(np.float64))
    np.testing.assert_array_equal(read(tmp_path / "a.npy"), whole())
    np.save(tmp_path / "b.npy", np.concatenate([XYZ, NORMALS], axis=1))
    np.testing.assert_array_equal(read(tmp_path / "b.npy"), whole(normals=NORMALS))
    np.save(tmp_path / "c.npy", np.concatenate([XYZ, COLOUR], axis=1))
    np.testing.assert_array_equal(read(tmp_path / "c.npy"), whole(COLOUR))
    np.save(tmp_path / "d.npy", np.concatenate([XYZ, COLOUR / np.float32(255), NORMALS], axis=1))
    np.testing.assert_array_equal(read(tmp_path / "d.npy"), whole(COLOUR, NORMALS))
    np.save(tmp_path / "e.npy", np.concatenate([XYZ, XYZ[:, :1]], axis=1))  # intensity
    np.testing.assert_array_equal(read(tmp_path / "e.npy"), whole())


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_npz_has_named_arrays(tmp_path, save):
    save(tmp_path / "a.npz", pos=XYZ, colors=COLOUR, normals=NORMALS, other=np.zeros(3))
    cloud = open_cloud(str(tmp_path / "a.npz"))
    assert cloud.has == ("colour", "normals")
    np.testing.assert_array_equal(cloud.read(), whole(COLOUR, NORMALS))


def test_a_las_is_counted_from_its_middle(tmp_path):
    laspy = pytest.importorskip("laspy")
    las = laspy.create(point_format=3)
    las.header.offsets, las.header.scales = [500_000, 5_000_000, 100], [0.001] * 3
    las.x, las.y, las.z = (XYZ.astype(np.float64) + np.array([500_000, 5_000_000, 100])).T
    las.red, las.green, las.blue = (COLOUR.astype(np.uint16) * 257).T
    las.write(tmp_path / "a.las")
    found, middle = read(tmp_path / "a.las"), (XYZ.min(axis=0) + XYZ.max(axis=0)) / 2
    np.testing.assert_allclose(found[:, :3], XYZ - middle, atol=2e-3)
    np.testing.assert_allclose(found[:, 3:6], COLOUR / 255, atol=1e-6)


def test_points_without_finite_coordinates_are_left_out(tmp_path):
    xyz = XYZ.copy()
    xyz[[3, 7], [0, 2]] = np.nan, np.inf
    cloud = open_cloud(str(ply(tmp_path / "a.ply", xyz, normals=NORMALS)))
    kept = np.delete(np.arange(50), [3, 7])
    assert cloud.points == 50
    np.testing.assert_array_equal(cloud.read(), whole(normals=NORMALS)[kept])


def text(head, body=""):
    return (head + body).encode()


HEAD = "ply\nformat ascii 1.0\nelement vertex {n}\n"
PLACES = "property float x\nproperty float y\nproperty float z\n"
PCD = "FIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nPOINTS {n}\nDATA {form}\n"
BROKEN = [
    ("a.ply", text("plyy\n"), "does not begin as a PLY file"),
    ("a.ply", text(HEAD.format(n=2) + PLACES), "has a broken PLY header"),
    ("a.ply", text(HEAD.format(n=0) + PLACES + "end_header\n"), "has no points"),
    (
        "a.ply",
        text(HEAD.format(n=9) + PLACES + "end_header\n", "1 2 3\n"),
        "is cut off: its header",
    ),
    ("a.ply", text(HEAD.format(n=2) + PLACES + "end_header\n", "1 2 3\n4 5 wrong"), "could not"),
    ("a.ply", text(HEAD.format(n=2) + PLACES + "end_header\n", "1 2 3\n456789 1"), "after 1 of 2"),
    (
        "a.ply",
        text("ply\nformat binary_little_endian 1.0\nelement vertex 1000000000\n", PLACES)
        + b"end_header\n",
        "says 1,000,000,000 points, which take 12,000,000,000 bytes or more, and 0 follow",
    ),
    ("a.ply", text(HEAD.format(n=2) + "property float x\nend_header\n"), "columns x; wanted x, y"),
    ("a.ply", text("ply\nformat new 1.0\nelement vertex 2\nend_header\n"), "of the format 'new'"),
    ("a.ply", text("ply\nformat ascii 1.0\nend_header\n"), "is a PLY without vertices"),
    (
        "a.ply",
        text(HEAD.format(n=2) + PLACES + "property list uchar int k\nend_header\n"),
        "has lists in or before its vertices",
    ),
    ("a.pcd", b"\0" * 40, "does not begin as a PCD file"),
    ("a.pcd", text("FIELDS x\nDATA ascii\n"), "has a PCD header without SIZE"),
    ("a.pcd", text(PCD.format(n=9, form="binary"), "1234"), "is cut off: its header says 9 points"),
    ("a.pcd", text(PCD.format(n=9, form="zip"), "1234"), "is a PCD of 'zip'"),
    (
        "a.pcd",
        text(PCD.format(n=1, form="binary_compressed")) + struct.pack("<II", 4, 99) + b"abcd",
        "says 12 bytes of points and 99 before compression",
    ),
    (
        "a.pcd",
        text(PCD.format(n=1, form="binary_compressed")) + struct.pack("<II", 4, 12) + b"\x02abc",
        "is broken: 3 of 12 bytes",
    ),
    ("a.npz", b"PK", "not a zip file"),
    ("a.npy", b"\x93NUMPY\x01\x00", "EOF"),
]


@pytest.mark.parametrize(("name", "data", "words"), BROKEN)
def test_what_is_wrong_with_a_file_is_said_in_one_line(tmp_path, name, data, words):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(Unreadable) as error:
        read(tmp_path / name)
    assert words in error.value.reason
    assert "\n" not in error.value.reason


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((5, 2)), "is float64 5x2; wanted numbers"),
        (np.zeros(5), "is float64 5; wanted numbers"),
        (np.full((5, 3), "a"), "wanted numbers"),
        (np.zeros((0, 3)), "has no points"),
        (np.full((5, 3), np.nan), "none of its 5 points has finite coordinates"),
    ],
)
def test_arrays_that_are_no_clouds_are_refused(tmp_path, array, words):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(Unreadable) as error:
        read(tmp_path / "a.npy")
    assert words in error.value.reason


def test_an_npz_that_is_no_cloud_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", images=XYZ)
    with pytest.raises(Unreadable) as error:
        read(tmp_path / "a.npz")
    assert "has the arrays images; wanted one of points" in error.value.reason
    np.savez(tmp_path / "b.npz", points=XYZ, colors=COLOUR[:9])
    with pytest.raises(Unreadable) as error:
        read(tmp_path / "b.npz")
    assert "has 50 points and 9 rows of colors" in error.value.reason


def test_too_many_points_are_refused_before_any_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("manyviews.data.streams.points.MAX_POINTS", 49)
    with pytest.raises(Unreadable) as error:
        open_cloud(str(ply(tmp_path / "a.ply", XYZ)))
    assert "has 50 points; at most 49 are read" in error.value.reason
