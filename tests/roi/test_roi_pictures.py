"""Pictures of changed bone: colours, sides and heights are where they were planted."""

import io
import shutil

import numpy as np
import pytest
from PIL import Image

from bonemet.reporting import view3d
from bonemet.reporting.figures import lost_from_four_sides


def test_lost_and_formed_bone_show_from_their_own_sides(tmp_path):
    volume = np.zeros((40, 30, 30), np.uint8)
    volume[5:35, 8:22, 8:22] = 180
    volume[15:25, 8:11, 12:18] = 60  # on the low y side
    volume[15:25, 12:18, 22:25] = 240  # on the high x side
    path = tmp_path / "four.png"
    path.write_bytes(lost_from_four_sides(volume, (0.1, 0.1, 0.1), (10, 30)))
    with Image.open(path) as picture:
        image = np.asarray(picture.convert("RGB")).astype(int)
    image = image[: -(len(image) // 8)]  # the legend at the foot
    quarters = np.array_split(np.arange(image.shape[1]), 4)
    red = [np.count_nonzero((image[:, q, 0] - image[:, q, 2]) > 100) for q in quarters]
    blue = [np.count_nonzero((image[:, q, 2] - image[:, q, 0]) > 100) for q in quarters]
    assert int(np.argmax(red)) == 0
    assert int(np.argmax(blue)) == 3
    assert red[1] == 0


def test_sides_are_seen_as_an_eye_sees_them(tmp_path):
    volume = np.zeros((40, 30, 30), np.uint8)
    volume[5:35, 8:22, 8:22] = 180
    volume[15:25, 8:22, 8:11] = 240  # low x
    volume[26:34, 19:22, 8:22] = 60  # high y
    path = tmp_path / "four.png"
    path.write_bytes(lost_from_four_sides(volume, (0.1, 0.1, 0.1), (10, 30)))
    with Image.open(path) as picture:
        image = np.asarray(picture.convert("RGB")).astype(int)
    image = image[: -(len(image) // 8)]
    blue, red = (image[..., a] - image[..., b] > 100 for a, b in ((2, 0), (0, 2)))
    quarters = np.array_split(np.arange(image.shape[1]), 4)

    def place(mask, side):
        return float(np.nonzero(mask[:, quarters[side]])[1].mean()) / len(quarters[side])

    # With low z up, whoever looks from the low y side has low x on the right.
    assert place(blue, 0) > place(blue, 1) + 0.05
    assert place(red, 3) < place(red, 2) - 0.05


def space(**places):
    """Return which columns of a view from low y, low x, high y, high x show lost and formed bone."""
    volume = np.zeros((60, 40, 40), np.uint8)
    volume[5:55, 10:30, 10:30] = 180
    for value, place in places.values():
        volume[place] = value
    picture = view3d.changed_bone(volume, (0.1, 0.1, 0.1))
    if picture is None:
        pytest.skip("this computer cannot render: no VTK, or no OpenGL for it")
    with Image.open(io.BytesIO(picture)) as opened:
        image = np.asarray(opened.convert("RGB")).astype(int)
    blue, red = (image[..., a] - image[..., b] > 80 for a, b in ((2, 0), (0, 2)))
    return [np.array_split(mask, 4, axis=1) for mask in (red, blue)]


def test_changed_bone_in_space_shows_on_its_own_side_and_height():
    red, blue = space(
        lost=(60, np.s_[10:20, 10:14, 10:30]),  # high up (low z) on the low y side
        new=(240, np.s_[40:50, 10:30, 6:10]),  # low down, beside the low x side
    )
    seen = [np.count_nonzero(view) for view in red]
    assert int(np.argmax(seen)) == 0
    assert np.nonzero(red[0])[0].mean() < np.nonzero(blue[1])[0].mean()
    assert int(np.argmax([np.count_nonzero(view) for view in blue])) == 1
    middle = blue[0].shape[1] / 2
    assert np.nonzero(blue[0])[1].min() > middle  # low x is on the right, seen from low y
    assert np.nonzero(blue[2])[1].max() < middle


def test_a_view_in_space_needs_bone():
    assert view3d.changed_bone(np.zeros((9, 9, 9), np.uint8), (0.1, 0.1, 0.1)) is None


def test_a_computer_that_cannot_render_gets_no_view(monkeypatch):
    volume = np.full((9, 9, 9), 180, np.uint8)
    monkeypatch.setattr(view3d, "available", lambda: False)
    assert view3d.changed_bone(volume, (0.1, 0.1, 0.1)) is None
    monkeypatch.setattr(view3d, "available", lambda: True)
    monkeypatch.setattr(view3d.sys, "executable", "false")
    if shutil.which("false"):
        assert view3d.changed_bone(volume, (0.1, 0.1, 0.1)) is None
