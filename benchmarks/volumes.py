"""How well volumes without X-rays match reconstructions of simulated scans, and what they cost.

One animal at preset ``small``, a band of rows about its shanks: projected, recorded and reconstructed, and
made directly. Ratios are volume over reconstruction.

python benchmarks/volumes.py [--quick] [--json] [--picture FILE.png]
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import cases
import numpy as np
from harness import Figure, arguments, show
from numpy.typing import NDArray
from scipy import ndimage

from bonemet.recon import fdk
from bonemet.simulation import animal, detector, presets, render, scan_pose, scene, spectrum, xray
from bonemet.simulation.grey import grey_volume
from bonemet.simulation.scanner import scanner_of

SEED, ROWS, LABEL = 500, 48, 3
Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Both:
    """One animal twice, (z, y, x) in 1/mm: reconstructed and made directly, with noise and without.

    ``bone`` is its mineral (mg HA/cm3) and ``labels`` its bones, as planted; ``voxel_mm`` the voxel.
    """

    noisy: tuple[Array, Array]
    clean: tuple[Array, Array]
    bone: Array
    labels: Array
    soft: Array
    voxel_mm: float


def both(rows: int) -> Both:
    """Return an animal through the whole chain, and made directly."""
    size = presets.preset("small")
    whole = size.geometry()
    who = animal(SEED, tumour_side="left")
    pose = scan_pose(who, 0, SEED)
    level = pose.matrices["left tibia"] @ [0.0, 0.0, 5.0, 1.0]
    first = round(level[2] / size.pixel_mm + whole.optical_axis_row) - rows // 2
    geometry = replace(whole, rows=rows, optical_axis_row=whole.optical_axis_row - first)
    beam = spectrum.tube_spectrum()
    body = scene.body_in_beam(who, 0, pose, size, geometry, spectrum.soft_materials(beam))
    table = spectrum.attenuation_table(beam)
    noisy_camera = replace(
        detector.dose("normal"), gain_error=0, drift=0, flicker=0, dead_share=0, flat_drift=0
    )
    clean_camera = replace(detector.PERFECT, blur_px=noisy_camera.blur_px)
    faults = detector.panel(clean_camera, geometry.rows, geometry.columns, SEED)
    rays = np.empty((2, size.views, geometry.rows, geometry.columns), np.float32)
    for view in range(size.views):
        light = xray.project(body, geometry, view, table)
        for camera, out in zip((noisy_camera, clean_camera), rays, strict=True):
            counts = detector.record(light, camera, faults, view=view, views=size.views, seed=SEED)
            out[view] = -np.log(np.maximum(counts, 1) / np.float32(detector.WHITE))
    grid = scene.reconstruction_grid(geometry)
    theirs = [fdk.reconstruct(lambda view, a, b, r=r: r[view, a:b], geometry) for r in rays]
    ours = [
        grey_volume(who, 0, pose, grid, scanned=scanner_of(size, camera), seed=SEED).values
        for camera in (noisy_camera, clean_camera)
    ]
    truth = render(who, 0, pose, grid.shape, size.pixel_mm, grid.origin_mm)
    kept = slice(8, rows - 8)  # slices near the ends are less exact in a reconstruction
    noisy, clean = ((a[kept], b[kept]) for a, b in zip(theirs, ours, strict=True))
    return Both(noisy, clean, truth.bone[kept], truth.labels[kept], truth.soft[kept], size.pixel_mm)


def match(made: Both) -> list[Figure]:
    """Return how well a volume matches its reconstruction."""
    near_bone = ndimage.binary_dilation(made.bone > 0, iterations=4)
    inside = np.isin(made.labels, (3, 5))
    marrow = inside & ~near_bone
    # within slices, for a short band has but few of them
    cross = ndimage.generate_binary_structure(2, 1)[None]
    flesh = ndimage.binary_erosion(made.soft == 1, cross, iterations=12) & (made.labels == 0)
    flesh &= ~ndimage.binary_dilation(made.labels != 0, iterations=8)
    air = ndimage.binary_erosion(made.soft == 0, cross, iterations=12)
    air[:, :200], air[:, -200:], air[:, :, :200], air[:, :, -200:] = (False,) * 4
    cortex = ndimage.binary_erosion(made.bone > 900)
    found = []
    for name, mask, allowed in (
        ("muscle", flesh, 0.03),
        ("marrow of shafts", marrow, 0.08),
        ("cortex", cortex, 0.03),
    ):
        a, b = (float(v[mask].mean()) for v in made.clean)
        found += [Figure(f"{name}, reconstructed", a, "1/mm"), _ratio(f"{name}, ratio", b / a, allowed)]
    there, here = (a - b for a, b in zip(made.noisy, made.clean, strict=True))
    found.append(
        _ratio("noise variance in legs, ratio", float(here[inside].var() / there[inside].var()), 0.2)
    )
    found.append(_ratio("noise variance in air, ratio", float(here[air].var() / there[air].var()), 0.2))
    found += _details(made)
    limb = ndimage.binary_dilation(inside, iterations=4)
    found.append(
        Figure("correlation within bones", float(np.corrcoef(*(v[limb] for v in made.clean))[0, 1]), "")
    )
    return found


def _details(made: Both) -> list[Figure]:
    """Return the strength of detail of several sizes about one tibia, ratio of standard deviations."""
    box = ndimage.find_objects((made.labels == LABEL).astype(np.int8))[0]
    box = (slice(None), *(slice(s.start - 16, s.stop + 16) for s in box[1:]))
    powers = []
    for values in made.clean:
        part = values[box] - values[box].mean()
        taper = np.multiply.outer(np.hanning(part.shape[1]), np.hanning(part.shape[2]))
        powers.append((np.abs(np.fft.fft2(part * taper)) ** 2).mean(axis=0))
    f = np.hypot(*np.meshgrid(*(np.fft.fftfreq(n) for n in powers[0].shape), indexing="ij"))
    found = []
    for small, large in pairwise((2.5, 4, 7, 10, 20)):
        ring = (f >= 1 / large) & (f < 1 / small)
        ratio = float(np.sqrt(powers[1][ring].sum() / powers[0][ring].sum()))
        found.append(_ratio(f"detail of {small:g} to {large:g} voxels, ratio", ratio, 0.1))
    return found


def _ratio(name: str, value: float, allowed: float) -> Figure:
    return Figure(name, value, "", f"1 +- {allowed:g}", abs(value - 1) <= allowed)


def picture(made: Both, path: Path) -> None:
    """Write slices of both side by side, reconstructed above: both legs, then one shank."""
    from matplotlib import pyplot

    middle = made.bone.shape[0] // 2
    ys, xs = (
        slice(s.start - 30, s.stop + 30)
        for s in ndimage.find_objects(((made.labels > 0) & (made.labels != 6)).astype(np.int8))[0][1:]
    )
    near = ndimage.find_objects((made.labels[middle] == LABEL).astype(np.int8))[0]
    ny, nx = (slice(s.start - 12, s.stop + 12) for s in near)
    figure, axes = pyplot.subplots(2, 2, figsize=(9, 6), width_ratios=(2, 1), layout="constrained")
    for row, (title, values) in enumerate(
        zip(("reconstruction", "volume without X-rays"), made.noisy, strict=True)
    ):
        for axis, (y, x) in zip(axes[row], ((ys, xs), (ny, nx)), strict=True):
            axis.imshow(values[middle, y, x], cmap="gray", vmin=0, vmax=0.3, interpolation="nearest")
            axis.set_axis_off()
        axes[row, 0].set_title(title, loc="left", fontsize=9)
    figure.savefig(path, dpi=90)
    pyplot.close(figure)


def main() -> None:
    """Print the match and the costs."""
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--picture", type=Path, help="also write slices of both side by side")
    options = parser.parse_args()
    made = both(32 if options.quick else ROWS)
    if options.picture:
        picture(made, options.picture)
    show([*match(made), *cases.costs(options.quick)], options, repetitions=1)


if __name__ == "__main__":
    main()
