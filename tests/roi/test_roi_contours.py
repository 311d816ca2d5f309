import struct
import zipfile

import numpy as np
import pytest
from scipy import ndimage

from bonemet.core.calibration import Kind, Quantity
from bonemet.core.errors import InputError, MissingInputError
from bonemet.core.grid import Grid
from bonemet.core.volume import Volume
from bonemet.io.contours import read_contours
from bonemet.io.volumes import write_volume
from bonemet.roi.drawn import DrawnContours

SHAPE = (20, 40, 50)


def disc(y, x, r):
    return np.hypot(*(i - c for i, c in zip(np.indices(SHAPE[1:]), (y, x), strict=True))) <= r


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def roi(kind, corners, position=0, hyper=0, fine=False, shape_roi=0):
    """Return an ImageJ ROI of corners (x, y), pixel edges being whole numbers."""
    points = np.asarray(corners, dtype=np.float64)
    left, top = np.floor(points.min(axis=0)).astype(int)
    right, bottom = np.ceil(points.max(axis=0)).astype(int)
    count = len(points) if kind in (0, 5, 7, 8) else 0
    head = bytearray(64)
    struct.pack_into(">4shBB4hH", head, 0, b"Iout", 227, kind, 0, top, left, bottom, right, count)
    struct.pack_into(">i", head, 36, shape_roi)
    struct.pack_into(">h", head, 50, 128 if fine else 0)
    body = b""
    if count:
        whole = np.rint(points - (left, top)).astype(">i2")
        body = whole[:, 0].tobytes() + whole[:, 1].tobytes()
        if fine:
            body += points[:, 0].astype(">f4").tobytes() + points[:, 1].astype(">f4").tobytes()
    second = 64 + len(body) if hyper else 0
    struct.pack_into(">2i", head, 56, position, second)
    tail = struct.pack(">4i", 0, 1, hyper, 1) + bytes(48) if hyper else b""
    return bytes(head) + body + tail


def circle(y, x, r, count=90):
    """Return corners (x, y) of ImageJ of a circle about the centre of pixel (y, x)."""
    a = 2 * np.pi * np.arange(count) / count
    return np.column_stack([x + 0.5 + r * np.cos(a), y + 0.5 + r * np.sin(a)])


BOX = np.zeros(SHAPE[1:], bool)
BOX[10:20, 5:17] = True
CORNERS = [(5, 10), (17, 10), (17, 20), (5, 20)]


@pytest.mark.parametrize("kind", [0, 1, 7])
def test_an_imagej_box_encloses_its_pixels(tmp_path, kind):
    path = tmp_path / "a.roi"
    path.write_bytes(roi(kind, CORNERS, position=8))
    found = read_contours(path, SHAPE)
    assert list(found) == [7]
    np.testing.assert_array_equal(found[7], BOX)


def test_imagej_circles_of_all_sorts(tmp_path):
    expected = disc(20, 25, 9.5)
    oval = roi(2, [(16, 11), (35, 30)], position=3)
    fine = roi(7, circle(20, 25, 9.5), hyper=4, fine=True)
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("0005-0020-0025.roi", roi(7, circle(20, 25, 9.5)))
        archive.writestr("oval.roi", oval)
        archive.writestr("fine.roi", fine)
        archive.writestr("notes.txt", "no contour")
    found = read_contours(tmp_path / "set.zip", SHAPE)
    assert sorted(found) == [2, 3, 4]
    for mask in found.values():
        assert dice(mask, expected) > 0.95


def test_two_contours_in_one_slice_are_one_mask(tmp_path):
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("a.roi", roi(0, circle(10, 10, 5), position=1))
        archive.writestr("b.roi", roi(0, circle(30, 40, 5), position=1))
    mask = read_contours(tmp_path / "set.zip", SHAPE)[0]
    assert ndimage.label(mask)[1] == 2


def napari(path, rows):
    lines = ["index,shape-type,vertex-index,axis-0,axis-1,axis-2"]
    path.write_text("\n".join(lines + [",".join(map(str, r)) for r in rows]) + "\n", encoding="utf-8")
    return path


def test_napari_shapes(tmp_path):
    rows = [(0, "polygon", k, 6.0, y, x) for k, (x, y) in enumerate(circle(20, 25, 9.5) - 0.5)]
    corners = [(10.5, 15.5), (10.5, 34.5), (29.5, 34.5), (29.5, 15.5)]
    rows += [(1, "ellipse", k, 9.0, y, x) for k, (y, x) in enumerate(corners)]
    found = read_contours(napari(tmp_path / "shapes.csv", rows), SHAPE)
    assert sorted(found) == [6, 9]
    for mask in found.values():
        assert dice(mask, disc(20, 25, 9.5)) > 0.95


def test_a_mask_drawn_in_some_slices(tmp_path):
    data = np.zeros(SHAPE, np.uint8)
    data[4], data[12] = disc(15, 20, 6), disc(20, 26, 8)
    path = tmp_path / "drawn.nii.gz"
    write_volume(path, Volume(data, Grid.isotropic(SHAPE, 0.02), Quantity(Kind.LABELS)))
    found = read_contours(path, SHAPE)
    assert sorted(found) == [4, 12]
    drawn = DrawnContours(found)
    assert (drawn.first, drawn.last) == (4, 12)
    np.testing.assert_array_equal(drawn.mask(4), data[4] > 0)
    assert dice(drawn.mask(8), disc(17.5, 23, 7)) > 0.95
    assert not drawn.mask(3).any()
    assert not drawn.mask(13).any()
    with pytest.raises(InputError, match="shape"):
        read_contours(path, (20, 40, 51))


def test_what_is_no_contour_is_refused(tmp_path):
    path = tmp_path / "a.roi"
    cases = [
        (b"", "no ImageJ ROI"),
        (b"Nope" + bytes(80), "no ImageJ ROI"),
        (roi(0, circle(20, 25, 9)), "its slice"),
        (roi(5, CORNERS, position=1), "a line"),
        (roi(0, CORNERS, position=1, shape_roi=99), "composite"),
        (roi(0, CORNERS, position=99), "slices 0 to 19"),
        (roi(0, CORNERS, position=1)[:66], "cut short"),
        (roi(0, [(200, 200), (210, 200), (210, 210)], position=1), "no pixel"),
    ]
    for data, word in cases:
        path.write_bytes(data)
        with pytest.raises(InputError, match=word):
            read_contours(path, SHAPE)
    (tmp_path / "b.zip").write_bytes(b"nothing")
    with pytest.raises(InputError, match="archive"):
        read_contours(tmp_path / "b.zip", SHAPE)
    with zipfile.ZipFile(tmp_path / "c.zip", "w"):
        pass
    with pytest.raises(InputError, match="no contour"):
        read_contours(tmp_path / "c.zip", SHAPE)
    with pytest.raises(InputError, match="columns"):
        read_contours(napari(tmp_path / "d.csv", []), SHAPE)
    with pytest.raises(InputError, match="no number"):
        read_contours(napari(tmp_path / "e.csv", [(0, "polygon", 0, 1, "x", 2)]), SHAPE)
    with pytest.raises(InputError, match="one slice"):
        read_contours(napari(tmp_path / "f.csv", [(0, "polygon", k, k, 1, 2) for k in range(4)]), SHAPE)
    with pytest.raises(MissingInputError):
        read_contours(tmp_path / "none.roi", SHAPE)


def test_nothing_drawn_and_unequal_slices_are_refused():
    with pytest.raises(InputError, match="No contour"):
        DrawnContours({3: np.zeros((4, 5), bool)})
    with pytest.raises(InputError, match="different sizes"):
        DrawnContours({3: np.ones((4, 5), bool), 4: np.ones((5, 5), bool)})
