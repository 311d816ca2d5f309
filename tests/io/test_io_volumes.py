from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from bonemet.core.calibration import Kind, Quantity
from bonemet.core.errors import InputError, MissingInputError, SettingsError, UnknownFormatError
from bonemet.core.grid import Grid
from bonemet.core.volume import Volume
from bonemet.io import sidecar
from bonemet.io.skyscan import SkyScanLog, write_rec_log
from bonemet.io.sniff import sniff
from bonemet.io.stacks import write_slices
from bonemet.io.volumes import VoxelSizeError, open_volume, write_volume

DATA = Path(__file__).parents[2].parent / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the shared example data are not here")

SHAPE = (4, 5, 6)
REC = {
    "Pixel Size (um)": "8.50",
    "Section to Section Step": "2",
    "Mininum for CS to Image Conversion": "-0.01",
    "Maximum for CS to Image Conversion": "0.09",
    "Filename Index Length": 4,
    "Filename Prefix": "mouse_rec",
}


def ramp(dtype=np.uint8):
    return np.arange(120).reshape(SHAPE).astype(dtype)


LOG = SkyScanLog(
    Path("mouse.log"),
    {"System": {"Scanner": "SkyScan1276"}, "Acquisition": {"Image Pixel Size (um)": "8.5"}},
)


def rec_folder(folder, dtype=np.uint8, prefix="mouse_rec", name="mouse_rec.log", **changes):
    folder.mkdir(exist_ok=True)
    kind = "float" if dtype == np.float32 else "png"
    write_slices(folder, prefix, ramp(dtype), format=kind, start=12, digits=4)
    entries = {k: v for k, v in (REC | changes).items() if v is not None}
    write_rec_log(folder / name, LOG, entries)
    return folder


@st.composite
def grids(draw):
    h = draw(st.tuples(*[st.floats(0.001, 2.0)] * 3))
    origin = draw(st.tuples(*[st.floats(-100, 100)] * 3))
    turn = Rotation.from_euler("xyz", draw(st.tuples(*[st.floats(-90, 90)] * 3)), degrees=True).as_matrix()
    return Grid(SHAPE, h, origin, tuple(tuple(float(v) for v in row) for row in turn))


@settings(deadline=None, max_examples=40)
@given(
    grid=grids(),
    suffix=st.sampled_from([".nii.gz", ".nii", ".nrrd", ".mha"]),
    quantity=st.sampled_from(
        [
            (Quantity(Kind.GREY, (-0.01, 0.2), 255), np.uint8),
            (Quantity(Kind.GREY, None, 65535), np.uint16),
            (Quantity(Kind.HU), np.int16),
            (Quantity(Kind.ATTENUATION), np.float32),
            (Quantity(Kind.LABELS), np.uint8),
        ]
    ),
)
def test_volumes_come_back_with_grid_and_meaning(tmp_path_factory, grid, suffix, quantity):
    meaning, dtype = quantity
    path = tmp_path_factory.mktemp("v") / f"a b{suffix}"
    write_volume(path, Volume(ramp(dtype), grid, meaning))
    back = open_volume(path)
    # NIfTI keeps positions as float32
    reach = float(np.abs(grid.index_to_mm([[0, 0, 0], [4, 5, 6]])).max())
    assert back.grid.same_as(grid, tolerance=max(1e-4, 2e-6 * reach / min(grid.spacing_mm)))
    assert np.array_equal(back.array(), ramp(dtype))
    assert back.data.dtype == dtype
    assert back.quantity == meaning
    assert back.name == "a b"


def test_itk_sees_the_points_that_our_grid_gives(tmp_path):
    grid = Grid(
        SHAPE, (0.03, 0.02, 0.01), (1.0, 2.0, 3.0), ((0.0, -1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0))
    )
    write_volume(tmp_path / "a.nii.gz", Volume(ramp(), grid, Quantity(Kind.LABELS)))
    image = sitk.ReadImage(str(tmp_path / "a.nii.gz"))
    z, y, x = 1, 2, 3
    assert np.allclose(image.TransformIndexToPhysicalPoint((x, y, z)), grid.index_to_mm([z, y, x]), atol=1e-6)
    assert open_volume(tmp_path / "a.nii.gz").grid.spacing_mm == grid.spacing_mm


def test_labels_are_compressed_and_the_same_bytes(tmp_path):
    labels = np.zeros((40, 40, 40), np.uint8)
    labels[10:20] = 3
    volume = Volume(labels, Grid.isotropic(labels.shape, 0.02), Quantity(Kind.LABELS))
    for name in ("a.nii.gz", "a.nrrd", "a.mha"):
        write_volume(tmp_path / name, volume)
        first = (tmp_path / name).read_bytes()
        write_volume(tmp_path / name, volume)
        assert (tmp_path / name).read_bytes() == first
        assert len(first) < labels.size / 20


def test_other_suffixes_are_not_written(tmp_path):
    with pytest.raises(SettingsError, match=r"not a\.xyz"):
        write_volume(tmp_path / "a.xyz", Volume(ramp(), Grid.isotropic(SHAPE, 1), Quantity(Kind.MASK)))


def test_numbers_of_a_file_are_read_late_and_once(tmp_path):
    write_volume(tmp_path / "a.nrrd", Volume(ramp(), Grid.isotropic(SHAPE, 0.1), Quantity(Kind.MASK)))
    volume = open_volume(tmp_path / "a.nrrd")
    assert np.array_equal(volume.data[1:3], ramp()[1:3])
    (tmp_path / "a.nrrd").unlink()
    assert np.array_equal(volume.array(), ramp())


def test_the_log_gives_voxel_and_window(tmp_path):
    volume = open_volume(rec_folder(tmp_path))
    assert volume.grid.spacing_mm == pytest.approx((0.017, 0.0085, 0.0085))
    assert volume.quantity == Quantity(Kind.GREY, (-0.01, 0.09), 255)
    assert volume.name == "mouse"
    assert any("1/mm" in note for note in volume.notes)
    assert np.array_equal(volume.array(), ramp())


def test_sixteen_bits_share_the_window_over_65535_steps(tmp_path):
    volume = open_volume(rec_folder(tmp_path, np.uint16))
    assert volume.quantity == Quantity(Kind.GREY, (-0.01, 0.09), 65535)


def test_float_slices_without_a_sidecar_mean_nothing_known(tmp_path):
    volume = open_volume(rec_folder(tmp_path, np.float32))
    assert volume.quantity.window is None


def test_hu_calibration_takes_the_meaning_of_the_window(tmp_path):
    volume = open_volume(rec_folder(tmp_path, **{"HU Calibration": "ON"}))
    assert volume.quantity == Quantity(Kind.GREY, None, 255)
    assert any("HU Calibration" in note for note in volume.notes)


def test_a_window_that_falls_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not rise"):
        open_volume(rec_folder(tmp_path, **{"Maximum for CS to Image Conversion": "-1"}))


def test_voxel_um_overrides_the_log(tmp_path):
    assert open_volume(rec_folder(tmp_path), 20.0).grid.spacing_mm == (0.02, 0.02, 0.02)


def test_the_log_of_the_slices_is_chosen_among_two(tmp_path):
    rec_folder(tmp_path)
    other = REC | {"Filename Prefix": "mouse_IR_rec", "Pixel Size (um)": "99"}
    write_rec_log(tmp_path / "mouse_IR_rec.log", LOG, other)
    assert open_volume(tmp_path).grid.spacing_mm[1] == pytest.approx(0.0085)


def test_the_series_of_the_log_is_chosen_among_two(tmp_path):
    rec_folder(tmp_path)
    write_slices(tmp_path, "other_", ramp() + 1, format="png")
    assert np.array_equal(open_volume(tmp_path).array(), ramp())


def test_the_sidecar_comes_before_the_log(tmp_path):
    folder = rec_folder(tmp_path)
    grid = Grid(SHAPE, (0.3, 0.2, 0.1), (1.0, 2.0, 3.0))
    quantity = Quantity(Kind.GREY, (0.0, 0.5), 255)
    write_sidecar(folder, grid, quantity)
    volume = open_volume(folder)
    assert volume.grid == grid
    assert volume.quantity == quantity
    assert volume.name == "the name"


def write_sidecar(folder, grid, quantity):
    content = sidecar.Sidecar(
        bonemet="0",
        name="the name",
        grid=sidecar.grid_model(grid),
        quantity=sidecar.quantity_model(quantity),
    )
    sidecar.write(folder, content)


@settings(deadline=None, max_examples=20)
@given(grid=grids(), voxel_um=st.floats(1, 500))
def test_voxel_um_keeps_the_origin_at_its_voxel(tmp_path_factory, grid, voxel_um):
    folder = tmp_path_factory.mktemp("s")
    write_slices(folder, "a_", ramp(), format="png")
    write_sidecar(folder, grid, Quantity(Kind.MASK))
    new = open_volume(folder, voxel_um).grid
    assert new.spacing_mm == (voxel_um / 1000,) * 3
    assert np.allclose(new.mm_to_index([0, 0, 0]), grid.mm_to_index([0, 0, 0]), rtol=1e-6, atol=1e-6)


def test_a_sidecar_that_lies_about_the_shape_is_refused(tmp_path):
    write_slices(tmp_path, "a_", ramp(), format="png")
    write_sidecar(tmp_path, Grid.isotropic((9, 5, 6), 0.01), Quantity(Kind.MASK))
    with pytest.raises(InputError, match=r"bonemet\.json says \(9, 5, 6\)"):
        open_volume(tmp_path)


def test_without_any_voxel_size_a_stack_is_refused(tmp_path):
    write_slices(tmp_path, "a_", ramp(), format="png")
    with pytest.raises(VoxelSizeError, match="--voxel-um"):
        open_volume(tmp_path)
    volume = open_volume(tmp_path, 19.5)
    assert volume.grid == Grid.isotropic(SHAPE, 0.0195)
    assert volume.quantity == Quantity(Kind.GREY, None, 255)


@pytest.mark.parametrize("voxel_um", [0.0, -1.0, float("nan"), float("inf")])
def test_a_senseless_voxel_size_is_refused(tmp_path, voxel_um):
    with pytest.raises(SettingsError, match="positive size"):
        open_volume(tmp_path, voxel_um)


@pytest.mark.parametrize("header", ["NRRD0004\ntype: uint8\ndimension: 3\nsizes: 6 5 4\nencoding: raw\n\n"])
def test_a_header_without_spacing_is_refused(tmp_path, header):
    (tmp_path / "a.nrrd").write_bytes(header.encode() + ramp().tobytes())
    with pytest.raises(VoxelSizeError):
        open_volume(tmp_path / "a.nrrd")
    assert open_volume(tmp_path / "a.nrrd", 10).grid.spacing_mm == (0.01, 0.01, 0.01)


def test_nrrd_in_micrometres_is_brought_to_mm(tmp_path):
    header = (
        "NRRD0004\ntype: uint8\ndimension: 3\nspace dimension: 3\nsizes: 6 5 4\nencoding: raw\n"
        'space directions: (10,0,0) (0,20,0) (0,0,30)\nspace units: "um" "um" "um"\n\n'
    )
    (tmp_path / "a.nrrd").write_bytes(header.encode() + ramp().tobytes())
    assert open_volume(tmp_path / "a.nrrd").grid.spacing_mm == pytest.approx((0.03, 0.02, 0.01))


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"byteorder": ">"}])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_multi_page_tiff_is_a_volume(tmp_path, options, dtype):
    tifffile.imwrite(tmp_path / "a.tif", ramp(dtype), photometric="minisblack", **options)
    with pytest.raises(VoxelSizeError):
        open_volume(tmp_path / "a.tif")
    volume = open_volume(tmp_path / "a.tif", 10)
    assert volume.grid == Grid.isotropic(SHAPE, 0.01)
    assert np.array_equal(volume.data[1:3, 2], ramp(dtype)[1:3, 2])
    assert volume.array().dtype == dtype
    assert np.array_equal(open_volume(tmp_path, 10).array(), ramp(dtype))
    assert sniff(tmp_path).kind == "stack"


@pytest.mark.parametrize(("unit", "factor"), [("um", 1e-3), ("micron", 1e-3), ("mm", 1.0)])
def test_imagej_says_the_voxel_size(tmp_path, unit, factor):
    metadata = {"unit": unit, "spacing": 3.0, "axes": "ZYX"}
    tifffile.imwrite(tmp_path / "a.tif", ramp(), imagej=True, resolution=(1 / 4, 1 / 5), metadata=metadata)
    spacing = open_volume(tmp_path / "a.tif").grid.spacing_mm
    assert spacing == pytest.approx((3 * factor, 5 * factor, 4 * factor))


def test_dots_per_inch_are_no_voxel_size(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", ramp(), photometric="minisblack", resolution=(72, 72))
    with pytest.raises(VoxelSizeError):
        open_volume(tmp_path / "a.tif")


@pytest.mark.parametrize("name", ["a.tif", "a.nrrd", "a.nii.gz", "a.nii", "a.mha"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_truncated_files_are_one_sentence(tmp_path, name, share):
    path = tmp_path / name
    noise = np.random.default_rng(0).integers(0, 255, (8, 20, 20), np.uint8)
    if name == "a.tif":
        tifffile.imwrite(path, noise, photometric="minisblack")
    else:
        write_volume(path, Volume(noise, Grid.isotropic(noise.shape, 0.1), Quantity(Kind.MASK)))
    raw = path.read_bytes()
    path.write_bytes(raw[: int(share * len(raw))])
    with pytest.raises(InputError, match=r"damaged or truncated"):
        open_volume(path, 10).array()


def test_images_that_are_no_volume_are_refused(tmp_path):
    sitk.WriteImage(sitk.Image([5, 5, 5], sitk.sitkVectorUInt8, 3), str(tmp_path / "rgb.nrrd"))
    sitk.WriteImage(sitk.Image([5, 5], sitk.sitkUInt8), str(tmp_path / "flat.nrrd"))
    sitk.WriteImage(sitk.Image([5, 5, 5, 2], sitk.sitkUInt8), str(tmp_path / "four.nrrd"))
    for name in ("rgb", "flat", "four"):
        with pytest.raises(InputError, match=f"{name}.nrrd"):
            open_volume(tmp_path / f"{name}.nrrd")
    tifffile.imwrite(tmp_path / "rgb.tif", np.random.default_rng(0).integers(0, 9, (4, 5, 3), np.uint8))
    with pytest.raises(InputError, match="colour"):
        open_volume(tmp_path / "rgb.tif", 10)
    tifffile.imwrite(tmp_path / "4d.tif", np.zeros((2, 3, 4, 5), np.uint8), photometric="minisblack")
    with pytest.raises(InputError, match="no grey volume"):
        open_volume(tmp_path / "4d.tif", 10)


def test_unknown_and_missing_files_are_refused(tmp_path):
    (tmp_path / "a.isq").write_bytes(b"CTDATA")
    with pytest.raises(UnknownFormatError, match="Scanco"):
        open_volume(tmp_path / "a.isq")
    (tmp_path / "a.docx").write_bytes(b"x")
    with pytest.raises(UnknownFormatError, match="unknown kind"):
        open_volume(tmp_path / "a.docx")
    with pytest.raises(MissingInputError):
        open_volume(tmp_path / "none")


@needs_data
def test_the_trabecular_cube():
    volume = open_volume(DATA / "trabecular-cube", 19.5)
    assert volume.grid == Grid.isotropic((200, 200, 200), 0.0195)
    assert volume.name == "3155_D_4_bc"
    first = tifffile.imread(volume.data.paths[0])  # type: ignore[attr-defined]
    assert np.array_equal(volume.data[0], first)
    assert volume.data.dtype == np.uint8


@needs_data
def test_the_shrew():
    volume = open_volume(DATA / "shrew-trabecular" / "Shrew.nrrd")
    assert volume.grid.shape == (115, 114, 114)
    assert volume.grid.spacing_mm == pytest.approx((0.0041,) * 3)
    data = volume.array()
    assert round(float((data > 0).mean()), 5) == 0.29349


@needs_data
@pytest.mark.parametrize("name", ["test_mha.mha", "test_nrrd.nrrd", "test_nii.nii"])
def test_reader_samples(name):
    path = DATA / "finger-joint-hrpqct" / "reader-samples" / name
    volume = open_volume(path)
    image = sitk.ReadImage(str(path))
    assert np.allclose(volume.grid.spacing_mm[::-1], image.GetSpacing())
    assert np.allclose(volume.grid.index_to_mm([3, 4, 5]), image.TransformIndexToPhysicalPoint((5, 4, 3)))
    assert np.array_equal(volume.array(), sitk.GetArrayFromImage(image))


@needs_data
@pytest.mark.parametrize("name", ["test_aim.AIM", "test_isq.ISQ", "test_dicom"])
def test_reader_samples_that_are_refused(name):
    with pytest.raises(InputError):
        open_volume(DATA / "finger-joint-hrpqct" / "reader-samples" / name)
