"""From coarse names to the voxels of the scan, with each bone's outer contour filled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from bonemet.segmentation import joints, mirror, sesamoids
from bonemet.segmentation.components import Mask, Spacing
from bonemet.segmentation.eaten import Eaten
from bonemet.segmentation.names import LONG_BONES, Label
from bonemet.segmentation.naming import Scene
from bonemet.segmentation.outline import filled, nowhere, surface_points, trace, wall_tops
from bonemet.segmentation.walls import WALLS, Levels, find_levels

Triple = tuple[int, int, int]
Box = tuple[slice, ...]

GROW = 2  # coarse voxels around a coarse bone in which its voxels are looked for
SPECK_MM3 = 0.02
BELOW_JOINT_MM = 1.0
RIM, RIM_SHARE = 2.5, 0.4  # voxels, and of the step from soft tissue to bone
LOST_MM = 0.12  # radius: what the other leg has and this one lacks, over less, is no loss
INTACT, BRIGHT_WALL, ALIKE = 6000, 0.4, 0.8  # places looked at; least height; cosine between both normals
INTACT_MM = (-0.8, 0.2)  # outside of the fellow's surface; a wall within it tells of new bone on the fellow
AHEAD = 1.5  # voxels along a normal to either side by which the fellow's is told
NEIGHBOURS, NEIGHBOUR_MM, UNLIKE_MM = 100, 0.3, 0.05  # intact places by which the pattern is mended


@dataclass(frozen=True, eq=False)
class Coarse:
    """What was found on the coarse grid.

    Attributes
    ----------
    labels, filled, holder
        (z, y, x) labels, filled bone and holder, in a box.
    corner
        Coarse voxel at the box's first corner.
    factors
        Voxels of the scan along a coarse voxel's edges.
    scene
        Tibiae and knees.
    eaten
        What the lesser tibia lacks; None where there are no two.
    by_hand
        Labels of the tibiae and femora between which a person has set the boundary.
    """

    labels: NDArray[np.uint8]
    filled: Mask
    holder: Mask
    corner: Triple
    factors: Triple
    scene: Scene
    eaten: Eaten | None = None
    by_hand: tuple[tuple[Label, Label], ...] = ()

    @property
    def origin(self) -> mirror.Points:
        """Where coarse mm begin: a place (z, y, x) in voxels of the scan."""
        return np.asarray((np.asarray(self.corner) + 0.5) * np.asarray(self.factors) - 0.5)

    @property
    def eaten_tibia(self) -> tuple[Label, Label] | None:
        """Labels of the eaten tibia and of the other one."""
        if self.eaten is None or not self.eaten.much:
            return None
        return self.scene.leg_labels(self.eaten.leg)[0], self.scene.leg_labels(1 - self.eaten.leg)[0]

    def knee_of(self, label: Label) -> tuple[mirror.Points, mirror.Points] | None:
        """Return the middle of the knee (mm) and the unit vector toward it of a tibia; None for others."""
        for leg, (tibia, knee) in enumerate(zip(self.scene.tibiae, self.scene.knees, strict=True)):
            if self.scene.leg_labels(leg)[0] is label:
                return knee.point, tibia.axis
        return None


def carry(grey: NDArray[Any], threshold: float, coarse: Coarse, spacing_mm: Spacing) -> NDArray[np.uint8]:
    """Return labels on the scan's grid from labels on the coarse one.

    Each label's place is cut along the joints, and a long bone's surface is traced in its place.

    Parameters
    ----------
    grey, threshold
        The scan; bone is grey >= threshold.
    coarse
        What was found on the coarse grid.
    spacing_mm
        Of the scan (z, y, x).
    """
    near = _grown(np.where(coarse.holder, np.uint8(Label.HOLDER), coarse.labels))
    out = np.zeros(grey.shape, np.uint8)
    scan = _Scan(grey, threshold, coarse, near, spacing_mm)
    scan.spread(out)
    for box, zone in joints.zones(near, coarse.by_hand):
        scan.cut_joint(out, box, zone)
    for label in (Label.SPINE, Label.OTHER, Label.HOLDER):
        # Piece by piece, so that scattered small bones do not ask for memory for all between them.
        pieces, _ = ndimage.label(near == label, np.ones((3, 3, 3)))
        for box in ndimage.find_objects(pieces):
            scan.keep(out, label, box)
    scan.outline(out)
    return out


def _grown(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return labels grown into the background by some voxels, the nearest label winning, ties by place."""
    out = labels
    for _ in range(GROW):
        # The largest neighbouring label: only voxels without a label change, so nothing is overrun.
        out = np.where(
            out > 0, out, ndimage.maximum_filter(out, footprint=ndimage.generate_binary_structure(3, 1))
        )
    return np.asarray(out)


@dataclass(frozen=True, eq=False)
class _Scan:
    """A scan with its coarse labels; ``near`` are these grown."""

    grey: NDArray[Any]
    threshold: float
    coarse: Coarse
    near: NDArray[np.uint8]
    spacing_mm: Spacing

    def _fine_box(self, box: Box) -> tuple[Box, list[NDArray[np.int64]]]:
        """Return a coarse box on the scan's grid, and the coarse slices, rows and columns of its voxels."""
        fine, index = [], []
        sizes = zip(
            box, self.coarse.corner, self.coarse.factors, self.grey.shape, self.near.shape, strict=True
        )
        for b, c, f, n, m in sizes:
            last = b.stop + c >= n // f  # incomplete blocks at the far end go with the last complete one
            s = slice((b.start + c) * f, n if last else (b.stop + c) * f)
            fine.append(s)
            index.append(np.minimum(np.arange(s.start, s.stop) // f - c, m - 1) - b.start)
        return tuple(fine), index

    def boxes(self, out: NDArray[np.uint8]) -> dict[Label, Box]:
        """Return the coarse boxes of the long bones' places, those that joints were cut anew included."""
        found = ndimage.find_objects(out, int(max(Label)))
        sizes = list(zip(self.coarse.corner, self.coarse.factors, self.near.shape, strict=True))
        return {
            label: tuple(
                slice(min(b.start // f - c, m - 1), min((b.stop - 1) // f - c, m - 1) + 1)
                for b, (c, f, m) in zip(found[label - 1], sizes, strict=True)
            )
            for label in LONG_BONES
            if found[label - 1] is not None
        }

    def spread(self, out: NDArray[np.uint8]) -> None:
        """Fill ``out`` with the grown coarse labels."""
        fine, index = self._fine_box(tuple(slice(0, n) for n in self.near.shape))
        target = out[fine]
        for k, z in enumerate(index[0]):
            target[k] = self.near[z][index[1][:, None], index[2]]

    def cut_joint(self, out: NDArray[np.uint8], box: Box, zone: Mask) -> None:
        """Lead the boundary between labels in a zone along the darkest surface."""
        wide = tuple(
            slice(max(0, b.start - 2), min(n, b.stop + 2)) for b, n in zip(box, self.near.shape, strict=True)
        )
        room = np.zeros(tuple(b.stop - b.start for b in wide), bool)
        room[tuple(slice(b.start - w.start, b.stop - w.start) for b, w in zip(box, wide, strict=True))] = zone
        sure = joints.anchors(self.near[wide], self.coarse.labels[wide], room)
        sure[self.near[wide] == Label.HOLDER] = 0
        fine, index = self._fine_box(wide)
        place = _enlarged(self.near[wide] > 0, index) & _enlarged(self.near[wide] != Label.HOLDER, index)
        parted = joints.part_along_dark(self.grey[fine], _enlarged(sure, index), place)
        inside = _enlarged(room, index) & (parted > 0)
        out[fine][inside] = parted[inside]

    def outline(self, out: NDArray[np.uint8]) -> None:
        """Cut the long bones' places in ``out`` down to their outlines."""
        boxes = self.boxes(out)
        bodies = {label: self.first_outline(out, label, box) for label, box in boxes.items()}
        levels = self.levels(bodies)
        eaten = self.coarse.eaten_tibia
        # The eaten tibia comes last: it needs the other's outline.
        for label in sorted(bodies, key=lambda k: (eaten is not None and k is eaten[0], k)):
            fine, body = bodies[label]
            own = out[fine] == label
            at_knee = self.at_knee(label, fine)
            if levels is not None:
                small = sesamoids.touching(self.grey[fine], body, own, levels, self.spacing_mm, at_knee)
                bright = self.grey[fine][small] >= self.threshold
                out[fine][small] = np.where(bright, np.uint8(Label.OTHER), 0)
                own &= ~small
                if small.any():  # what was filled between it and the long bone is no bone
                    body = self.first_outline(out, label, boxes[label])[1]
                body = self.traced(label, fine, self.sharper(fine, body & own, levels), own, levels)
                if eaten is not None and label is eaten[0] and eaten[1] in bodies:
                    lost = self.lost(boxes[label])
                    body = self.made_whole(label, fine, body, own, lost, bodies[eaten[1]], levels)
            bodies[label] = fine, sesamoids.without_loose(body, self.spacing_mm, at_knee)
            out[fine][own & ~body] = 0
            out[fine][body & ~bodies[label][1]] = Label.OTHER

    def _cores(self, label: Label, box: Box, index: list[NDArray[np.int64]]) -> tuple[Mask, Mask]:
        """Return what is surely inside a coarse bone, and where its inside may reach, on the scan's grid."""
        solid = np.pad(self.coarse.filled[box] & (self.coarse.labels[box] == label), 1, mode="edge")
        core = ndimage.binary_erosion(solid)[1:-1, 1:-1, 1:-1]
        room = ndimage.binary_dilation(solid)[1:-1, 1:-1, 1:-1]
        return _enlarged(core, index), _enlarged(room, index)

    def keep(self, out: NDArray[np.uint8], label: Label, box: Box) -> None:
        """Keep of a label's place what is bone there, holes filled."""
        fine, index = self._fine_box(box)
        own = out[fine] == label
        body = own & (self.grey[fine] >= self.threshold)
        if label is not Label.HOLDER:
            core, room = self._cores(label, box, index)
            body = filled(self._without_specks(body | (core & own), core), room & own, self.spacing_mm)
        out[fine][own & ~body] = 0

    def first_outline(self, out: NDArray[np.uint8], label: Label, box: Box) -> tuple[Box, Mask]:
        """Return a long bone's box and its outline by the threshold, filled."""
        fine, index = self._fine_box(box)
        own = out[fine] == label
        core, room = self._cores(label, box, index)
        body = self._without_specks(own & ((self.grey[fine] >= self.threshold) | core), core)
        return fine, filled(body, room & own, self.spacing_mm)

    def levels(self, bodies: dict[Label, tuple[Box, Mask]]) -> Levels | None:
        """Return the levels of soft tissue and bone from the walls of the tibiae."""
        rows = []
        for label in (Label.LEFT_TIBIA, Label.RIGHT_TIBIA):
            if label in bodies:
                fine, body = bodies[label]
                surface = surface_points(body, WALLS)
                rows.append((self.grey[fine], surface, self.below_knee_mm(label, fine, surface.points)))
        kind = self.grey.dtype
        ceiling = float(np.iinfo(kind).max) if np.issubdtype(kind, np.integer) else np.inf
        return find_levels(rows, ceiling) if rows else None

    def below_knee_mm(self, label: Label, fine: Box, voxels: NDArray[Any]) -> NDArray[np.float64]:
        """Return how far below the knee voxels (n, 3) of a tibia's box lie along it; NaN for other bones."""
        joint = self.coarse.knee_of(label)
        if joint is None:
            return nowhere(voxels)
        corner = np.array([f.start for f in fine]) - self.coarse.origin
        return np.asarray((joint[0] - (voxels + corner) * np.asarray(self.spacing_mm)) @ joint[1])

    def traced(self, label: Label, fine: Box, body: Mask, own: Mask, levels: Levels) -> Mask:
        """Return a bone with its surface where its wall ends."""
        body = trace(self.grey[fine], body, own, levels, partial(self.below_knee_mm, label, fine))
        return filled(self._without_specks(body, None), own, self.spacing_mm)

    def made_whole(
        self,
        label: Label,
        fine: Box,
        body: Mask,
        own: Mask,
        lacking: Mask,
        other: tuple[Box, Mask],
        levels: Levels,
    ) -> Mask:
        """Return an eaten tibia with what its mirrored fellow has and it lacks, here or in coarse voxels."""
        assert self.coarse.eaten is not None
        step = np.asarray(self.spacing_mm)
        shift = self.coarse.origin * step
        here, there = (np.array([b.start for b in box]) * step for box in (fine, other[0]))
        start = self.coarse.eaten.fellow.shifted(shift - here, shift - there)
        model = mirror.pattern(other[1], self.spacing_mm)
        surface = mirror.surface_mm(body, self.spacing_mm)
        axis = self.coarse.scene.tibiae[self.coarse.eaten.leg].axis
        fellow = mirror.with_fragment(surface, model, mirror.settle(surface, model, start), axis)
        whole = tuple(slice(0, n) for n in body.shape)
        intact, off = self.intact(fine, body, own, levels, model, fellow)
        distance = mirror.inside(model, fellow, whole, self.spacing_mm)
        added = np.zeros_like(body)
        # Twice: what lies within the fellow, but not within it as shifted to the walls around, is no loss.
        lost = opened(((distance < 0) & ~body | lacking) & own, LOST_MM, self.spacing_mm)
        near = opened_room(lost, 2 * LOST_MM, self.spacing_mm) & own
        voxels = np.argwhere(near)
        if not len(voxels) or not len(intact):
            return body
        mended = distance[near] - _nearby(intact, off, voxels * step)
        added[tuple(voxels[mended < 0].T)] = True
        lost = opened(added & (lacking | ~body), LOST_MM, self.spacing_mm)
        near &= opened_room(lost, 2 * LOST_MM, self.spacing_mm)
        added &= near
        bright = self.grey[fine] >= levels.grey(0.5)
        joined = filled(np.where(near, added | (body & bright), body), own, self.spacing_mm)
        return self.traced(label, fine, joined, own, levels) | (added & lost)

    def intact(
        self, fine: Box, body: Mask, own: Mask, levels: Levels, model: mirror.Pattern, fellow: mirror.Fellow
    ) -> tuple[mirror.Points, NDArray[np.float64]]:
        """Return places (n, 3; mm) of an eaten bone with the fellow's walls, and how far outside they lie.

        There a bright wall faces where the fellow's surface faces, not far from it.
        """
        step = np.asarray(self.spacing_mm)
        surface = surface_points(body, INTACT)
        top, _ = wall_tops(self.grey[fine], own, surface, levels)
        points, ahead = surface.points * step, AHEAD * surface.normals * step
        off = mirror.off_surface(points, model, fellow)
        along = model.at(fellow.apply(points + ahead)) - model.at(fellow.apply(points - ahead))
        same = along > 2 * ALIKE * np.linalg.norm(ahead, axis=1)
        good = (top > levels.grey(BRIGHT_WALL)) & same & (off > INTACT_MM[0]) & (off < INTACT_MM[1])
        return points[good], off[good]

    def lost(self, box: Box) -> Mask:
        """Return what an eaten tibia lacked on the coarse grid, in its box of the scan."""
        assert self.coarse.eaten is not None
        _, index = self._fine_box(box)
        return np.asarray(_enlarged(self.coarse.eaten.lost[box], index))

    def sharper(self, fine: Box, body: Mask, levels: Levels) -> Mask:
        """Return an outline without its dark rim; what is deep inside stays."""
        deep = ndimage.distance_transform_edt(body) > RIM
        return np.asarray(body & (deep | (self.grey[fine] >= levels.grey(RIM_SHARE))))

    def at_knee(self, label: Label, fine: Box) -> Callable[[NDArray[np.float64]], bool]:
        """Return what tells of a voxel of a bone's box whether a small bone of the knee may lie there.

        Beside a tibia's shaft there are only its fibula and what a lesion has left.
        """
        return lambda voxel: not self.below_knee_mm(label, fine, voxel[None])[0] >= BELOW_JOINT_MM

    def _without_specks(self, body: Mask, inner: Mask | None) -> Mask:
        """Drop pieces that neither hold a coarse bone's inside nor a volume worth keeping."""
        pieces, n = ndimage.label(body)
        if n < 2:
            return body
        sizes = np.bincount(pieces.reshape(-1), minlength=n + 1)
        keep = sizes * float(np.prod(self.spacing_mm)) >= SPECK_MM3
        if inner is not None:
            keep |= np.bincount(pieces[inner], minlength=n + 1) > 0
        keep[0] = False
        return np.asarray(keep[pieces])


def opened(mask: Mask, radius_mm: float, spacing_mm: Spacing) -> Mask:
    """Return a mask without what is thinner than a ball."""
    if not mask.any():
        return mask
    core = ndimage.distance_transform_edt(mask, sampling=spacing_mm) > radius_mm
    return opened_room(core, radius_mm, spacing_mm) & mask


def opened_room(mask: Mask, radius_mm: float, spacing_mm: Spacing) -> Mask:
    """Return all within a distance of a mask."""
    if not mask.any():
        return mask
    return np.asarray(ndimage.distance_transform_edt(~mask, sampling=spacing_mm) <= radius_mm)


def _nearby(
    places: NDArray[np.float64], values: NDArray[np.float64], at: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the mean of the values of the nearest places at points (n, 3).

    Near ones count more, and less those unlike the others, as of new bone upon the surface.
    """
    distance, index = cKDTree(places).query(at, k=min(NEIGHBOURS, len(places)))
    distance, index = distance.reshape(len(at), -1), index.reshape(len(at), -1)
    near = values[index]
    unlike = near - np.median(near, axis=1, keepdims=True)
    weight = np.exp(-0.5 * (unlike / UNLIKE_MM) ** 2) / (distance**2 + NEIGHBOUR_MM**2)
    return np.asarray((weight * near).sum(axis=1) / weight.sum(axis=1))


def _enlarged(mask: NDArray[Any], index: list[NDArray[np.int64]]) -> NDArray[Any]:
    return np.asarray(mask[index[0][:, None, None], index[1][:, None], index[2]])
