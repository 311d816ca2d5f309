"""Every measure against planted shapes, plain counts or another program."""

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from skimage.measure import euler_number as skimage_euler_number

from bonemet.core.calibration import Kind, Quantity
from bonemet.core.errors import InputError, SettingsError
from bonemet.core.grid import Grid
from bonemet.engine.context import ThreadContext
from bonemet.morphometry import connectivity, density, nomenclature, remodelling, surface
from bonemet.morphometry.measuring import Sample, measure_arrays, measure_region
from bonemet.testing import truths

masks = hnp.arrays(bool, hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=7))


def network(seed=0, shape=(36, 30, 32), level=0.505):
    return ndimage.gaussian_filter(np.random.default_rng(seed).random(shape), 2, mode="wrap") > level


def values(measures):
    return {m.name: m.value for m in measures}


def ball(radius):
    z, y, x = np.mgrid[:40, :40, :40] - 19.6
    return z * z + y * y + x * x < radius**2


@given(masks, masks)
@settings(max_examples=40, deadline=None)
def test_volumes_are_plain_counts(bone, region):
    region = np.resize(region, bone.shape)
    grid = Grid(bone.shape, (0.02, 0.01, 0.01))
    found = {m.name: m for m in measure_arrays(bone, region, None, grid, Quantity(Kind.MASK), "BV,TV,BV/TV")}
    if not region.any():
        assert {m.reason for m in found.values()} == {"the region is empty"}
        return
    assert found["BV"].value == pytest.approx((bone & region).sum() * 2e-6, abs=1e-15)
    assert found["TV"].value == pytest.approx(region.sum() * 2e-6)
    assert found["BV/TV"].value == (bone & region).sum() / region.sum()


def test_surface_equals_that_of_itk():
    bone = network()
    padded = np.pad(bone, 1)
    shapes = sitk.LabelShapeStatisticsImageFilter()
    shapes.ComputePerimeterOn()
    shapes.Execute(sitk.GetImageFromArray(padded.astype(np.uint8)))
    assert surface.surface_area(padded, (1, 1, 1)) == pytest.approx(shapes.GetPerimeter(1), rel=1e-9)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 0.8, 0.8), (0.6, 1.0, 1.0)])
def test_a_sphere_has_its_surface(spacing):
    grid = Grid((60, 60, 60), spacing)
    found = surface.surface_area(truths.sphere(grid, 30.0, (0.2, 0.1, 0.3)), spacing)
    assert found == pytest.approx(np.pi * 30**2, rel=0.02)
    assert surface.direction_weights(spacing).sum() == pytest.approx(1)


def test_cut_faces_are_no_surface():
    slab = np.zeros((10, 20, 20), dtype=bool)
    slab[:5] = True
    whole = surface.surface_area(slab, (1, 1, 1))
    assert whole == pytest.approx(400, rel=0.15)  # 7 % by the voxels, 5 % by slanted lines cut at the rim
    region = np.zeros_like(slab)
    region[:, 5:15, 5:15] = True
    assert surface.surface_area(slab, (1, 1, 1), region=region) == pytest.approx(100, rel=0.2)
    region[5:] = False
    assert surface.surface_area(slab, (1, 1, 1), region=region) == 0


@given(masks)
@settings(max_examples=60, deadline=None)
def test_euler_number_equals_that_of_skimage(mask):
    assert connectivity.euler_number(mask) == skimage_euler_number(np.pad(mask, 1), connectivity=3)


@given(masks, st.integers(0, 6))
@settings(max_examples=40, deadline=None)
def test_euler_numbers_of_boxes_side_by_side_add_up(mask, cut):
    cut = min(cut, len(mask) - 1)
    parts = [connectivity.sampled_euler_number(m) for m in (mask[: cut + 1], mask[cut:])]
    if 0 < cut < len(mask) - 1:
        assert sum(parts) == pytest.approx(connectivity.sampled_euler_number(mask))


def test_a_lattice_has_two_loops_in_each_cell():
    period, cells = 10, 3
    grid = Grid.isotropic((period * cells + 1,) * 3, 0.01)
    bone = truths.lattice(grid, 0.05, period * 0.01)
    bone[15, 15, 5] = True  # a speck of its own, or part of a rod: it must not count
    found = measure_arrays(bone, None, None, grid, Quantity(Kind.MASK), "Conn.D")
    expected = (1 + 2 * cells**3) / (bone.size * 1e-6)
    assert found[0].value == pytest.approx(expected)


def test_purify_keeps_the_largest_piece_and_fills_it():
    bone = np.zeros((12, 12, 12), dtype=bool)
    bone[1:8, 1:8, 1:8] = True
    bone[4, 4, 4] = False
    bone[10, 10, 10] = True
    piece = connectivity.purify(bone)
    assert piece.sum() == 7**3
    assert not piece[10, 10, 10]


def test_plates_have_their_thickness_separation_and_number():
    grid = Grid.isotropic((80, 48, 48), 0.01)
    bone = truths.plates(grid, 0.06, 0.2, (0.3, 0.2, 1.0))
    truth = {"Tb.Th": 0.06, "Tb.Sp": 0.14, "Tb.N": 5.0}
    for definition in nomenclature.DEFINITIONS:
        found = measure_arrays(bone, None, None, grid, Quantity(Kind.MASK), truth, definition=definition)
        for m in found:
            assert m.value == pytest.approx(truth[m.name], rel=0.15), definition


def test_plate_model_gives_what_it_says():
    grid = Grid.isotropic((36, 30, 32), 0.01)
    names = "BV/TV,BS/BV,BS/TV,Tb.Th,Tb.Sp,Tb.N"
    v = values(measure_arrays(network(), None, None, grid, Quantity(Kind.MASK), names, definition="plate"))
    assert v["Tb.Th"] == pytest.approx(2 / v["BS/BV"])
    assert v["Tb.N"] == pytest.approx(v["BS/TV"] / 2)
    assert v["Tb.Th"] + v["Tb.Sp"] == pytest.approx(1 / v["Tb.N"])


@pytest.mark.parametrize("definition", list(nomenclature.DEFINITIONS))
def test_thin_trabeculae_are_not_resolved(definition):
    grid = Grid.isotropic((40, 40, 40), 0.02)
    bone = truths.plates(grid, 0.04, 0.2)
    sample = Sample(bone, grid)
    found = measure_region(sample, "BV/TV,Tb.Th,Tb.Sp,Tb.N", definition=definition)
    assert found.measures[0].value == bone.mean()
    assert [(m.value, m.reason) for m in found.measures[1:]] == [(None, "not resolved")] * 3
    assert len(found.notes) == 1
    assert "2.0 voxels" in found.notes[0] or definition == "plate"


def test_bone_outside_the_region_bounds_the_space_in_it():
    grid = Grid.isotropic((30, 30, 30), 0.01)
    bone = truths.plates(grid, 0.06, 0.16)
    region = ~ndimage.binary_dilation(bone, iterations=2)
    found = measure_arrays(bone, region, None, grid, Quantity(Kind.MASK), "Tb.Sp,Tb.Th,Ct.Th,BMD")
    assert [m.reason for m in found[:3]] == ["the region holds no bone"] * 3
    region |= bone
    sp = measure_arrays(bone, region, None, grid, Quantity(Kind.MASK), "Tb.Sp")[0]
    assert sp.value == pytest.approx(0.10, abs=0.011)


@pytest.mark.parametrize("direction", [(0, 0, 1), (0.1, 0.05, 1)])
def test_a_tube_has_its_cross_section(direction):
    grid = Grid.isotropic((40, 110, 110), 0.01)
    outer, wall = 1.0, 0.15
    bone = truths.tube(grid, outer, wall, direction, (0.003, 0.004, 0))
    v = values(measure_arrays(bone, None, None, grid, Quantity(Kind.MASK), nomenclature.CORTICAL))
    tilt = np.linalg.norm(direction) / direction[2]
    ro, ri = outer / 2, outer / 2 - wall
    area, total = np.pi * (ro**2 - ri**2), np.pi * ro**2
    assert v["Tt.Ar"] == pytest.approx(total * tilt, rel=0.01)
    assert v["Ct.Ar"] == pytest.approx(area * tilt, rel=0.01)
    assert v["Ma.Ar"] == pytest.approx((total - area) * tilt, rel=0.01)
    assert v["Ct.Ar/Tt.Ar"] == pytest.approx(area / total, rel=0.01)
    assert v["Ct.Th"] == pytest.approx(wall, abs=0.01)
    polar = np.pi / 2 * (ro**4 - ri**4)
    assert v["Ct.pMOI"] == pytest.approx(polar * tilt * (1 + tilt**2) / 2, rel=0.02)


def test_a_rectangle_has_its_exact_polar_moment():
    grid = Grid((2, 30, 30), (0.05, 0.02, 0.01))
    bone = truths.bar(grid, (0.2, 0.3, 1.0))
    found = measure_arrays(bone, None, None, grid, Quantity(Kind.MASK), "Ct.pMOI,Ct.Ar")
    a, b = 0.2, 14 * 0.02  # 14 rows have their centres inside 0.3 mm
    b = bone[0].any(axis=1).sum() * 0.02
    assert found[0].value == pytest.approx(a * b * (a**2 + b**2) / 12)
    assert found[1].value == pytest.approx(a * b)


def test_open_rings_are_reported():
    grid = Grid.isotropic((5, 60, 60), 0.01)
    bone = truths.tube(grid, 0.5, 0.1)
    bone[0, :, 30] = False
    found = measure_region(Sample(bone, grid), "Tt.Ar")
    assert "1 of 5 slices" in found.notes[0]
    assert not measure_region(Sample(bone[1:], Grid.isotropic((4, 60, 60), 0.01)), "Tt.Ar").notes


def test_densities():
    bone = network()
    grid = Grid.isotropic(bone.shape, 0.01)
    grey = np.where(bone, 200, 40).astype(np.uint8)
    window = Quantity(Kind.GREY, (0.0, 0.51), 255)
    line = density.Calibration(slope=4000, intercept=-100)
    found = values(measure_region(Sample(bone, grid, None, "whole", grey, window, line), "TMD,BMD").measures)
    assert found["TMD"] == pytest.approx(4000 * 0.4 - 100)
    assert found["BMD"] == pytest.approx(4000 * 0.51 * grey.mean() / 255 - 100)
    known = Sample(bone, grid, bone, "whole", grey, Quantity(Kind.DENSITY))
    assert values(measure_region(known, "Ct.TMD,Tb.BMD").measures) == {"Ct.TMD": 200, "Tb.BMD": 200}


@pytest.mark.parametrize(
    ("quantity", "why"),
    [
        (Quantity(Kind.GREY), "no known window"),
        (Quantity(Kind.GREY, (0.0, 0.5)), "phantom"),
        (Quantity(Kind.ATTENUATION), "phantom"),
        (Quantity(Kind.HU), "HU"),
    ],
)
def test_uncalibrated_density_is_null(quantity, why):
    bone = network()
    grid = Grid.isotropic(bone.shape, 0.01)
    found = measure_arrays(bone, None, bone.astype(np.uint8), grid, quantity, "BMD,TMD")
    assert all(m.value is None and why in m.reason for m in found)


@given(st.permutations([0, 1, 2]), st.integers(0, 20))
@settings(max_examples=10, deadline=None)
def test_turned_bone_measures_the_same(order, seed):
    bone = network(seed, (18, 20, 22), 0.5)
    moved = np.flip(bone.transpose(order), 1)
    names = [n for n in nomenclature.TRABECULAR]
    first, second = (
        values(measure_arrays(b, None, None, Grid.isotropic(b.shape, 0.01), Quantity(Kind.MASK), names))
        for b in (bone, moved)
    )
    assert second == pytest.approx(first, rel=1e-9)


def test_finer_voxels_scale_every_unit():
    bone = network()
    names = (*nomenclature.TRABECULAR, *nomenclature.CORTICAL)
    power = {"mm": 1, "mm2": 2, "mm3": 3, "mm4": 4, "1/mm": -1, "1/mm3": -3, "1": 0}
    ones, twos = (
        measure_arrays(bone, None, None, Grid.isotropic(bone.shape, h), Quantity(Kind.MASK), names)
        for h in (0.01, 0.02)
    )
    for one, two in zip(ones, twos, strict=True):
        assert two.value == pytest.approx(one.value * 2.0 ** power[one.unit], rel=1e-5), one.name


def test_threads_give_the_same_numbers():
    bone = network(shape=(70, 40, 40))
    region = np.zeros_like(bone)
    region[5:60, 3:30, 4:] = True
    sample = Sample(bone, Grid.isotropic(bone.shape, 0.01), region)
    names = (*nomenclature.TRABECULAR, *nomenclature.CORTICAL)
    one = measure_region(sample, names, definition="ipl")
    many = measure_region(sample, names, definition="ipl", mapper=ThreadContext(3).map)
    assert one == many


def test_empty_and_full_volumes_have_reasons():
    grid = Grid.isotropic((6, 6, 6), 0.01)
    names = (*nomenclature.TRABECULAR, *nomenclature.CORTICAL, "TMD")
    for bone in (np.zeros(grid.shape, dtype=bool), np.ones(grid.shape, dtype=bool)):
        found = {m.name: m for m in measure_arrays(bone, None, None, grid, Quantity(Kind.MASK), names)}
        assert found["BV/TV"].value == bone.mean()
        assert found["Tb.Th"].value is None
        assert found["Ct.Th"].value is None


def test_names_are_found_in_any_case_and_unknown_ones_named():
    assert nomenclature.choose(" tb.th, BV/TV,tb.TH") == ("Tb.Th", "BV/TV")
    assert nomenclature.choose(None) == nomenclature.TRABECULAR
    with pytest.raises(SettingsError, match=r"Tb\.X.*names are BV, TV"):
        nomenclature.choose("Tb.Th,Tb.X")
    with pytest.raises(SettingsError, match="no measure was named"):
        nomenclature.choose(" , ")
    with pytest.raises(SettingsError, match="ctan, ipl, plate"):
        nomenclature.check_definition("bonej")
    assert set(nomenclature.TRABECULAR + nomenclature.CORTICAL) < set(nomenclature.TERMS)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="region of shape"):
        Sample(np.ones((3, 3, 3), dtype=bool), Grid.isotropic((3, 3, 3), 1), np.ones((2, 3, 3), dtype=bool))
    with pytest.raises(SettingsError, match="slope"):
        density.Calibration(-1, 0)


def test_remodelling_counts_what_came_and_went():
    before, after = truths_before_and_after()
    found = remodelling.change(before, after, 0.5)
    assert (found.unchanged_mm3, found.formed_mm3, found.resorbed_mm3) == (10, 5, 20)
    assert (found.net_mm3, found.baseline_mm3) == (-15, 30)
    assert values(remodelling.fractions(found)) == pytest.approx({"MV/BV": 5 / 30, "EV/BV": 20 / 30})
    region = np.zeros_like(before)
    assert remodelling.fractions(remodelling.change(before, after, 1, region=region))[0].value is None
    with pytest.raises(InputError, match="cannot be compared"):
        remodelling.change(before, after[1:], 1)


def truths_before_and_after():
    before, after = np.zeros((2, 5, 5, 5), dtype=bool)
    before.flat[:60] = True
    after.flat[40:70] = True
    return before, after
