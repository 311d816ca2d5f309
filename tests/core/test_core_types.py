"""Grey values keep their meaning, transforms compose and invert, names read as written."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from bonemet.core.calibration import Kind, Quantity, to_attenuation, to_grey
from bonemet.core.errors import InputError, SettingsError
from bonemet.core.grid import Grid
from bonemet.core.ids import ScanKey
from bonemet.core.measure import Measure
from bonemet.core.scan import ConeGeometry
from bonemet.core.transform import Piece, Transform, TransformKind
from bonemet.core.volume import Volume


@given(st.floats(-0.05, 0.05), st.floats(0.06, 0.5), st.sampled_from([255, 65535]))
def test_grey_values_come_back_within_half_a_step(low, high, grey_max):
    mu = np.linspace(low, high, 997)
    grey = to_grey(mu, (low, high), grey_max)
    assert grey.dtype == (np.uint8 if grey_max == 255 else np.uint16)
    quantity = Quantity(Kind.GREY, (low, high), grey_max)
    assert np.abs(to_attenuation(grey, quantity) - mu).max() <= 0.51 * quantity.step + 1e-7


def test_grey_values_outside_the_window_are_clipped():
    assert to_grey(np.array([-1.0, 0.0, 0.1, 9.0]), (0.0, 0.2)).tolist() == [0, 0, 128, 255]


def test_grey_without_a_window_has_no_attenuation():
    with pytest.raises(InputError, match="window"):
        to_attenuation(np.array([1]), Quantity(Kind.GREY))


@st.composite
def transforms(draw):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", [draw(st.floats(-3, 3)) for _ in range(3)]).as_matrix()
    if draw(st.booleans()):
        matrix[:3, 0] *= -1
    matrix[:3, 3] = [draw(st.floats(-50, 50)) for _ in range(3)]
    return Transform(matrix)


@given(transforms(), transforms(), st.tuples(*[st.floats(-50, 50)] * 3))
def test_transforms_compose_and_invert(a, b, point):
    assert np.allclose(a.after(b).apply(point), a.apply(b.apply(point)), atol=1e-9)
    assert np.allclose(a.inverse().apply(a.apply(point)), point, atol=1e-9)
    assert a.after(b).mirrored == (a.mirrored != b.mirrored)


@given(st.floats(0.1, 179), st.booleans())
def test_the_angle_of_a_rotation_is_read_back(angle, mirror):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("z", angle, degrees=True).as_matrix()
    assert Transform(matrix).angle_deg == pytest.approx(angle, abs=1e-5)
    assert Transform(np.diag([-1.0, 1, 1, 1]) if mirror else np.eye(4)).mirrored == mirror


def test_composition_keeps_the_freer_kind():
    both = Transform.identity().after(Transform(np.eye(4), TransformKind.AFFINE))
    assert both.kind is TransformKind.AFFINE


def test_a_flat_matrix_is_no_transform():
    with pytest.raises(InputError, match="invertible"):
        Transform(np.diag([1.0, 1.0, 0.0, 1.0]))


names = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=8).filter(
    lambda s: "week" not in s.lower()
)


@given(
    names,
    st.integers(0, 99),
    st.sampled_from([None, "left", "right"]),
    st.sampled_from([None, "tibia", "femur"]),
)
def test_scan_names_read_as_written(animal, week, side, bone):
    key = ScanKey(animal, week, side if bone else None, bone)
    assert ScanKey.parse(str(key)) == key


@pytest.mark.parametrize(
    "text",
    [
        "871 week 0 left tibia",
        "871_Week_0_Left_Tibia",
        "871 week 0 L tibia",
        "871 week 0 left tibia w0w1composite",
    ],
)
def test_scan_names_are_read_tolerantly(text):
    assert ScanKey.parse(text) == ScanKey("871", 0, "left", "tibia")


def test_a_name_without_a_week_is_refused():
    with pytest.raises(InputError, match="week"):
        ScanKey.parse("871 left tibia")


def test_a_measure_without_value_needs_a_reason():
    with pytest.raises(SettingsError, match="reason"):
        Measure("Tb.Th", None, "mm")
    with pytest.raises(SettingsError, match="finite"):
        Measure("Tb.Th", float("nan"), "mm")
    assert Measure("Tb.Th", None, "mm", reason="not resolved").as_dict()["value"] is None


def test_cone_angles_are_those_of_the_published_scanner():
    pixel = 0.0106
    sod = 4032 * pixel / (2 * np.tan(np.radians(25.888290 / 2)))
    geometry = ConeGeometry(2688, 4032, pixel, sod, sod * 1.8, np.arange(260) * 0.8)
    assert geometry.cone_angle_horizontal_deg == pytest.approx(25.888290, abs=1e-6)
    assert geometry.cone_angle_vertical_deg == pytest.approx(17.423092, abs=1e-3)
    assert geometry.range_deg == pytest.approx(208)


def test_a_volume_crop_keeps_numbers_at_their_place():
    data = np.arange(4 * 5 * 6).reshape(4, 5, 6)
    volume = Volume(data, Grid.isotropic((4, 5, 6), 0.5), Quantity(Kind.GREY))
    part = volume.crop((1, 2, 3), (3, 5, 6))
    assert np.array_equal(part.array(), data[1:3, 2:5, 3:6])
    assert part.grid.origin_mm == (1.5, 1.0, 0.5)
    with pytest.raises(InputError, match="fit"):
        Volume(data, Grid.isotropic((4, 5, 7), 0.5), Quantity(Kind.GREY))


@given(transforms(), transforms(), st.tuples(*[st.floats(-50, 50)] * 3), st.tuples(*[st.floats(-1, 1)] * 3))
def test_a_piece_is_the_same_seen_through_another_map(own, first, point, normal):
    piece = Piece(own, np.array(normal), 3.0)
    seen = piece.after(first)
    there = first.apply(point)
    assert seen.transform.apply(point) == pytest.approx(own.apply(there), abs=1e-6)
    assert seen.normal @ point - seen.level == pytest.approx(piece.normal @ there - piece.level, abs=1e-6)
