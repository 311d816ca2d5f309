"""RTK's cone-beam reconstruction (itk-rtk), the peer of the reconstruction benchmark."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.core.grid import Grid
from bonemet.core.scan import ConeGeometry
from bonemet.recon import weights


def shares(scan: ConeGeometry) -> NDArray[np.float32]:
    """Return ray weights by RTK's convention, for comparing filters and kernels alone.

    RTK takes the scan to begin with its first view and to end with its last; here a view stands for half a
    step to both sides.
    """
    beta = np.radians(scan.angles_deg - scan.angles_deg[0])
    half_fan = (beta[-1] - math.pi) / 2
    parker = weights.parker(beta, -scan.turn * weights.fan_angles(scan), half_fan)
    return np.asarray(parker * math.radians(scan.step_deg), np.float32)


def reconstruct(
    rays: NDArray[np.float32], scan: ConeGeometry, grid: Grid, threads: int
) -> NDArray[np.float32]:
    """Return RTK's volume (z, y, x) by Parker weights and FDK with an unwindowed ramp."""
    import itk
    from itk import RTK as rtk

    itk.MultiThreaderBase.SetGlobalDefaultNumberOfThreads(threads)
    image = itk.Image[itk.F, 3]
    scale = scan.magnification * scan.pixel_mm
    stack: Any = itk.image_view_from_array(np.ascontiguousarray(rays))
    stack.SetSpacing([scale, scale, 1.0])
    stack.SetOrigin([-(scan.columns - 1) / 2 * scale, -scan.optical_axis_row * scale, 0.0])
    circle = rtk.ThreeDCircularProjectionGeometry.New()
    for angle in scan.angles_deg:
        circle.AddProjection(scan.sod_mm, scan.sdd_mm, float(angle))
    parker = rtk.ParkerShortScanImageFilter[image].New(Input=stack, Geometry=circle)
    parker.InPlaceOff()
    nz, ny, nx = grid.shape
    h = grid.spacing_mm[0]
    empty = rtk.ConstantImageSource[image].New()
    empty.SetSize([nx, nz, ny])  # RTK's y runs along the rotation axis
    empty.SetSpacing([h, h, h])
    empty.SetOrigin([-(nx - 1) / 2 * h, -(nz - 1) / 2 * h, -(ny - 1) / 2 * h])
    empty.SetConstant(0.0)
    fdk = rtk.FDKConeBeamReconstructionFilter[image].New(Geometry=circle)
    fdk.SetInput(0, empty.GetOutput())
    fdk.SetInput(1, parker.GetOutput())
    fdk.GetRampFilter().SetTruncationCorrection(0.0)
    fdk.GetRampFilter().SetHannCutFrequency(0.0)
    fdk.Update()
    return np.ascontiguousarray(itk.array_from_image(fdk.GetOutput()).transpose(1, 0, 2))
