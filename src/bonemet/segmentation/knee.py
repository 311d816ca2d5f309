"""The knee: where a tibia ends and its femur begins, as the cheapest cut between the two.

The cut runs through the graph of bone voxels around the knee, from the tibia's shaft to the far end of what
lies beyond the joint (Boykov and Jolly 2001, doi:10.1109/ICCV.2001.937505). It is the smallest one: the bones
are bridged by a small closing first, which joins both sides of a growth plate over its whole width, and those
of a joint only where its surfaces meet. Faces in thin surroundings cost more, by the square of the thickness
around, so a joint between two knobs is cheaper than a shaft, or than what a lesion left of one. Faces of what
was bridged cost less again: they are a gap.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse import csgraph
from scipy.spatial import cKDTree

from bonemet.segmentation.components import Mask, Spacing, bridged, distance_inside

BRIDGE = 2.1  # voxels: closing radius that bridges a growth plate, and of a joint only the contacts
BRIDGES = (1.6, BRIDGE, 2.6)
ASIDE_MM = 8.0
REACH_MM = 11.0  # how far beyond the tibia's shaft the femur is looked for
THICKNESS_MM = (0.35, 1.1)  # radii between which the thickness around counts
GAP = 0.7  # cost of a face in what was bridged, over one in bone; less, and growth plates are cut
UNITS = 1000.0  # of cost per mm2 in whole numbers
LEAST_FEMUR_MM3 = 2.0
WIDEST_JOINT_MM = 1.0

Point = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Knee:
    """Both sides of a knee.

    Attributes
    ----------
    tibia, femur
        (n, 3) voxels (z, y, x) of either side, within reach of the knee; femur is empty if nothing lies
        beyond.
    point
        (z, y, x) in mm: the middle of the joint.
    cost
        Of the cut: area in mm2 (bridged area counts less) over the squared thickness (mm) around it; 0 where
        a gap parts the two.
    doubt_mm3
        By how much the femur's volume changes where growth plates are bridged a little less or more.
    """

    tibia: NDArray[np.int64]
    femur: NDArray[np.int64]
    point: Point
    cost: float
    doubt_mm3: float = 0.0


def cut_knee(
    filled: Mask, near: Point, axis: Point, spacing_mm: Spacing, *, surely: Mask | None = None
) -> Knee:
    """Part what lies around a knee into tibia and femur.

    Parameters
    ----------
    filled
        (z, y, x) filled bones, spacing near 0.1 mm.
    near
        (z, y, x) in mm: the end of the tibia's shaft that is at the knee.
    axis
        Unit vector (z, y, x) along the tibia toward the knee.
    spacing_mm
        (z, y, x).
    surely
        (z, y, x) what is known to belong to the tibia.
    """
    s = np.asarray(spacing_mm)
    corners = np.stack([near, near + REACH_MM * axis])
    low = np.clip(np.floor((corners.min(axis=0) - ASIDE_MM) / s), 0, filled.shape).astype(np.int64)
    high = np.clip(np.ceil((corners.max(axis=0) + ASIDE_MM) / s) + 1, 0, filled.shape).astype(np.int64)
    block = filled[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    closed = (bridged(block, r * max(spacing_mm), spacing_mm) for r in BRIDGES)
    cuts = [_cut_once(c, block, low, near, axis, s, surely) for c in closed]
    # Ball radii of less and more than two voxels bridge thinner and thicker growth plates. Where they lead to
    # other cuts, the right one is not sure.
    sizes = np.array([len(k.femur) for k in cuts]) * float(np.prod(s))
    best = cuts[BRIDGES.index(BRIDGE)]
    doubt = float(np.abs(sizes - len(best.femur) * float(np.prod(s))).max())
    point = _between(best.tibia, best.femur, s) if len(best.femur) and len(best.tibia) else best.point
    return replace(best, doubt_mm3=doubt, point=point)


def _cut_once(
    closed: Mask,
    block: Mask,
    low: NDArray[np.int64],
    near: Point,
    axis: Point,
    s: NDArray[np.float64],
    surely: Mask | None,
) -> Knee:
    """Cut once; ``closed`` is a block of bones whose first voxel is ``low``, with what was bridged in it."""
    voxels = _around(closed, low, near, axis, s)
    if not len(voxels):
        return Knee(voxels, voxels, near, 0.0)
    along = (voxels * s - near) @ axis
    graph = _graph(voxels, np.asarray(block[tuple((voxels - low).T)]), s)
    source = (along < 0.3) & (np.linalg.norm(voxels * s - near, axis=1) < 3.0)
    if surely is not None:
        source |= surely[tuple(voxels.T)]
    _, piece = csgraph.connected_components(graph, directed=False)
    own = np.isin(piece, np.unique(piece[source]))
    if not own.any():
        return Knee(voxels[:0], voxels[:0], near, 0.0)
    apart = _femur_apart(voxels, own, piece, along, s)
    if apart is not None:
        return Knee(voxels[own], voxels[apart], near, 0.0)
    return _cheapest(graph, voxels, own, source, s)


def _around(
    closed: Mask, low: NDArray[np.int64], near: Point, axis: Point, s: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return the bone voxels from just below the shaft's end to beyond the knee, and not far beside it."""
    voxels = np.argwhere(closed) + low
    offset = voxels * s - near
    along = offset @ axis
    aside = np.linalg.norm(offset - along[:, None] * axis, axis=1)
    # A femur bent by 60 degrees leaves the tibia's line by sqrt(3) times its height over the joint.
    return np.asarray(
        voxels[(along > -0.7) & (along < REACH_MM) & (aside < 3.0 + 2.5 * np.maximum(along - 3.5, 0))]
    )


def _thickness_around(voxels: NDArray[np.int64], s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for each voxel the radius (mm) of the largest ball inside bone with its centre near by."""
    low = voxels.min(axis=0)
    block = np.zeros(voxels.max(axis=0) - low + 1, bool)
    block[tuple((voxels - low).T)] = True
    inside = distance_inside(block, (float(s[0]), float(s[1]), float(s[2])))
    size = [2 * round(0.8 / v) + 1 for v in s]
    around = ndimage.maximum_filter(inside, size, mode="constant")[tuple((voxels - low).T)]
    return np.asarray(np.clip(around, *THICKNESS_MM), dtype=np.float64)


def _graph(voxels: NDArray[np.int64], bone: NDArray[np.bool_], s: NDArray[np.float64]) -> sparse.csr_matrix:
    """Return the graph of face neighbours with the cost of each face, both ways; not ``bone`` was bridged."""
    low = voxels.min(axis=0)
    number = np.full(voxels.max(axis=0) - low + 2, -1, np.int32)
    number[tuple((voxels - low).T)] = np.arange(len(voxels))
    weight = UNITS / _thickness_around(voxels, s) ** 2 * np.where(bone, 1.0, GAP)
    rows, columns, costs = [], [], []
    for axis in range(3):
        step = np.zeros(3, np.int64)
        step[axis] = 1
        other = number[tuple((voxels - low + step).T)]
        a = np.flatnonzero(other >= 0)
        b = other[a]
        face = float(np.prod(np.delete(s, axis)))
        cost = face * np.minimum(weight[a], weight[b])
        rows += [a, b]
        columns += [b, a]
        costs += [cost, cost]
    data = np.rint(np.concatenate(costs)).astype(np.int32)
    size = (len(voxels), len(voxels))
    return sparse.csr_matrix((data, (np.concatenate(rows), np.concatenate(columns))), size)


def _femur_apart(
    voxels: NDArray[np.int64],
    own: NDArray[np.bool_],
    piece: NDArray[np.int32],
    along: NDArray[np.float64],
    s: NDArray[np.float64],
) -> NDArray[np.bool_] | None:
    """Return the voxels of a femur that touches the tibia nowhere, or None."""
    voxel = float(np.prod(s))
    beyond = np.count_nonzero(own & (along > 3.0)) * voxel
    surface = cKDTree(voxels[own][::2] * s)
    best, size = None, max(LEAST_FEMUR_MM3, 0.25 * beyond)
    for k in np.unique(piece[~own]):
        member = piece == k
        volume = np.count_nonzero(member) * voxel
        if volume < size or along[member].mean() < 3.0:
            continue
        if np.isfinite(surface.query(voxels[member][::5] * s, distance_upper_bound=WIDEST_JOINT_MM)[0]).any():
            best, size = member, volume
    return best


def _between(tibia: NDArray[np.int64], femur: NDArray[np.int64], s: NDArray[np.float64]) -> Point:
    """Return the middle of the narrowest place between two sets of voxels."""
    # A first look at every ninth voxel tells what may be close at all.
    tree = cKDTree(femur * s)
    rough = tree.query(tibia[::9] * s)[0].min()
    few = tibia[cKDTree(femur[::9] * s).query(tibia * s, distance_upper_bound=rough + 1.5)[0] < np.inf]
    distance, index = tree.query(few * s)
    close = distance <= distance.min() + 0.3
    return np.asarray(0.5 * ((few[close] * s).mean(axis=0) + (femur[index[close]] * s).mean(axis=0)))


def _cheapest(
    graph: sparse.csr_matrix,
    voxels: NDArray[np.int64],
    own: NDArray[np.bool_],
    source: NDArray[np.bool_],
    s: NDArray[np.float64],
) -> Knee:
    """Cut the piece that holds the tibia between its shaft and what is farthest from it."""
    hops = _hops(graph, source)
    farthest = float(hops[own].max())
    # What is farthest along the bone, and enough of it that cutting off a mere tip is not the cheapest cut.
    count = min(round(LEAST_FEMUR_MM3 / float(np.prod(s))), int(np.count_nonzero(own)))
    last = min(farthest - 1.0 / float(s.mean()), float(np.sort(hops[own])[-count]))
    sink = own & (hops >= last)
    if farthest * float(s.mean()) < 3.5 or (sink & source).any():
        return Knee(voxels[own], voxels[:0], voxels[sink].mean(axis=0) * s, 0.0)
    flow, reached = _cut(graph, source, sink)
    tibia, femur = own & reached, own & ~reached
    return Knee(voxels[tibia], voxels[femur], voxels[sink].mean(axis=0) * s, flow / UNITS)


def _hops(graph: sparse.csr_matrix, source: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the number of voxel faces from the source to each voxel."""
    far = csgraph.dijkstra(
        graph, directed=True, indices=np.flatnonzero(source), unweighted=True, min_only=True
    )
    return np.asarray(far)


def _cut(
    graph: sparse.csr_matrix, source: NDArray[np.bool_], sink: NDArray[np.bool_]
) -> tuple[int, NDArray[np.bool_]]:
    """Return the cost of the cheapest cut, and which voxels stay on the source's side."""
    n = graph.shape[0]
    links = graph.tocoo()
    a, b = np.flatnonzero(source), np.flatnonzero(sink)
    rows = np.concatenate([links.row, np.full(len(a), n), b])
    columns = np.concatenate([links.col, a, np.full(len(b), n + 1)])
    endless = np.full(len(a) + len(b), 1 << 24, np.int32)
    whole = sparse.csr_matrix((np.concatenate([links.data, endless]), (rows, columns)), (n + 2, n + 2))
    result = csgraph.maximum_flow(whole, n, n + 1)
    left = whole - result.flow
    left.data = np.maximum(left.data, 0)
    left.eliminate_zeros()
    order = csgraph.breadth_first_order(left, n, directed=True, return_predecessors=False)
    reached = np.zeros(n + 2, bool)
    reached[order] = True
    return int(result.flow_value), reached[:n]
