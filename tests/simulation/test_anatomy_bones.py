"""Bones in their own frames: sizes, landmarks, cortex, trabeculae, tissue."""

import numpy as np
import pytest
from scipy import ndimage

from bonemet.core.errors import SettingsError
from bonemet.simulation import (
    Animal,
    animal,
    bone_in_own_frame,
    landmark_points,
    landmarks,
    points_in_bone,
    points_in_fibula,
    sizes_of,
    tissue_in_own_frame,
)
from bonemet.simulation.skeleton import GROWTH_PLATE_MM, long_bone
from bonemet.simulation.tissue import END_PLATE_MM

SEEDS = (3, 1001, 1002)


@pytest.fixture(scope="module")
def mouse() -> Animal:
    return animal(7, tumour_side="left")


@pytest.fixture(scope="module")
def tibia(mouse):
    return bone_in_own_frame(mouse, 0, "right tibia", 0.05)


def rays(mouse: Animal, bone: str, z: float, count: int = 48, kind: int = 1, longest: float = 2.6):
    """Along rays from the marrow outwards: the distances from the axis, and what is there."""
    s = np.arange(0.0, longest, 0.005)
    t = np.linspace(0, 2 * np.pi, count, endpoint=False)
    x, y = s[None] * np.cos(t)[:, None], s[None] * np.sin(t)[:, None]
    points = np.stack([x + 0.15, y + 0.15, np.full_like(x, z)], -1)
    return s, points_in_bone(mouse, 0, bone, points)[:, kind].reshape(x.shape)


def test_same_seed_same_animal_and_other_seed_other_animal():
    assert animal(5, tumour_side=None) == animal(5, tumour_side=None)
    lengths = {animal(s, tumour_side=None).sizes.tibia_mm for s in range(20)}
    assert len(lengths) == 20
    assert max(lengths) - min(lengths) > 0.3


def test_disease_and_name_do_not_shift_the_anatomy():
    assert animal(5, tumour_side=None).sizes == animal(5, tumour_side="left", treated=True, name="871").sizes


@pytest.mark.parametrize(
    "wrong",
    [
        {"strain": "CD-1"},
        {"sex": "both"},
        {"tumour_side": "up"},
        {"age_weeks": 2.0},
        {"seed": -1},
    ],
)
def test_impossible_animals_are_refused(wrong):
    with pytest.raises(SettingsError):
        animal(**({"seed": 1, "tumour_side": None} | wrong))


@pytest.mark.parametrize("bone", ["left tibia", "right femur"])
def test_bones_are_as_long_as_planted(mouse, bone):
    mask, _, grid = bone_in_own_frame(mouse, 0, bone, 0.05)
    levels = np.flatnonzero(mask.any(axis=(1, 2))) * 0.05 + grid.origin_mm[2]
    planted = landmarks(mouse, 0, bone)["length"]
    assert levels[-1] == pytest.approx(planted, abs=0.1)
    # the intercondylar spines of the tibia stand a little above the plateau
    assert levels[0] == pytest.approx(0.0, abs=0.2)


@pytest.mark.parametrize("strain", ["BALB/c", "C57BL/6"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_sizes_are_those_of_adult_mice(strain, side):
    for seed in range(30):
        s = sizes_of(animal(seed, strain=strain, tumour_side=None), side)
        assert 16.8 < s.tibia_mm < 18.2
        assert 14.0 < s.femur_mm < 16.5
        assert 1000 < s.cortical_tmd < 1200
        assert 0.55 <= s.fusion <= 0.60


def test_sides_differ_by_a_per_cent_or_two_and_animals_by_more():
    pairs = [[sizes_of(animal(s, tumour_side=None), side) for side in ("left", "right")] for s in range(40)]
    for name, least, most in (("tibia_mm", 1e-4, 0.015), ("girth", 1e-4, 0.03), ("cortex", 1e-4, 0.06)):
        both = np.array([[getattr(s, name) for s in pair] for pair in pairs])
        apart = np.abs(both[:, 0] / both[:, 1] - 1)
        assert apart.min() > 0
        assert least < np.median(apart)
        assert apart.max() < most
        assert both.mean(axis=1).std() > 1.5 * (both[:, 0] - both[:, 1]).std() / 2
    assert all(left.hip_mm == right.hip_mm for left, right in pairs)


def mean_size(name: str, **kind: object) -> float:
    return float(np.mean([getattr(animal(s, tumour_side=None, **kind).sizes, name) for s in range(12)]))


def test_age_and_sex_move_sizes_as_published():
    # Halloran 2002: males lose 60 % of BV/TV between 6 weeks and 24 months, 12 % of the cortex after 6 months
    black = {"strain": "C57BL/6", "sex": "male"}
    left = mean_size("tb_fraction", age_weeks=104, **black) / mean_size("tb_fraction", age_weeks=6, **black)
    assert left == pytest.approx(0.4, abs=0.03)
    thinner = mean_size("cortex", age_weeks=104, **black) / mean_size("cortex", age_weeks=26, **black)
    assert thinner == pytest.approx(0.88, abs=0.02)
    assert mean_size("cortex", age_weeks=26, **black) > 1.05 * mean_size("cortex", age_weeks=8, **black)
    # Holguin 2014: females of 5 and 12 months have 0.085 and 0.032
    her = {"strain": "C57BL/6"}
    assert mean_size("tb_fraction", age_weeks=22, **her) == pytest.approx(0.085, abs=0.008)
    assert mean_size("tb_fraction", age_weeks=52, **her) == pytest.approx(0.036, abs=0.008)
    assert mean_size("tibia_mm", **black) > mean_size("tibia_mm", **her)
    assert mean_size("tibia_mm", age_weeks=20) > 1.02 * mean_size("tibia_mm", age_weeks=8)


@pytest.mark.parametrize("seed", SEEDS)
def test_junction_and_fusion_are_where_contours_part_and_meet(seed):
    mouse = animal(seed, tumour_side=None)
    truth = landmarks(mouse, 0, "left tibia")
    mask, _, grid = bone_in_own_frame(mouse, 0, "left tibia", 0.04)
    z = grid.origin_mm[2] + 0.04 * np.arange(len(mask))
    counts = np.array([ndimage.label(m, np.ones((3, 3)))[1] for m in mask])
    shaft = z > 0.5
    first = z[shaft & (counts == 2)][0]
    assert first == pytest.approx(truth["junction"], abs=0.13)
    assert set(counts[(z > 0.5) & (z < truth["junction"] - 0.05)]) == {1}
    assert set(counts[(z > truth["junction"] + 0.2) & (z < truth["fusion"] - 0.8)]) == {2}
    assert set(counts[(z > truth["fusion"] + 0.05) & (z < truth["length"] - 1.0)]) == {1}
    assert 0.54 <= truth["fusion"] / truth["length"] <= 0.61


@pytest.mark.parametrize("seed", SEEDS)
def test_junction_and_fusion_lie_in_the_gap_between_tibia_and_fibula(seed):
    mouse = animal(seed, tumour_side=None)
    marks = landmark_points(mouse, 0, "left tibia")
    levels = landmarks(mouse, 0, "left tibia")
    turn = np.linspace(0, 2 * np.pi, 60)
    circle = 0.15 * np.stack([np.cos(turn), np.sin(turn), np.zeros(60)], axis=1)
    for name, into_bone in (("junction", -0.1), ("fusion", 0.1)):
        place = marks[name]
        assert place[2] == levels[name]
        past, here, before = points_in_bone(
            mouse, 0, "left tibia", place + np.outer([1, 0, -1], [0, 0, into_bone])
        )
        assert past[0] < 0 <= before[0]
        assert abs(here[0]) < 0.04
        around = points_in_bone(mouse, 0, "left tibia", place - [0, 0, into_bone] + circle)[:, 0] < 0
        assert np.count_nonzero(around != np.roll(around, 1)) == 4  # bone on two sides, and clear between


def test_fibula_stands_clear_within_a_few_slices_of_the_junction(mouse):
    truth = landmarks(mouse, 0, "right tibia")
    mask, _, grid = bone_in_own_frame(mouse, 0, "right tibia", 0.05)
    k = round((truth["junction"] + 0.25 - grid.origin_mm[2]) / 0.05)
    names, count = ndimage.label(mask[k], np.ones((3, 3)))
    assert count == 2
    gap = ndimage.distance_transform_edt(names != 1)[names == 2].min() * 0.05
    assert gap > 0.1


@pytest.mark.parametrize("bone", ["left tibia", "right femur"])
def test_growth_plates_hold_no_mineral_inside_but_do_not_part_the_bone(mouse, bone):
    level = landmarks(mouse, 0, bone)["proximal_growth_plate" if "tibia" in bone else "distal_growth_plate"]
    tissue, grid = tissue_in_own_frame(mouse, 0, bone, 0.03)
    z = grid.origin_mm[2] + 0.03 * np.arange(len(tissue))
    parts, _ = ndimage.label(tissue, np.ones((3, 3, 3)))
    above, below = parts[np.abs(z - level + 0.8).argmin()], parts[np.abs(z - level - 0.8).argmin()]
    biggest = np.bincount(parts[parts > 0]).argmax()
    assert (above == biggest).any()
    assert (below == biggest).any()
    # along the wavy plate: nothing within it, bone denser than spongiosa on both sides
    zone = long_bone(mouse, 0, bone).shape.zones[0]
    assert zone[0] == pytest.approx(level)
    rng = np.random.default_rng(3)
    x, y = rng.uniform(-0.8, 0.8, size=(2, 20000))
    plate = zone[0] + zone[1] * x + zone[2] * y + zone[3] * np.sin(2.6 * x) * np.sin(2.9 * y + 0.5)

    def share(beyond: float) -> float:
        found = points_in_bone(mouse, 0, bone, np.stack([x, y, plate + zone[5] * beyond], 1))
        return float((found[found[:, 0] < -0.3, 1] <= 0).mean())

    half = 0.5 * GROWTH_PLATE_MM
    assert [share(u) for u in (-half + 0.01, 0.0, half - 0.01)] == [0.0, 0.0, 0.0]
    usual = share(half + 0.6)
    assert share(-half - 0.5 * END_PLATE_MM) > 0.75
    assert share(half + 0.01) > 0.6
    assert share(half + 0.04) > 1.3 * usual


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("bone", ["left tibia", "left femur"])
def test_cortex_of_the_shaft_is_about_a_fifth_of_a_millimetre(seed, bone):
    mouse = animal(seed, tumour_side=None)
    length = landmarks(mouse, 0, bone)["length"]
    for level in (0.4, 0.5, 0.6, 0.7):
        # wall along normals: the largest ball of tissue, twice the greatest depth within the wall
        s, depth = rays(mouse, bone, level * length, longest=1.3)
        local = 2 * -depth.min(axis=1)
        assert local.min() > 0.135
        assert local.max() < 0.3
    assert 0.15 < np.median(local) < 0.24
    assert s[0] == 0.0


def test_cortex_varies_around_and_along(mouse):
    _, middle = rays(mouse, "left tibia", 8.0, longest=1.3)
    _, top = rays(mouse, "left tibia", 0.8, longest=1.3)
    walls = -2 * middle.min(axis=1)
    assert np.ptp(walls) > 0.02
    assert np.median(walls) > 1.2 * np.median(-2 * top.min(axis=1))


def fraction(mouse: Animal) -> float:
    """BV/TV of the spongiosa 0.35-1.3 mm below the tibia's growth plate, by random points."""
    rng = np.random.default_rng(0)
    level = long_bone(mouse, 0, "left tibia").shape.zones[0, 0]
    low, high = (-0.5, -0.5, level + 0.35), (0.5, 0.35, level + 1.3)
    found = points_in_bone(mouse, 0, "left tibia", rng.uniform(low, high, size=(15000, 3)))
    inside = found[:, 0] < -0.26
    assert inside.mean() > 0.9
    return float((found[inside, 1] <= 0).mean())


def test_trabecular_fraction_of_both_strains_lies_in_the_published_ranges():
    balb = [fraction(animal(s, tumour_side=None)) for s in range(6)]
    black = [fraction(animal(s, tumour_side=None, strain="C57BL/6")) for s in range(6)]
    assert 0.15 <= np.mean(balb) <= 0.22
    assert 0.08 <= np.mean(black) <= 0.15
    assert min(balb) > 0.12
    assert max(balb) < 0.26
    assert min(black) > 0.07


def test_marrow_cavity_of_the_shaft_is_empty(mouse):
    points = np.stack([np.full(50, 0.2), np.full(50, 0.2), np.linspace(7.0, 12.0, 50)], 1)
    found = points_in_bone(mouse, 0, "left tibia", points)
    assert (found[:, 0] < 0).all()
    assert (found[:, 1] > 0).all()


def test_density_of_solid_cortex_is_the_planted_one_and_slowly_uneven(mouse, tibia):
    _, density, _ = tibia
    s = sizes_of(mouse, "right")
    solid = density[density > s.cortical_tmd * (1 - 1.5 * s.uneven)]
    assert solid.max() == pytest.approx(s.cortical_tmd * (1 + s.uneven), rel=0.003)
    planes = [p[p > s.cortical_tmd * (1 - 1.5 * s.uneven)] for p in density]
    means = np.array([p.mean() for p in planes if p.size > 30]) / s.cortical_tmd
    assert means.mean() == pytest.approx(1.0, abs=0.015)
    assert 0.8 * s.uneven < np.ptp(means) / 2 <= s.uneven
    assert np.abs(np.diff(means)).max() < 0.5 * s.uneven


def test_mineral_mass_does_not_hang_on_the_voxel(mouse):
    masses = []
    for spacing in (0.06, 0.1):
        _, density, grid = bone_in_own_frame(mouse, 0, "right tibia", spacing, supersample=3)
        masses.append(density.sum(dtype=np.float64) * grid.voxel_mm3)
    assert masses[0] == pytest.approx(masses[1], rel=0.02)


def test_left_and_right_differ_a_little_in_form_and_altogether_in_texture(mouse):
    volumes = []
    for side in ("left", "right"):
        mask, density, grid = bone_in_own_frame(mouse, 0, f"{side} tibia", 0.1)
        volumes.append((mask.sum() * grid.voxel_mm3, density.sum()))
    (left, _), (right, _) = volumes
    assert left != right
    assert left == pytest.approx(right, rel=0.06)
    found = [points_in_bone(mouse, 0, f"{side} tibia", POINTS)[:, 1] <= 0 for side in ("left", "right")]
    assert np.corrcoef(found)[0, 1] < 0.2


POINTS = np.random.default_rng(1).uniform((-0.5, -0.5, 1.9), (0.5, 0.35, 2.9), size=(4000, 3))


def test_network_is_one_piece_of_plates_and_rods(mouse):
    """Trabeculae hang together, are densest at the growth plate and gone in the shaft."""
    tissue, grid = tissue_in_own_frame(mouse, 0, "left tibia", 0.03)
    level = landmarks(mouse, 0, "left tibia")["proximal_growth_plate"]
    z = grid.origin_mm[2] + 0.03 * np.arange(len(tissue))
    part = tissue[(z > level + 0.4) & (z < level + 3.0)]
    names, _ = ndimage.label(part, np.ones((3, 3, 3)))
    counts = np.bincount(names.ravel())[1:]
    counts = np.sort(counts)[::-1]
    # tibia and fibula are the two largest
    assert counts[2:].sum() < 0.02 * counts.sum()
    rng = np.random.default_rng(0)

    def share(first: float, last: float) -> float:
        points = rng.uniform((-0.6, -0.6, first), (0.6, 0.6, last), size=(12000, 3))
        found = points_in_bone(mouse, 0, "left tibia", points)
        return float((found[found[:, 0] < -0.35, 1] <= 0).mean())

    near, middle, far = share(level + 0.3, level + 0.9), share(level + 2.0, level + 2.6), share(7.0, 9.0)
    assert near > 1.2 * middle > far == 0.0
    assert near > 0.12


def test_shaft_is_triangular_with_a_crest_in_front_and_a_hollow_beside_it(mouse):
    """At 30 % of the length: the crest is the farthest point, the back is flat, the lateral face hollow."""
    mask, _, grid = bone_in_own_frame(mouse, 0, "right tibia", 0.04)
    z = grid.origin_mm[2] + 0.04 * np.arange(len(mask))
    plane = mask[np.abs(z - 0.3 * landmarks(mouse, 0, "right tibia")["length"]).argmin()]
    names, _ = ndimage.label(plane)
    shaft = names == 1 + np.argmax(np.bincount(names.ravel())[1:])
    widths = shaft.sum(axis=1)
    rows = np.flatnonzero(widths)
    quarter = len(rows) // 4
    # rows run from the back to the front
    assert widths[rows[:quarter]].mean() > 2.0 * widths[rows[-quarter:]].mean()
    assert len(rows) > 1.15 * widths.max()
    left_edge = shaft.argmax(axis=1)[rows]
    # x is medial, so low x is lateral; a straight face would lie on the chord between its corners
    chord = np.linspace(left_edge[quarter], left_edge[-3], len(left_edge) - quarter - 2)
    assert (left_edge[quarter:-2] - chord).max() > 1.0


def test_a_point_of_the_fibula_is_known_from_one_of_the_tibia():
    mouse = animal(5, tumour_side=None)
    marks = landmarks(mouse, 0, "right tibia")
    level = 0.5 * (marks["junction"] + marks["fusion"])
    s = np.arange(-3.0, 3.0, 0.05)
    x, y = np.meshgrid(s, s, indexing="ij")
    points = np.stack([x.ravel(), y.ravel(), np.full(x.size, level)], 1)
    solid = points_in_bone(mouse, 0, "right tibia", points)[:, 0].reshape(x.shape) <= 0
    pieces, count = ndimage.label(solid)
    assert count == 2
    small = pieces == 1 + int(np.argmin(np.bincount(pieces.ravel())[1:]))
    fibula = points_in_fibula(mouse, 0, "right tibia", points).reshape(x.shape)
    assert np.array_equal(fibula & solid, small)
