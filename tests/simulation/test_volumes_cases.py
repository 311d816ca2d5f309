"""Cases for benchmarks: their truth takes one bone onto the other, and follows from the seed."""

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from bonemet.simulation import points_in_bone
from bonemet.simulation.disease import fracture

FOLDER = Path(__file__).parents[2] / "benchmarks"
VOXEL = 0.08


@pytest.fixture(scope="module")
def cases():
    if not (FOLDER / "cases.py").is_file():
        pytest.skip("benchmarks are not part of this copy")
    sys.path.insert(0, str(FOLDER))
    try:
        import cases
    finally:
        sys.path.remove(str(FOLDER))
    return cases


def pair_of_side(cases, side):
    """The first pair of a side among seeds below 1000, same week twice, in two poses."""
    k = next(k for k in range(20) if cases.mouse(500 + k).tumour_side == side)
    return cases.tibia_pair(k, VOXEL, weeks=(1, 1), first=500)


def likeness(pair, shift=(0.0, 0.0, 0.0), turn_deg=0.0):
    """Correlation of fixed and moving where a transform near the truth puts one onto the other."""
    index = np.argwhere(pair.labels[0] != 0)[::7]
    points = pair.fixed.grid.index_to_mm(index)
    a = np.radians(turn_deg)
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    middle = points.mean(axis=0)
    places = pair.truth.apply((points - middle) @ turn.T + middle + shift)
    there = pair.moving.grid.mm_to_index(places)
    held = np.all((there >= 0) & (there <= np.array(pair.moving.grid.shape) - 1), axis=1)
    assert held.mean() > 0.5
    moving = ndimage.map_coordinates(pair.moving.data.astype(np.float64), there[held].T, order=1)
    return np.corrcoef(pair.fixed.data[tuple(index[held].T)], moving)[0, 1]


@pytest.mark.parametrize("side", ["left", "right"])
def test_truth_takes_one_tibia_onto_the_other(cases, side):
    pair = pair_of_side(cases, side)
    assert pair.side == side
    linear = pair.truth.matrix[:3, :3]
    np.testing.assert_allclose(linear @ linear.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(linear) == pytest.approx(1)  # left stays left
    best = likeness(pair)
    assert best > 0.93
    for axis in range(3):
        assert likeness(pair, shift=0.15 * np.eye(3)[axis]) < best - (0.05 if axis < 2 else 0.005)
    for turn in (-8.0, 8.0):
        assert likeness(pair, turn_deg=turn) < best - 0.02


def test_cases_follow_from_their_seed(cases):
    one, again, other = (cases.tibia_pair(k, 0.15, first=500) for k in (2, 2, 4))
    assert one.fixed.data.tobytes() == again.fixed.data.tobytes()
    assert one.moving.data.tobytes() == again.moving.data.tobytes()
    assert one.what == again.what
    assert one.what != other.what
    assert not np.array_equal(one.truth.matrix, other.truth.matrix)


def test_pairs_may_be_eaten_and_broken(cases):
    """Lesions of a share asked for, tibiae in two pieces, and a bone that does not change."""
    kind = {"kind": "osteolytic", "growth": 0.0, "remodelling": 0.0, "fractured": False}
    whole, eaten = (
        cases.tibia_pair(2, 0.15, weeks=(0, 5), second="alike", grey=False, first=500, changed=kind | more)
        for more in ({}, {"loss": 0.3})
    )
    assert np.array_equal(whole.fixed.data, eaten.fixed.data)
    third = slice(2, 2 + round(eaten.animal.sizes.tibia_mm / 3 / 0.15))
    left = [(v.data[third] - 0.055).clip(0).sum() for v in (eaten.fixed, eaten.moving)]  # above marrow
    assert 0.2 < 1 - left[1] / left[0] < 0.4
    broken = cases.tibia_pair(
        2,
        0.15,
        weeks=(0, 5),
        second="alike",
        first=500,
        changed=kind | {"fractured": True, "fibula_broken": "left"},
    )
    places = broken.moving.grid.index_to_mm(np.argwhere(np.ones(broken.labels[1].shape, bool)))
    inverse = np.linalg.inv(broken.matrices[1])
    points = places @ inverse[:3, :3].T + inverse[:3, 3]
    inside = points_in_bone(broken.animal, 5, f"{broken.side} tibia", points)[:, 0] <= 0
    assert np.mean(inside == (broken.labels[1].ravel() > 0)) > 0.9999
    assert fracture(broken.animal, broken.side, 5) is not None


def test_limbs_know_where_their_bones_are(cases):
    limbs = cases.limbs(1, 0.2, first=500)
    for bone, label in (("left femur", 2), ("left tibia", 3), ("right femur", 4), ("right tibia", 5)):
        along = np.array([[0, 0, z, 1] for z in np.linspace(3, 12, 10)])
        places = (along @ limbs.matrices[bone].T)[:, :3]
        index = np.rint(limbs.volume.grid.mm_to_index(places)).astype(int)
        held = np.all((index >= 0) & (index < limbs.labels.shape), axis=1)
        assert held.any()
        assert np.mean(limbs.labels[tuple(index[held].T)] == label) > 0.7
