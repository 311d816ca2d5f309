import numpy as np
import pytest
from roi_bones import make
from scipy import ndimage

from bonemet.core.errors import InputError, SettingsError
from bonemet.core.grid import Grid
from bonemet.roi import lesions
from bonemet.roi.growthplate import GrowthPlate, find_growth_plate
from bonemet.roi.landmarks import Landmarks, find_landmarks, growth_between
from bonemet.roi.lesions import CoarseBone
from bonemet.roi.regions import DEFAULT, Definition, spans
from bonemet.segmentation.bone import Compartments

VOXEL = 0.05
SPACING = (VOXEL, VOXEL, VOXEL)


def coarse(mask, spacing=SPACING):
    out = CoarseBone(mask.shape, spacing)
    for z, plane in enumerate(mask):
        out.add(z, plane)
    return out


@pytest.fixture(scope="module")
def plated():
    """Return a bone with a tilted growth plate that crosses its axis at 1.2 mm, and the slices per row."""
    bone = make(VOXEL, junction_mm=2.0)
    z, y, x = np.indices(bone.tibia.shape)
    r = np.hypot(y - 40, x - 40) * VOXEL
    slope = 0.1
    gap = np.abs(z - 1.2 / VOXEL - slope * (y - 40)) * VOXEL < 0.06
    bone.tibia[gap & (r < 1.0)] = False
    return bone, slope


# Coarse bone, landmarks, growth


def test_coarse_bone_counts_every_voxel_once():
    rng = np.random.default_rng(0)
    mask = rng.random((13, 17, 22)) > 0.5
    found = coarse(mask, (0.01, 0.025, 0.02))
    assert found.factors == (5, 2, 2)
    assert found.counts.sum() == np.count_nonzero(mask)
    assert found.counts[1, 2, 3] == np.count_nonzero(mask[5:10, 4:6, 6:8])
    assert found.share.max() <= 1
    assert found.grey is None


def test_coarse_bone_knows_mean_grey_values():
    grey = np.random.default_rng(1).integers(0, 255, (10, 16, 20)).astype(np.uint8)
    found = CoarseBone(grey.shape, (0.01, 0.025, 0.02))
    for z, plane in enumerate(grey):
        found.add(z, plane > 100, plane)
    assert found.grey[1, 2, 3] == pytest.approx(grey[5:10, 4:6, 6:8].mean())


@pytest.mark.parametrize("way", [1, -1])
def test_the_planted_growth_plate_is_found(plated, way):
    bone, slope = plated
    stack = bone.mask[::way].astype(np.float32)
    plate = find_growth_plate(stack, SPACING, way)
    there = plate.slice if way > 0 else len(stack) - 1 - plate.slice
    at_axis = there - slope * (plate.middle[0] - 40)
    assert at_axis == pytest.approx(24, abs=1)
    assert plate.slopes[0] == pytest.approx(way * slope, abs=0.06)
    assert plate.confidence > 0.5


@pytest.mark.parametrize("way", [1, -1])
def test_grey_values_show_a_plate_between_sheets_thinner_than_voxels(way):
    rng = np.random.default_rng(3)
    fine = np.zeros((400, 160, 160), np.float32)  # 0.0125 mm
    z, y, x = np.indices(fine.shape, dtype=np.int32)
    r = np.hypot(y - 80, x - 80) * 0.0125
    trabeculae = ndimage.gaussian_filter(rng.normal(size=fine.shape), 6)
    fine[trabeculae > 1.2 * trabeculae.std()] = 1
    off = np.abs(z - 120 - 0.1 * (y - 80)) * 0.0125
    fine[(off > 0.06) & (off < 0.085)] = 1
    fine[off < 0.06] = 0
    fine[(r > 0.85) & (r < 0.97)] = 1
    fine[:10] = (r < 0.97)[:10]
    fine[r >= 0.97] = 0
    blurred = ndimage.gaussian_filter(fine, 2.5)
    grey = 200 * blurred.reshape(100, 4, 40, 4, 40, 4).mean(axis=(1, 3, 5))[::way]
    bone = CoarseBone(grey.shape, SPACING)
    for n, plane in enumerate(grey):
        bone.add(n, plane >= 100, plane)
    plate = find_growth_plate(bone.share, SPACING, way, bone.grey)
    there = plate.slice if way > 0 else len(grey) - 1 - plate.slice
    assert there == pytest.approx(120 / 4 - 0.375, abs=1)
    assert plate.confidence > 0.5


def test_without_bone_there_is_no_growth_plate():
    assert find_growth_plate(np.zeros((9, 9, 9)), SPACING, 1) is None
    assert find_growth_plate(np.ones((2, 5, 5)), SPACING, 1) is None


def test_landmarks_are_those_of_the_fine_grid(plated):
    bone, _ = plated
    upper = bone.mask[:150]
    fine = np.repeat(np.repeat(np.repeat(upper, 2, 0), 2, 1), 2, 2)
    marks = find_landmarks(coarse(fine, (0.025, 0.025, 0.025)))
    assert marks.direction == 1
    assert abs(marks.junction - (2 * bone.junction + 0.5)) <= 2
    assert marks.plate.slice == pytest.approx(2 * find_growth_plate(upper, SPACING, 1).slice + 0.5, abs=1)
    assert find_landmarks(coarse(bone.tibia)) is None
    assert find_landmarks(coarse(np.zeros((5, 6, 7), bool))) is None


@pytest.mark.parametrize(("grown", "way"), [(0, 1), (2, -1), (6, 1)])
def test_growth_is_how_far_the_epiphysis_moved(plated, grown, way):
    bone, _ = plated
    before = np.pad(bone.mask, ((8, 0), (0, 0), (0, 0)))
    after = before.copy()
    end = 8 + 20  # proximal of the plate wherever it lies
    after[: end - grown] = before[grown:end]
    after[150:170] = False  # a lesion elsewhere
    first, second = coarse(before[::way]), coarse(after[::way])
    found = growth_between(find_landmarks(first), first, second)
    assert found == pytest.approx(grown * VOXEL, abs=0.1 * VOXEL)


def test_growth_is_not_told_without_a_plate_or_an_epiphysis(plated):
    bone, _ = plated
    first = coarse(bone.mask)
    marks = find_landmarks(first)
    gone = bone.mask.copy()
    gone[:30] = False
    assert growth_between(marks, first, coarse(gone)) is None
    bare = Landmarks(marks.bone_slices, marks.direction, marks.junction, None)
    assert growth_between(bare, first, first) is None


# Regions


def marks(way=1, plate_slice=30.0):
    return Landmarks((10, 209), way, 50.0, GrowthPlate(plate_slice, (0.0, 0.0), (0.0, 0.0), 1.0))


@pytest.mark.parametrize(
    ("definition", "way", "expected"),
    [
        (Definition("a", "junction", length_mm=1.0), 1, (50, 69)),
        (Definition("a", "junction", length_mm=1.0), -1, (31, 50)),
        (Definition("a", "growth plate", 0.25, length_mm=0.5), 1, (35, 44)),
        (Definition("a", "growth plate", -0.5, length_mm=0.5), 1, (20, 29)),
        (Definition("a", "length", percent=0, length_mm=0.05), 1, (10, 10)),
        (Definition("a", "length", percent=25, length_mm=0.5), 1, (55, 64)),
        (Definition("a", "length", percent=25, length_mm=0.5), -1, (155, 164)),
    ],
)
def test_regions_hang_on_landmarks(definition, way, expected):
    region = spans(definition, marks(way), VOXEL, 300)
    assert (region.first_slice, region.last_slice) == expected
    assert not region.notes


def test_regions_that_reach_beyond_or_lack_a_landmark():
    assert "shortened" in spans(Definition("a", "length", percent=100), marks(), VOXEL, 300).notes[0]
    with pytest.raises(InputError, match="outside the bone"):
        spans(Definition("a", "junction", start_mm=20.0), marks(), VOXEL, 300)
    bare = Landmarks((10, 209), 1, None, None)
    for definition in DEFAULT[:2]:
        with pytest.raises(InputError, match="not found"):
            spans(definition, bare, VOXEL, 300)
    with pytest.raises(InputError, match="none was found"):
        spans(DEFAULT[0], None, VOXEL, 300)
    for bad in (
        {"anchor": "knee"},
        {"anchor": "junction", "length_mm": 0.0},
        {"anchor": "length", "percent": 101.0},
    ):
        with pytest.raises(SettingsError):
            Definition("a", **bad)


# Lesions

RADIUS = 20


@pytest.fixture(scope="module")
def tube():
    """Return a tube of bone, 0.25 mm thick, with plates across its inside, and its compartments."""
    z, y, x = np.indices((60, 52, 52))
    r = np.hypot(y - 26, x - 26)
    outline = r <= RADIUS
    inside = r <= RADIUS - 5
    bone = (outline & ~inside) | (inside & (z % 6 == 0))
    return bone, Compartments(outline, outline & ~inside, inside)


def ball(shape, centre, radius):
    return sum((i - c) ** 2 for i, c in zip(np.indices(shape), centre, strict=True)) <= radius**2


def flat(mask):
    return np.flatnonzero(mask)


def test_lost_plates_make_one_lesion_and_scattered_loss_none(tube):
    bone, _ = tube
    inside = ball(bone.shape, (30, 26, 26), 12) & bone
    rng = np.random.default_rng(1)
    specks = np.zeros_like(bone)
    for z, y, x in rng.integers(0, 50, (60, 3)):
        specks[z : z + 2, y : y + 2, x : x + 2] = True
    specks &= bone & ~ndimage.binary_dilation(inside, iterations=6)
    groups = lesions.group(flat(inside | specks), coarse(bone), SPACING)
    assert ndimage.label(inside)[1] > 1
    assert len(groups) == 1
    assert len(np.intersect1d(groups[0], flat(inside))) >= 0.98 * np.count_nonzero(inside)
    assert lesions.group(flat(specks), coarse(bone), SPACING) == []
    assert lesions.group(flat(np.zeros_like(bone)), coarse(bone), SPACING) == []


def test_two_lesions_apart_are_two_and_the_larger_is_first(tube):
    bone, _ = tube
    lost = (ball(bone.shape, (8, 26, 26), 8) | ball(bone.shape, (45, 26, 26), 11)) & bone
    groups = lesions.group(flat(lost), coarse(bone), SPACING)
    assert [len(g) for g in groups] == sorted((len(g) for g in groups), reverse=True)
    assert len(groups) == 2
    assert sum(len(g) for g in groups) >= 0.99 * np.count_nonzero(lost)
    assert not np.intersect1d(*groups).size
    assert np.isin(np.concatenate(groups), flat(lost)).all()


def hole(bone, z, angle, radius, deepest=0.0):
    """Return the cortex in a round hole through the wall at a level and an angle, from a radius outwards."""
    i, y, x = np.indices(bone.shape)
    r, a = np.hypot(y - 26, x - 26), np.arctan2(y - 26, x - 26)
    away = np.angle(np.exp(1j * (a - angle))) * RADIUS
    return bone & (np.hypot(i - z, away) <= radius) & (r > RADIUS - 5.5) & (r <= RADIUS - deepest)


@pytest.mark.parametrize(
    ("holes", "count"),
    [([(15, 0.0)], 1), ([(15, 0.0), (40, 0.0)], 2), ([(15, 0.0), (15, 2.0), (40, 1.0)], 3), ([], 0)],
)
def test_perforations_are_counted(tube, holes, count):
    bone, parts = tube
    lost = ball(bone.shape, (30, 26, 26), 9) & bone & parts.trabecular
    for z, angle in holes:
        lost |= hole(bone, z, angle, 4)
    found, area = lesions.perforations(lost, bone, parts, SPACING)
    assert found == count
    assert area == pytest.approx(count * np.pi * (4 * VOXEL) ** 2, rel=0.3)


def test_a_dent_from_within_and_one_from_outside_perforate_nothing(tube):
    bone, parts = tube
    assert lesions.perforations(hole(bone, 20, 0.5, 5, deepest=1.5), bone, parts, SPACING) == (0, 0.0)
    outside = hole(bone, 20, 0.5, 5) & ~ndimage.binary_dilation(parts.trabecular, iterations=2)
    assert outside.any()
    assert lesions.perforations(outside, bone, parts, SPACING)[0] == 0


def test_a_tiny_opening_is_no_perforation(tube):
    bone, parts = tube
    assert lesions.perforations(hole(bone, 20, 0.0, 0.6), bone, parts, SPACING)[0] == 0


def test_a_lesion_says_where_it_lies(tube):
    bone, parts = tube
    mask = (ball(bone.shape, (40, 26, 26), 8) & bone) | hole(bone, 40, 0.0, 3)
    grid = Grid.isotropic(bone.shape, VOXEL, (1.0, 2.0, 3.0))
    plate = marks(plate_slice=20.0).plate
    lesion = lesions.describe(
        flat(mask),
        grid,
        7,
        "osteolytic",
        plate=plate,
        direction=1,
        surface_mm2=lambda m: float(np.count_nonzero(m)),
        around=lambda box: (
            Compartments(*(m[box.slices] for m in (parts.outline, parts.cortical, parts.trabecular))),
            bone[box.slices],
        ),
    )
    z, y, x = np.argwhere(mask).mean(axis=0)
    assert lesion.centre_mm == pytest.approx((1 + x * VOXEL, 2 + y * VOXEL, 3 + z * VOXEL))
    assert lesion.volume_mm3 == pytest.approx(np.count_nonzero(mask) * VOXEL**3)
    assert lesion.surface_mm2 == np.count_nonzero(mask)
    assert (lesion.number, lesion.perforations, lesion.depth_mm) == (7, 1, 0.0)
    at = np.flatnonzero(mask.any(axis=(1, 2)))
    assert (lesion.first_slice, lesion.last_slice) == (at[0], at[-1])
    assert lesion.below_growth_plate_mm == pytest.approx((z - 20) * VOXEL)
    assert lesion.nearest_growth_plate_mm == pytest.approx((at[0] - 20) * VOXEL)
    assert lesion.trabecular == pytest.approx(np.count_nonzero(mask & parts.trabecular) / mask.sum())
    assert lesion.trabecular + lesion.cortical + lesion.periosteal == pytest.approx(1)
    assert set(lesion.as_dict()) >= {"kind", "volume_mm3", "perforations"}


def test_new_bone_outside_has_no_depth(tube):
    bone, parts = tube
    new = ball(bone.shape, (30, 26, 49), 2) & ~parts.outline
    lesion = lesions.describe(
        flat(new),
        Grid.isotropic(bone.shape, VOXEL),
        1,
        "osteoblastic",
        plate=None,
        direction=1,
        surface_mm2=lambda m: 0.0,
        around=lambda box: (
            Compartments(*(m[box.slices] for m in (parts.outline, parts.cortical, parts.trabecular))),
            bone[box.slices],
        ),
    )
    assert (lesion.periosteal, lesion.depth_mm, lesion.perforations) == (1.0, None, None)
    assert lesion.below_growth_plate_mm is None
