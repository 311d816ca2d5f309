"""Bone volume of a leg far from the axis at 10 um: what partial volume, few views, noise and hardening cost.

    python benchmarks/reconstruction_offaxis.py [--json] [--quick] [--seed 1000] [--off-axis-mm 10]

The proximal tibia of a digital mouse is scanned off the axis with its other leg in the beam, one fault after
the other added: voxels alone; a beam of one energy without noise; photon noise; the tube's whole spectrum,
uncorrected and straightened. Bone is what lies above halfway between marrow and cortex.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from harness import Figure, arguments, show
from numpy.typing import NDArray
from scipy import ndimage

from bonemet.core.grid import Grid
from bonemet.core.scan import ConeGeometry
from bonemet.engine.context import ThreadContext
from bonemet.recon import beam_hardening, fdk
from bonemet.recon.filtering import Recipe
from bonemet.simulation import LABELS, animal, presets, scan_pose, scene, skeleton, spectrum, xray
from bonemet.simulation.materials import HYDROXYAPATITE, MUSCLE
from bonemet.simulation.render import Painter

SIDE = "left"
ROWS, SLICES = 96, 48
HALF_MM = 2.3  # of the square about the leg that is looked at
MONO_KEV = 27.0
PHOTONS = 2e4
BONE = 1.1  # g/cm3 of hydroxyapatite in bone
INNER_MM = 0.3  # the trabecular region lies so far within the outer contour
NEAR_MM = 0.04  # what lies so near to the tibia counts as it


@dataclass(frozen=True)
class Truth:
    """The tibia that was planted, on the reconstruction's grid.

    Attributes
    ----------
    density
        (z, y, x) mg HA/cm3 of all bones.
    near, inner
        What counts as the tibia, and its trabecular region.
    volume, fraction
        Bone volume in voxels and BV/TV, counted in voxels half as large.
    """

    density: NDArray[np.float32]
    near: NDArray[np.bool_]
    inner: NDArray[np.bool_]
    volume: float
    fraction: float


def planted(parts: list[skeleton.Part], grid: Grid) -> Truth:
    """Return the truth on a grid in the frame of poses."""
    h = grid.spacing_mm[0]
    fine_origin = tuple(o - h / 4 for o in grid.origin_mm)
    fine = Grid.isotropic(
        [2 * n for n in grid.shape], h / 2, (fine_origin[0], fine_origin[1], fine_origin[2])
    )
    labels, density = _painted(parts, fine, 1)
    tibia = labels == LABELS[f"{SIDE} tibia"]
    solid = (density >= 500 * BONE) & tibia
    blocks = (grid.shape[0], 2, grid.shape[1], 2, grid.shape[2], 2)
    share = solid.reshape(blocks).mean(axis=(1, 3, 5))
    outer = tibia.reshape(blocks).any(axis=(1, 3, 5))
    filled = np.stack([ndimage.binary_fill_holes(z) for z in outer])
    depth = np.stack([ndimage.distance_transform_edt(z) for z in filled])
    inner = depth * h > INNER_MM
    near = np.stack([ndimage.distance_transform_edt(~z) for z in filled]) * h <= NEAR_MM
    _, coarse = _painted(parts, grid, 2)
    return Truth(coarse, near, inner, float(share.sum()), float(share[inner].mean()))


def _painted(
    parts: list[skeleton.Part], grid: Grid, finer: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    labels, density = np.zeros(grid.shape, np.uint8), np.zeros(grid.shape, np.float32)
    Painter(parts, grid, finer).paint(labels, density)
    return labels, density


def measured(image: NDArray[np.float32], truth: Truth) -> tuple[float, float]:
    """Return error of the bone volume in percent, and of BV/TV in points."""
    cortex = ndimage.binary_erosion(truth.density > 900 * BONE, iterations=2) & truth.near
    marrow = ndimage.binary_erosion(truth.density < 1, iterations=2) & truth.inner
    bone = image > (np.median(image[cortex]) + np.median(image[marrow])) / 2
    volume = float((bone & truth.near).sum())
    return 100 * (volume / truth.volume - 1), 100 * (float(bone[truth.inner].mean()) - truth.fraction)


def straight(beam: spectrum.Spectrum) -> beam_hardening.Linearisation:
    """Return the curve for bone."""
    soft = 1 - BONE / HYDROXYAPATITE.density
    e = beam.energies_kev
    per_cm = BONE * HYDROXYAPATITE.mass_attenuation(e) + soft * MUSCLE.attenuation(e)
    return beam_hardening.for_material(beam.weights, per_cm / 10)[0]


def figures(off_axis_mm: float, seed: int, rows: int, slices: int) -> list[Figure]:
    """Return bone volume and BV/TV with one fault after the other, and what each adds."""
    context = ThreadContext(2)
    whole = presets.preset("narrow")
    wider = 2 * round(1.2 * off_axis_mm / whole.pixel_mm)
    preset = whole.window(min(whole.columns + wider, whole.camera_columns), rows)
    scan = preset.geometry()
    mouse = animal(seed, tumour_side=None)
    lying = scene.aimed_pose(scan_pose(mouse, 0, seed), SIDE, off_axis_mm)
    tube = spectrum.tube_spectrum()
    body = scene.body_in_beam(
        mouse, 0, lying, preset, scan, spectrum.soft_materials(tube), mapper=context.map
    )
    grid, isocentric = _about_leg(scan, off_axis_mm, slices)
    truth = planted(skeleton.skeleton(mouse, 0, lying), isocentric)
    rng = np.random.default_rng(seed)

    def rays(beam: spectrum.Spectrum) -> NDArray[np.float32]:
        table = spectrum.attenuation_table(beam)
        views = context.map(lambda v: xray.project(body, scan, v, table), range(preset.views))
        return -np.log(np.stack(list(views)))

    def noisy(line: NDArray[np.float32]) -> NDArray[np.float32]:
        counts = rng.poisson(PHOTONS * np.exp(-line.astype(np.float64)))
        return np.log(PHOTONS / np.maximum(counts, 0.5)).astype(np.float32)

    def image(line: NDArray[np.float32], recipe: Recipe = fdk.STANDARD) -> NDArray[np.float32]:
        return fdk.reconstruct(lambda v, a, b: line[v, a:b], scan, grid, recipe=recipe, mapper=context.map)

    found = {"voxels alone (partial volume)": measured(truth.density, truth)}
    line = rays(spectrum.single_energy(MONO_KEV))
    found["and 260 views of 0.8 degrees, pixels"] = measured(image(line), truth)
    found["the same with --accuracy fine"] = measured(image(line, Recipe(accuracy="fine")), truth)
    found["the same with --filter ramp"] = measured(image(line, Recipe("ramp")), truth)
    found["the same with --filter ramp --accuracy sharp"] = measured(
        image(line, Recipe("ramp", "sharp")), truth
    )
    found["and noise"] = measured(image(noisy(line)), truth)
    line = noisy(rays(tube))
    found["and hardening, uncorrected"] = measured(image(line), truth)
    sharp = image(straight(tube)(line), Recipe("ramp", "sharp"))
    found["the same, --hardening bone --filter ramp --accuracy sharp"] = measured(sharp, truth)
    found["and hardening, --hardening bone"] = measured(image(straight(tube)(line)), truth)
    smooth = ndimage.gaussian_filter(image(straight(tube)(line)), 0.7)
    found["the same with --smooth 0.7"] = measured(smooth, truth)
    return [
        Figure(f"planted BV/TV, {off_axis_mm:g} mm off the axis", 100 * truth.fraction, "%"),
        *(f for what, errors in found.items() for f in _two(what, *errors)),
    ]


def _two(what: str, volume: float, fraction: float) -> list[Figure]:
    return [
        Figure(f"bone volume off: {what}", volume, "%", "within 3", abs(volume) <= 3),
        Figure(f"trabecular BV/TV off: {what}", fraction, "points", "within 2", abs(fraction) <= 2),
    ]


def _about_leg(scan: ConeGeometry, off_axis_mm: float, slices: int) -> tuple[Grid, Grid]:
    """Return the grid about the leg in the scan frame, and the same in the frame of poses."""
    full = fdk.default_grid(scan)
    h, middle = scan.pixel_mm, (scan.columns - 1) / 2
    half, x = round(HALF_MM / h), round(middle - off_axis_mm / h)
    y, z = round(middle), round(scan.optical_axis_row - slices / 2)
    first = (z, max(0, y - half), max(0, x - half))
    last = (z + slices, min(full.shape[1], y + half), min(full.shape[2], x + half))
    corner = scene.reconstruction_grid(scan)
    return full.crop(first, last), corner.crop(first, last)


if __name__ == "__main__":
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1000, help="seeds from 1000 on are for judging")
    parser.add_argument("--off-axis-mm", type=float, default=10.0)
    options = parser.parse_args()
    size = (48, 8) if options.quick else (ROWS, SLICES)
    show(figures(options.off_axis_mm, options.seed, *size), options, repetitions=1)
