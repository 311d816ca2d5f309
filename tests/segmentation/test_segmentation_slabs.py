"""Scans of any size: what is read and written slab by slab is what the whole in memory gives."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from segmentation_limbs import Pose, limbs

from bonemet.core.rim import with_rim
from bonemet.engine.context import ThreadContext
from bonemet.io import stacks
from bonemet.io.volumes import open_volume
from bonemet.kernels import labelling
from bonemet.segmentation import slabs
from bonemet.segmentation.choices import Cut
from bonemet.segmentation.limbs import segment_limbs
from bonemet.segmentation.names import sizes_and_boxes
from bonemet.stages import _bones
from bonemet.stages.segment import segment

T = 95.0


def plain_refined(labels, factors, shape):
    """The same by linear interpolation of each label's mask, slowly."""
    votes = []
    for k in range(int(labels.max()) + 1):
        mask = np.pad((labels == k).astype(float), 1, mode="edge")
        axes = [(np.arange(n) + 0.5) / f + 0.5 for n, f in zip(shape, factors, strict=True)]
        axes = [np.clip(a, 0, n - 1) for a, n in zip(axes, mask.shape, strict=True)]
        votes.append(
            ndimage.map_coordinates(mask, np.meshgrid(*axes, indexing="ij"), order=1, mode="nearest")
        )
    votes = np.asarray(votes)
    top = np.sort(votes, axis=0)
    return votes.argmax(axis=0), top[-1] - top[-2] if len(votes) > 1 else np.ones(shape)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.tuples(*[st.integers(1, 4)] * 3), st.integers(0, 3))
def test_labels_are_refined_as_their_masks_are_interpolated(seed, factors, more):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, (4, 5, 6)).astype(np.uint8)
    shape = tuple(n * f + more for n, f in zip(labels.shape, factors, strict=True))
    out = np.empty(shape, np.uint8)
    labelling.refine_labels(labels, factors, 0, out)
    expected, margin = plain_refined(labels, factors, shape)
    sure = margin > 1e-4
    assert np.array_equal(out[sure], expected[sure])
    part = np.empty_like(out[3:])
    labelling.refine_labels(labels, factors, 3, part)
    assert np.array_equal(part, out[3:])


def test_a_ball_keeps_its_volume_and_place_when_refined():
    z, y, x = np.ogrid[:30, :30, :30]
    ball = (z - 14.5) ** 2 + (y - 14.0) ** 2 + (x - 15.0) ** 2 < 100
    out = np.empty((90, 90, 90), np.uint8)
    labelling.refine_labels(ball.astype(np.uint8), (3, 3, 3), 0, out)
    assert np.count_nonzero(out) / 27 == pytest.approx(np.count_nonzero(ball), rel=0.01)
    centre = (np.asarray(ndimage.center_of_mass(out)) + 0.5) / 3 - 0.5
    assert centre == pytest.approx(ndimage.center_of_mass(ball), abs=0.05)


def test_block_means_are_those_of_the_blocks():
    values = np.random.default_rng(0).integers(0, 255, (7, 9, 10)).astype(np.uint8)
    out = np.zeros((3, 3, 2), np.float32)
    labelling.block_means(values, (2, 3, 4), out)
    assert out == pytest.approx(values[:6, :, :8].reshape(3, 2, 3, 3, 2, 4).mean(axis=(1, 3, 5)), rel=1e-6)


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 40))
def test_packed_labels_give_back_any_range(first, count):
    labels = np.random.default_rng(1).integers(0, 3, (50, 6, 7)).astype(np.uint8)
    packed, boxes = slabs.PackedLabels(labels.shape), slabs.Boxes()
    for k in range(0, 50, 13):
        packed.add(labels[k : k + 13])
        boxes.add(labels[k : k + 13])
    assert np.array_equal(packed[first : first + count], labels[first : first + count])
    assert boxes.found == sizes_and_boxes(labels)


@pytest.fixture(scope="module")
def leg():
    """One leg in voxels of 0.1 mm."""
    return limbs(Pose(legs=("right",), z_range_mm=(-15, 6)), 0.1)[0][:, :, 100:].copy()


class Slices:
    """A scan that is read in whole slices only."""

    def __init__(self, data):
        self.data, self.shape, self.dtype = data, data.shape, data.dtype

    def __getitem__(self, key):
        assert isinstance(key, slice)
        return self.data[key]


def test_a_fine_scan_has_the_bones_of_its_working_copy(leg, monkeypatch):
    fine, spacing, cut = leg.repeat(3, 0).repeat(2, 1).repeat(2, 2)[:-1, :-1], (0.033, 0.05, 0.05), Cut(T, "")
    monkeypatch.setattr(slabs, "WORK_MM", 0.1)
    found = slabs.find_limbs(fine, spacing, cut)
    assert found.factors == (3, 2, 2)
    labels = np.concatenate(list(found.slabs()))
    assert labels.shape == fine.shape
    whole = segment_limbs(leg[:-1, :-1], (0.099, 0.1, 0.1), T)
    assert np.array_equal(found.found.labels, whole.labels)
    rough = whole.labels.repeat(3, 0).repeat(2, 1).repeat(2, 2)
    assert (labels[: rough.shape[0], : rough.shape[1]] == rough).mean() > 0.99
    boxes = slabs.Boxes()
    boxes.add(labels)
    judged = found.judged(boxes)
    assert {b.name for b in judged.bones} >= {"right tibia", "right femur"}
    for bone, again in zip(judged.bones, whole.bones, strict=True):
        assert bone.confidence == again.confidence
        assert bone.voxels == np.count_nonzero(labels == bone.label)
        assert bone.voxels == pytest.approx(12 * again.voxels, rel=0.03)
    knee, coarse = (np.asarray(f.details["legs"][0]["knee_voxel"]) for f in (judged, whole))
    assert knee == pytest.approx((coarse + 0.5) * (3, 2, 2) - 0.5, abs=0.06)
    # In slabs of any size, on any number of threads, from anything that slices along z.
    monkeypatch.setattr(slabs, "CHUNK_BYTES", 40 * fine[0].size)
    context = ThreadContext(2)
    copies = [
        slabs.working_copy(d, spacing, cut, found.factors, m)
        for d, m in ((fine, map), (Slices(fine), context.map))
    ]
    assert np.array_equal(*copies)
    assert np.array_equal(np.concatenate(list(found.slabs(context.map))), labels)


def test_the_command_writes_the_same_bytes_from_disk_and_from_memory(leg, tmp_path, monkeypatch):
    grey = leg
    folder = tmp_path / "871 week 0"
    folder.mkdir()
    stacks.write_slices(folder, "871_rec", iter(grey), format="png")
    segment(folder, tmp_path / "memory", voxel_um=100, threshold=T)
    monkeypatch.setattr(_bones, "IN_MEMORY", 0.0)
    monkeypatch.setattr(_bones, "CHUNK_BYTES", 7 * grey[0].size)
    monkeypatch.setattr(slabs, "CHUNK_BYTES", 11 * grey[0].size)
    monkeypatch.setattr(slabs, "PACK_BYTES", 3 * grey[0].size)
    segment(folder, tmp_path / "disk", voxel_um=100, threshold=T, context=ThreadContext(2))
    files = sorted(p.relative_to(tmp_path / "memory") for p in (tmp_path / "memory").rglob("*.*"))
    assert len(files) > 300
    for path in files:
        assert (tmp_path / "memory" / path).read_bytes() == (tmp_path / "disk" / path).read_bytes(), path
    labels = open_volume(tmp_path / "disk" / "labels.nii.gz").array()
    piece = open_volume(tmp_path / "disk" / "871 week 0 right tibia")
    first = np.rint(np.asarray(piece.grid.origin_mm)[::-1] / 0.1).astype(int)
    box = tuple(slice(a, a + n) for a, n in zip(first, piece.grid.shape, strict=True))
    own = labels[box] == 5
    assert np.array_equal(
        piece.array(), np.where(with_rim(own, (labels[box] > 0) & ~own), grey[box], np.uint8(0))
    )
