import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from bonemet.core.errors import InputError, MissingInputError, SettingsError
from bonemet.core.transform import Transform, TransformKind
from bonemet.io.transforms import read_transform, write_transform

ANGLES = st.tuples(*[st.floats(-180, 180)] * 3)
SHIFTS = st.tuples(*[st.floats(-50, 50)] * 3)


def made(angles, shift, scale=(1.0, 1.0, 1.0), kind=TransformKind.RIGID):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ np.diag(scale)
    matrix[:3, 3] = shift
    return Transform(matrix, kind)


@settings(deadline=None)
@given(angles=ANGLES, shift=SHIFTS, mirror=st.booleans(), suffix=st.sampled_from([".tfm", ".json"]))
def test_rigid_maps_come_back(tmp_path_factory, angles, shift, mirror, suffix):
    transform = made(angles, shift, (-1.0 if mirror else 1.0, 1.0, 1.0))
    path = tmp_path_factory.mktemp("t") / f"a{suffix}"
    write_transform(path, transform)
    back = read_transform(path)
    assert back.kind is TransformKind.RIGID
    assert back.mirrored == mirror
    assert np.allclose(back.matrix, transform.matrix, atol=1e-10)


@pytest.mark.parametrize("suffix", [".tfm", ".json"])
@pytest.mark.parametrize(
    ("scale", "kind"),
    [((1.2, 1.2, 1.2), TransformKind.SIMILARITY), ((1.2, 0.9, 1.0), TransformKind.AFFINE)],
)
def test_scaled_maps_come_back_with_their_kind(tmp_path, scale, kind, suffix):
    transform = made((10, 20, 30), (1, 2, 3), scale, kind)
    path = tmp_path / f"a{suffix}"
    write_transform(path, transform)
    back = read_transform(path)
    assert back.kind is kind
    assert np.allclose(back.matrix, transform.matrix, atol=1e-12)


def test_itk_moves_points_as_we_do(tmp_path):
    transform = made((15, -40, 70), (1.5, -2.5, 3.5))
    path = tmp_path / "a.tfm"
    write_transform(path, transform)
    itk = sitk.ReadTransform(str(path))
    point = (0.3, -7.0, 11.0)
    assert np.allclose(itk.TransformPoint(point), transform.apply(point), atol=1e-10)


def test_a_centre_is_taken_into_the_matrix(tmp_path):
    itk = sitk.Euler3DTransform((5.0, 6.0, 7.0), 0.1, 0.2, 0.3, (1.0, 2.0, 3.0))
    path = tmp_path / "a.tfm"
    sitk.WriteTransform(itk, str(path))
    point = (-4.0, 2.0, 9.0)
    assert np.allclose(read_transform(path).apply(point), itk.TransformPoint(point), atol=1e-12)


def test_other_files_are_refused_in_a_sentence(tmp_path):
    with pytest.raises(MissingInputError):
        read_transform(tmp_path / "none.tfm")
    (tmp_path / "a.tfm").write_text("nonsense")
    with pytest.raises(InputError, match="damaged or no ITK transform"):
        read_transform(tmp_path / "a.tfm")
    for text in ("{", "[]", '{"matrix": [1, 2]}', '{"matrix": "x", "kind": "rigid"}', '{"kind": "rigid"}'):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(InputError):
            read_transform(tmp_path / "a.json")
    (tmp_path / "a.csv").write_text("")
    with pytest.raises(InputError, match="no transform"):
        read_transform(tmp_path / "a.csv")
    sitk.WriteTransform(sitk.Euler2DTransform(), str(tmp_path / "flat.tfm"))
    with pytest.raises(InputError, match="three dimensions"):
        read_transform(tmp_path / "flat.tfm")
    with pytest.raises(SettingsError):
        write_transform(tmp_path / "a.xyz", Transform.identity())
