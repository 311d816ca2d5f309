"""The published method through SimpleITK: mutual information maximised by gradient descent.

From each of a list of axial angles, Mattes' mutual information (2003, doi:10.1109/TMI.2003.809072) is
maximised at a coarse size; the best three are refined size by size. The moving image is padded with empty
space, for samples beyond an image are dropped, and the metric could else rise by sliding out of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from bonemet.core.context import Mapper
from bonemet.core.errors import SettingsError
from bonemet.core.transform import Transform
from bonemet.core.volume import Volume
from bonemet.registration import levels, pose
from bonemet.registration.align import Registration, judge
from bonemet.registration.levels import EMPTY, Level, Pyramid

CIRCLE: Final = tuple(math.pi * i / 16 for i in range(-16, 16))
_KEPT: Final = 3
_ITERATIONS: Final = 150
_BINS: Final = 50
_SAMPLES: Final = 20_000
_MOST_VOXELS: Final = 64_000_000  # of a padded image, which is held in float32
_PAD_MM: Final = 2.0


def register_published(
    fixed: Volume,
    moving: Volume,
    *,
    initial_angles: Sequence[float] | None = None,
    seed: int = 1,
    mapper: Mapper = map,
) -> Registration:
    """Find the pose of the moving bone on the fixed one as the paper describes it.

    Both bones should stand about upright, the same end up: only axial angles are searched. Runs on one
    thread, so that the same inputs give the same pose.

    Parameters
    ----------
    fixed, moving
        One bone each.
    initial_angles
        Axial angles in radian to begin from; 32 around the whole circle where None. (The published list
        leaves out 79 degrees of it.)
    seed
        Of the random samples; not 0, which SimpleITK takes for the time of day.
    mapper
        Spreads the making of coarser copies over threads.

    Raises
    ------
    InputError
        If a volume is empty.
    SettingsError
        If the list of angles is empty, or the seed 0.
    """
    angles = CIRCLE if initial_angles is None else tuple(float(a) for a in initial_angles)
    if not angles:
        raise SettingsError("The list of initial angles is empty; leave it out to search the whole circle.")
    if seed == 0:
        raise SettingsError("A seed of 0 would mean the time of day; give another number.")
    pyramids = levels.build(fixed, mapper), levels.build(moving, mapper)
    sizes, notes = _sizes(*pyramids)
    starts = [_start(*pyramids, angle) for angle in angles]
    steps = []
    for number, (size, stride) in enumerate([(sizes[0], 0.5), *((size, 0.1) for size in sizes)]):
        images = _images(*pyramids, size, smooth=number == 0)
        with _one_thread():
            tried = [_maximise(*images, start, stride * size, seed) for start in starts]
        tried.sort(key=lambda found: found[1])
        starts = [found[0] for found in tried[:_KEPT]]
        steps.append({"spacing_mm": size, "mutual_information": -tried[0][1]})
    found = judge(fixed, moving, Transform(_matrix(starts[0])), mapper=mapper)
    return replace(found, notes=tuple(notes), steps=tuple(steps))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Hold SimpleITK to one thread, for the metric's sums depend on how many share them.

    Its own setting for one filter does not reach the metric, so the setting for all is changed meanwhile.
    """
    usual = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(usual)


def _sizes(fixed: Pyramid, moving: Pyramid) -> tuple[list[float], list[str]]:
    """Return the voxel sizes in mm to go through, coarse first, and a note where the finest is left out."""
    bones = pose.principal_axis(fixed.bone_mm), pose.principal_axis(moving.bone_mm)
    size = max(level.spacing for level in pose.coarse_levels(fixed, moving, bones))
    finest = max(fixed.levels[0].spacing, moving.levels[0].spacing)
    reach = float(np.linalg.norm(_extent(fixed.levels[0]))) + 2 * _PAD_MM
    out = [size]
    while size > 1.001 * finest:
        size = max(size / 2, finest)
        if (reach / size) ** 3 > _MOST_VOXELS:
            return out, [f"Images were compared on voxels of {1000 * out[-1]:.3g} um at the finest."]
        out.append(size)
    return out, []


def _extent(level: Level) -> NDArray[np.float64]:
    """Return the size of an image in mm (z, y, x)."""
    return np.multiply(level.grid.shape, level.grid.spacing_mm, dtype=np.float64)


def _images(fixed: Pyramid, moving: Pyramid, spacing: float, smooth: bool) -> tuple[Any, Any]:
    """Return both images of a size for SimpleITK, empty space 0, the moving one padded.

    Smoothing (over one voxel) widens the way from which the pose is found.
    """
    f, m = fixed.at(spacing), moving.at(spacing)
    # about the moving image's centre there is room for the fixed image in any pose
    room = (float(np.linalg.norm(_extent(f))) - _extent(m)) / 2 + _PAD_MM
    pad = [math.ceil(max(r, _PAD_MM) / s) for r, s in zip(room, m.grid.spacing_mm, strict=True)]
    padded = sitk.ConstantPad(_image(m), pad[::-1], pad[::-1], 0.0)
    images = _image(f), padded
    return tuple(sitk.SmoothingRecursiveGaussian(i, spacing) for i in images) if smooth else images


def _image(level: Level) -> Any:
    values = level.image.astype(np.float32)
    values -= level.low
    values *= level.scale
    np.maximum(values - EMPTY, 0, out=values)
    image: Any = sitk.GetImageFromArray(values)
    image.SetSpacing(level.grid.spacing_mm[::-1])
    image.SetOrigin(level.grid.origin_mm)
    image.SetDirection(np.asarray(level.grid.direction).ravel().tolist())
    return image


def _start(fixed: Pyramid, moving: Pyramid, angle: float) -> Any:
    """Return the rotation by an axial angle that lays the centre of one bone on the other's."""
    transform: Any = sitk.Euler3DTransform()
    transform.SetCenter(fixed.bone_mm.mean(0).tolist())
    transform.SetTranslation((moving.bone_mm.mean(0) - fixed.bone_mm.mean(0)).tolist())
    transform.SetRotation(0.0, 0.0, angle)
    return transform


def _maximise(fixed: Any, moving: Any, start: Any, stride: float, seed: int) -> tuple[Any, float]:
    """Return the pose near a start with the most mutual information, and its negative.

    ``stride`` is the longest step of the descent in mm.
    """
    method: Any = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(_BINS)
    method.SetMetricSamplingStrategy(method.RANDOM)
    share = min(1.0, _SAMPLES / fixed.GetNumberOfPixels())
    method.SetMetricSamplingPercentage(share, seed)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsGradientDescent(1.0, _ITERATIONS, 1e-6, 10, method.EachIteration, stride)
    method.SetOptimizerScalesFromPhysicalShift()
    transform: Any = sitk.Euler3DTransform(start)
    method.SetInitialTransform(transform, inPlace=True)
    try:
        method.Execute(fixed, moving)
    except RuntimeError:  # the images came to lie apart
        return start, math.inf
    return transform, float(method.GetMetricValue())


def _matrix(transform: Any) -> NDArray[np.float64]:
    out = np.eye(4)
    out[:3, :3] = np.asarray(transform.GetMatrix()).reshape(3, 3)
    centre = np.asarray(transform.GetCenter())
    out[:3, 3] = np.asarray(transform.GetTranslation()) + centre - out[:3, :3] @ centre
    return out
