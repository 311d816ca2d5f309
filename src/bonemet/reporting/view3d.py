"""Changed bone in three dimensions, rendered off the screen by VTK where the extra ``view3d`` is installed.

VTK runs in a process of its own (``python -m bonemet.reporting.view3d``): on a computer without a usable
OpenGL it may end the process that asks it for a picture.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

VOXEL_MM = 0.05  # of the surfaces; finer ones would not be seen
BLUR_MM = 0.05  # standard deviation: films of single voxels are left to the slices
SHARE = 0.3  # of the blurred neighbourhood that must be changed bone
TIMEOUT_S = 120
SIZE = (340, 760)  # pixels of one view
SIDES = (0.0, 90.0, 180.0, 270.0)  # degrees about the bone from its low y side: low y, low x, high y, high x
ABOVE_DEG = 20.0  # from which height the camera looks down, so that the plateau is seen
BONE, LOST, NEW = (0.72, 0.69, 0.62), (0.84, 0.15, 0.0), (0.0, 0.35, 0.75)


def available() -> bool:
    """Return whether VTK is installed."""
    return importlib.util.find_spec("vtkmodules") is not None


def changed_bone(composite: NDArray[np.uint8], spacing_mm: tuple[float, float, float]) -> bytes | None:
    """Show a composite in space from four sides: the old bone as glass, lost bone red, formed bone blue.

    Parameters
    ----------
    composite
        (z, y, x) in the published values 0, 60, 180, 240; low z is up.
    spacing_mm
        Voxel size (z, y, x).

    Returns
    -------
    bytes or None
        PNG; None where VTK is missing, there is no bone, or this computer cannot render.
    """
    if not available() or not composite.any():
        return None
    shares, step = _shares(composite, spacing_mm)
    with tempfile.TemporaryDirectory() as folder:
        np.savez(
            Path(folder) / "in.npz", step=step, old=shares["old"], lost=shares["lost"], new=shares["new"]
        )
        words = [sys.executable, "-m", "bonemet.reporting.view3d", folder]
        try:
            done = subprocess.run(words, capture_output=True, timeout=TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired:
            return None
        picture = Path(folder) / "out.png"
        return picture.read_bytes() if done.returncode == 0 and picture.is_file() else None


def _shares(
    composite: NDArray[np.uint8], spacing_mm: tuple[float, float, float]
) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.float64]]:
    """Return for coarse voxels which share of each is old, lost and new bone, and their size (z, y, x)."""
    factors = tuple(max(1, round(VOXEL_MM / s)) for s in spacing_mm)
    index = np.nonzero(composite)
    low = [int(i.min()) for i in index]
    box = composite[tuple(slice(a, int(i.max()) + 1) for a, i in zip(low, index, strict=True))]
    # Empty voxels all around close every surface.
    pads = [(3 * f, 3 * f + -n % f) for f, n in zip(factors, box.shape, strict=True)]
    padded = np.pad(box, pads)
    blocks = [v for f, n in zip(factors, padded.shape, strict=True) for v in (n // f, f)]

    def share(chosen: NDArray[np.bool_]) -> NDArray[np.float32]:
        parts = chosen.reshape(blocks).mean(axis=(1, 3, 5), dtype=np.float32)
        return np.asarray(ndimage.gaussian_filter(parts, BLUR_MM / step, mode="constant"))

    step = np.asarray(spacing_mm) * factors
    kinds = {"old": (padded == 180) | (padded == 60), "lost": padded == 60, "new": padded == 240}
    return {name: share(chosen) for name, chosen in kinds.items()}, step


def _render(shares: dict[str, NDArray[np.float32]], step: NDArray[np.float64], path: Path) -> None:
    """Render the surfaces from all sides, side by side, into a PNG."""
    from vtkmodules import vtkRenderingOpenGL2
    from vtkmodules.vtkIOImage import vtkPNGWriter
    from vtkmodules.vtkRenderingCore import vtkRenderer, vtkRenderWindow, vtkWindowToImageFilter

    assert vtkRenderingOpenGL2  # importing it is what registers the renderer
    window = vtkRenderWindow()
    window.SetOffScreenRendering(1)
    window.SetMultiSamples(0)
    window.SetAlphaBitPlanes(1)
    window.SetSize(SIZE[0] * len(SIDES), SIZE[1])
    actors = [
        _actor(shares["old"], step, 0.4, BONE, 0.3),
        _actor(shares["lost"], step, SHARE, LOST, 1.0),
        _actor(shares["new"], step, SHARE, NEW, 1.0),
    ]
    middle = np.asarray(shares["old"].shape)[::-1] * step[::-1] / 2
    height = shares["old"].shape[0] * step[0]
    for n, angle in enumerate(SIDES):
        renderer = vtkRenderer()
        renderer.SetViewport(n / len(SIDES), 0, (n + 1) / len(SIDES), 1)
        renderer.SetBackground(1, 1, 1)
        renderer.SetUseDepthPeeling(1)
        renderer.SetMaximumNumberOfPeels(12)
        renderer.UseFXAAOn()
        for actor in actors:
            renderer.AddActor(actor)
        _look(renderer.GetActiveCamera(), middle, height, angle)
        renderer.ResetCameraClippingRange()
        window.AddRenderer(renderer)
    window.Render()
    image = vtkWindowToImageFilter()
    image.SetInput(window)
    writer = vtkPNGWriter()
    writer.SetFileName(str(path))
    writer.SetInputConnection(image.GetOutputPort())
    writer.Write()


def _actor(
    share: NDArray[np.float32],
    step: NDArray[np.float64],
    level: float,
    colour: tuple[float, float, float],
    opacity: float,
) -> Any:
    """Return the surface at a level of an image (z, y, x)."""
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkFiltersCore import vtkFlyingEdges3D, vtkPolyDataNormals, vtkWindowedSincPolyDataFilter
    from vtkmodules.vtkRenderingCore import vtkActor, vtkPolyDataMapper

    image = vtkImageData()
    image.SetDimensions(*share.shape[::-1])
    image.SetSpacing(*step[::-1].tolist())
    image.GetPointData().SetScalars(numpy_to_vtk(share.reshape(-1), deep=1))
    edges = vtkFlyingEdges3D()
    edges.SetInputData(image)
    edges.SetValue(0, level)
    smooth = vtkWindowedSincPolyDataFilter()
    smooth.SetInputConnection(edges.GetOutputPort())
    smooth.SetNumberOfIterations(15)
    smooth.SetPassBand(0.1)
    normals = vtkPolyDataNormals()
    normals.SetInputConnection(smooth.GetOutputPort())
    normals.SplittingOff()
    mapper = vtkPolyDataMapper()
    mapper.SetInputConnection(normals.GetOutputPort())
    mapper.ScalarVisibilityOff()
    actor = vtkActor()
    actor.SetMapper(mapper)
    actor.GetProperty().SetColor(*colour)
    actor.GetProperty().SetOpacity(opacity)
    return actor


def _look(camera: Any, middle: NDArray[np.float64], height: float, angle: float) -> None:
    """Point a camera at the middle (x, y, z), from an angle about z and from above, low z up."""
    a, b = np.radians(angle), np.radians(ABOVE_DEG)
    towards = np.array([-np.sin(a) * np.cos(b), -np.cos(a) * np.cos(b), -np.sin(b)])
    camera.ParallelProjectionOn()
    camera.SetParallelScale(0.55 * height)
    camera.SetFocalPoint(*middle.tolist())
    camera.SetPosition(*(middle + 100 * towards).tolist())
    camera.SetViewUp(0, 0, -1)


def main() -> None:
    """Render what lies in the folder that is named."""
    folder = Path(sys.argv[1])
    kept = np.load(folder / "in.npz")
    _render({name: kept[name] for name in ("old", "lost", "new")}, kept["step"], folder / "out.png")


if __name__ == "__main__":
    main()
