"""Refinement: a coarse pose made exact by robust least squares on strong edges.

Gauss-Newton steps of the inverse compositional kind (Baker and Matthews 2004,
doi:10.1023/B:VISI.0000011205.11775.fd): gradients are taken once, in the fixed image. A linear map
between the grey values of the two images is fitted along. Residuals weigh by Tukey's biweight, so
bone that was lost or formed between the scans is an outlier and not a signal.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bonemet.core.transform import TransformKind
from bonemet.kernels.jit import fast_kernel
from bonemet.registration.levels import BONE, EMPTY, Level
from bonemet.registration.part import Part

_LEAST_NOISE: Final = (BONE - EMPTY) / 32  # residuals below this weigh fully
_AGREEING: Final = (BONE - EMPTY) / 4  # points whose residual is this large do not agree at all
_LEAST_INSIDE: Final = 0.35  # share of the points that must fall into the moving image
_GREY_GAIN: Final = (0.6, 1.7)
_MOST_DRIFT_MM: Final = 0.2
NO_DRIFT: Final = np.zeros(0)
FREEDOM: Final = {TransformKind.RIGID: 6, TransformKind.SIMILARITY: 7, TransformKind.AFFINE: 12}


@dataclass(frozen=True, eq=False)
class Points:
    """Voxels of the fixed image on which the images are compared.

    Attributes
    ----------
    mm
        (n, 3) points.
    values, gradients
        (n,) and (n, 3) per mm, smoothed, on the common grey scale.
    outward, ways
        (n, 3) unit vectors along which points may drift, and (n, m) by how much in each of ``m`` ways; see
        :mod:`bonemet.registration.drift`. Where not given, none drifts.
    """

    mm: NDArray[np.float64]
    values: NDArray[np.float64]
    gradients: NDArray[np.float64]
    outward: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 3)))
    ways: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)))

    def drifted(self, drift: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the points (n, 3) once they have drifted by so much (m,), in mm, in each way."""
        if not len(drift):
            return self.mm
        return self.mm + self.outward * (self.ways @ drift)[:, None]

    def thinned(self, step: int) -> Points:
        """Return every ``step``-th point."""
        return Points(self.mm[::step].copy(), self.values[::step].copy(), self.gradients[::step].copy())


@dataclass(frozen=True, eq=False)
class Fit:
    """A pose and how well it fits.

    Attributes
    ----------
    matrix
        4 x 4, fixed points to moving points.
    correlation
        Of the values at the points that fall into the moving image; -1 where too few do.
    agreement
        Share of the points that agree, by Tukey's biweight of fixed width; what ranks poses, for unlike
        correlation it is not pulled down by bone that was lost.
    grey
        Gain and offset that take values of the moving image to those of the fixed one.
    iterations
        Steps taken.
    drift
        (m,) drift of the points in each way, in mm.
    """

    matrix: NDArray[np.float64]
    correlation: float
    agreement: float
    grey: tuple[float, float]
    iterations: int
    drift: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))


def edge_points(
    level: Level,
    bone: Level,
    count: int,
    rng: np.random.Generator,
    keep: float,
    part: Part | None = None,
) -> Points:
    """Return voxels with the strongest gradients among random ones near bone.

    Parameters
    ----------
    level
        Where the points are wanted.
    bone
        A coarser (or the same) level of the image, which shows where bone is.
    count
        Number of points.
    rng
        Chooses among voxels.
    keep
        Share of the random voxels that is kept.
    part
        Part of the bone from which to choose; all of it where None. There may be no points in it.
    """
    cells = bone.cells
    if part is not None:
        cells = cells[part.holds(bone.grid.index_to_mm(cells))]
    wanted = int(count / keep)
    if bone is level or not len(cells):
        index = cells if len(cells) <= wanted else cells[rng.choice(len(cells), wanted, replace=False)]
    else:
        chosen = cells[rng.integers(0, len(cells), 2 * wanted)] + rng.uniform(-0.5, 0.5, (2 * wanted, 3))
        index = _unlike(np.rint(level.grid.mm_to_index(bone.grid.index_to_mm(chosen))), level.grid.shape)
        index = index[np.sort(rng.choice(len(index), min(wanted, len(index)), replace=False))]
    values, gradients = level.gradients(np.ascontiguousarray(index))
    strength = np.einsum("ij,ij->i", gradients, gradients)
    best = np.argsort(-strength, kind="stable")[:count]
    return Points(level.grid.index_to_mm(index[best]), values[best], gradients[best])


def _unlike(index: NDArray[np.float64], shape: tuple[int, int, int]) -> NDArray[np.int64]:
    """Return the different voxels (n, 3) among some, in order, brought into the image."""
    inside = np.clip(index.astype(np.int64), 0, np.asarray(shape) - 1)
    flat = np.unique(np.ravel_multi_index(tuple(inside.T), shape))
    return np.stack(np.unravel_index(flat, shape), axis=1)


def columns_of(points: Points, kind: TransformKind) -> NDArray[np.float64]:
    """Return the derivative of the fixed value at each point by the parameters of motion, then of drift."""
    motion = _motion_columns(points, kind)
    if not points.ways.size:
        return motion
    # a point that drifts outwards looks like the fixed image further in
    slope = -np.einsum("ij,ij->i", points.gradients, points.outward)
    return np.hstack([motion, slope[:, None] * points.ways])


def _motion_columns(points: Points, kind: TransformKind) -> NDArray[np.float64]:
    arm, slope = points.mm - points.mm.mean(0), points.gradients
    if kind is TransformKind.AFFINE:
        outer = (slope[:, :, None] * arm[:, None, :]).reshape(len(arm), 9)
        return np.hstack([outer, slope])
    columns = [np.cross(arm, slope), slope]
    if kind is TransformKind.SIMILARITY:
        columns.append((arm * slope).sum(1, keepdims=True))
    return np.hstack(columns)


def small_motion(
    step: NDArray[np.float64], centre: NDArray[np.float64], kind: TransformKind
) -> NDArray[np.float64]:
    """Return the 4 x 4 matrix of a motion about a centre given by its parameters.

    Rigid: rotation vector (radian) and shift (mm); similarity: also the logarithm of the scale;
    affine: the nine entries of the matrix less the identity, row by row, and the shift.
    """
    out = np.eye(4)
    if kind is TransformKind.AFFINE:
        linear, shift = np.eye(3) + step[:9].reshape(3, 3), step[9:12]
    else:
        linear, shift = rotation(step[:3]), step[3:6]
        if kind is TransformKind.SIMILARITY:
            linear = linear * np.exp(step[6])
    out[:3, :3] = linear
    out[:3, 3] = centre + shift - linear @ centre
    return out


def rotation(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the 3 x 3 matrix of a rotation vector (Rodrigues' formula)."""
    angle = float(np.linalg.norm(vector))
    if angle == 0:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)


@fast_kernel
def _gather(
    columns: NDArray[np.float64],
    moving: NDArray[np.float32],
    fixed: NDArray[np.float64],
    inside: NDArray[np.bool_],
    block: NDArray[np.int64],
    rule: NDArray[np.float64],
    normal: NDArray[np.float64],
    right: NDArray[np.float64],
) -> None:
    """Add up the weighted normal equations of one step, for each block of points.

    The unknowns are the motion's parameters, then the grey values' gain and offset. ``rule`` holds gain
    and offset so far, and the residual from which on a point does not count (0: all count fully).
    """
    count = columns.shape[1]
    row = np.empty(count + 2)
    for n in range(columns.shape[0]):
        if not inside[n]:
            continue
        weight = 1.0
        if rule[2] > 0:
            u = abs(fixed[n] - rule[0] * moving[n] - rule[1]) / rule[2]
            if u >= 1:
                continue
            weight = (1 - u * u) ** 2
        for a in range(count):
            row[a] = -columns[n, a]
        row[count], row[count + 1] = moving[n], 1.0
        b = block[n]
        for a in range(count + 2):
            pull = weight * row[a]
            right[b, a] += pull * fixed[n]
            for c in range(a + 1):
                normal[b, a, c] += pull * row[c]


@dataclass(frozen=True, eq=False)
class Equations:
    """The normal equations of one step, for each block of points.

    Attributes
    ----------
    normal, right
        (blocks, p, p) and (blocks, p); p is the number of the motion's parameters and two.
    """

    normal: NDArray[np.float64]
    right: NDArray[np.float64]

    def solve(self, without: int | None = None) -> NDArray[np.float64]:
        """Return the least-squares solution, held a little where the data do not decide.

        Parameters
        ----------
        without
            A block that is left out.
        """
        normal, right = self.normal.sum(0), self.right.sum(0)
        if without is not None:
            normal, right = normal - self.normal[without], right - self.right[without]
        normal = normal + np.tril(normal, -1).T
        diagonal = np.diag_indices_from(normal)
        normal[diagonal] = normal[diagonal] * (1 + 1e-6) + 1e-12
        return np.asarray(np.linalg.solve(normal, right))


def equations(
    columns: NDArray[np.float64],
    seen: tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.bool_]],
    grey: tuple[float, float],
    width: float,
    blocks: NDArray[np.int64] | None = None,
) -> Equations:
    """Return the normal equations of one step.

    Parameters
    ----------
    columns
        (n, p) derivatives by the motion's parameters.
    seen
        Values (n,) of the moving and of the fixed image, and which points lie inside the moving one.
    grey
        Gain and offset that take moving values to fixed ones.
    width
        Residuals larger than this number of standard deviations (by the median absolute residual) do not
        count, by Tukey's biweight; not finite: all count fully.
    blocks
        (n,) block of each point, from 0; one block where None.
    """
    moving, fixed, inside = seen
    cut = 0.0
    if np.isfinite(width):
        residual = np.abs(fixed - grey[0] * moving - grey[1])[inside]
        cut = width * max(1.4826 * float(np.median(residual)), _LEAST_NOISE)
    block = np.zeros(len(columns), np.int64) if blocks is None else blocks
    count, size = int(block.max(initial=0)) + 1, columns.shape[1] + 2
    out = Equations(np.zeros((count, size, size)), np.zeros((count, size)))
    _gather(columns, moving, fixed, inside, block, np.array([*grey, cut]), out.normal, out.right)
    return out


def _grey_line(moving: NDArray[np.float64], fixed: NDArray[np.float64]) -> tuple[float, float]:
    """Return gain and offset that take moving values to fixed values, least squares."""
    spread = float(moving.var())
    covariance = float(((moving - moving.mean()) * (fixed - fixed.mean())).mean())
    gain = min(max(covariance / spread if spread > 1e-6 else 1.0, _GREY_GAIN[0]), _GREY_GAIN[1])
    return gain, float(fixed.mean() - gain * moving.mean())


def judge(
    points: Points,
    level: Level,
    matrix: NDArray[np.float64],
    grey: tuple[float, float] = (1.0, 0.0),
    iterations: int = 0,
) -> Fit:
    """Return a pose with how well it fits under a linear map of grey values (gain, offset)."""
    values, inside = level.sample(points.mm, matrix)
    if not len(inside) or inside.mean() < _LEAST_INSIDE:
        return Fit(matrix, -1.0, 0.0, grey, iterations)
    moving, fixed = values[inside].astype(np.float64), points.values[inside]
    agreement = float(agreeing(moving, fixed, grey).sum()) / len(inside)
    return Fit(matrix, correlation(moving, fixed), agreement, grey, iterations)


def agreeing(
    moving: NDArray[np.float64], fixed: NDArray[np.float64], grey: tuple[float, float]
) -> NDArray[np.float64]:
    """Return how far values (n,) agree under a linear map of grey values: 1 wholly, 0 not at all."""
    u = np.minimum(np.abs(fixed - grey[0] * moving - grey[1]) / _AGREEING, 1)
    return np.asarray((1 - u * u) ** 2)


def correlation(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Return Pearson's correlation, 0 where either side is constant."""
    p, q = a - a.mean(dtype=np.float64), b - b.mean(dtype=np.float64)
    power = float(np.sqrt((p * p).sum() * (q * q).sum()))
    return float((p * q).sum()) / power if power > 0 else 0.0


def refine(
    points: Points,
    level: Level,
    matrix: NDArray[np.float64],
    *,
    kind: TransformKind = TransformKind.RIGID,
    iterations: int = 12,
    tolerance: float = 0.003,
    width: float = 4.0,
    drift: NDArray[np.float64] = NO_DRIFT,
) -> Fit:
    """Return the pose near a given one in which the images agree best.

    Parameters
    ----------
    points
        Of the fixed image.
    level
        Of the moving image.
    matrix
        4 x 4 start, fixed points to moving points; may be a mirrored one, and then stays so.
    kind
        Freedom of the motion.
    iterations, tolerance
        Most steps; a step that moves the points by less than this share of a voxel is the last.
    width
        Residuals larger than this number of standard deviations do not count; all count where it is not
        finite, and normalised correlation is what is then maximised.
    drift
        (m,) drift of the points from which to begin; none where it has another length.
    """
    columns = columns_of(points, kind)
    free = FREEDOM[kind]
    if len(drift) != points.ways.shape[1]:
        drift = np.zeros(points.ways.shape[1])
    centre = points.mm.mean(0)
    reach = float(np.sqrt(((points.mm - centre) ** 2).sum(1).mean()))
    gain, offset = 1.0, 0.0
    done = 0
    for done in range(1, iterations + 1):
        sampled, inside = level.sample(points.drifted(drift), matrix)
        if not len(inside) or inside.mean() < _LEAST_INSIDE:
            break
        if done <= 2:
            gain, offset = _grey_line(sampled[inside].astype(np.float64), points.values[inside])
        found = equations(columns, (sampled, points.values, inside), (gain, offset), width).solve()
        step = found[:free]
        drift = np.clip(drift + found[free:-2], -_MOST_DRIFT_MM, _MOST_DRIFT_MM)
        gain, offset = min(max(found[-2], _GREY_GAIN[0]), _GREY_GAIN[1]), found[-1]
        length = _length(step, reach, kind)
        if length > 4 * level.spacing:
            step = step * (4 * level.spacing / length)
        matrix = matrix @ np.linalg.inv(small_motion(step, centre, kind))
        if length < tolerance * level.spacing:
            break
    return replace(judge(points, level, matrix, (gain, offset), done), drift=drift)


def _length(step: NDArray[np.float64], reach: float, kind: TransformKind) -> float:
    """Return about how far a motion moves points ``reach`` mm from its centre, in mm."""
    if kind is TransformKind.AFFINE:
        return float(np.linalg.norm(step[:9])) * reach + float(np.linalg.norm(step[9:12]))
    length = float(np.linalg.norm(step[:3])) * reach + float(np.linalg.norm(step[3:6]))
    return length + (abs(float(step[6])) * reach if kind is TransformKind.SIMILARITY else 0.0)
