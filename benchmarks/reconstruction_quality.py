"""What pre-processing and grades are worth: rings, cupping, motion.

python benchmarks/reconstruction_quality.py [--seed 1000] [--quick] [--json]
"""

from __future__ import annotations

import math
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from harness import Figure, arguments, show
from numpy.typing import NDArray
from scipy import ndimage

from bonemet.core.scan import ConeGeometry, Scan
from bonemet.engine.context import ThreadContext
from bonemet.io.scans import open_scan
from bonemet.recon import beam_hardening, center, fdk, motion, quality
from bonemet.recon.projections import Projections
from bonemet.recon.rings import remove_stripes
from bonemet.simulation.materials import HYDROXYAPATITE, MUSCLE
from bonemet.simulation.spectrum import attenuation_table, tube_spectrum
from bonemet.stages.simulate import simulate

RING_LEVEL = 5
STRIPES, STRIPE = 0.08, 0.02  # share of the camera's pixels that read wrongly, and by how much (1 s.d.)
BONE = 1.1  # g/cm3 of hydroxyapatite in bone
AIR = 0.06  # line integrals that noise alone may reach
FAN_DEG, SOD_MM, SDD_MM = 25.888290, 92.8, 158.0
VIEWS, STEP_DEG = 260, 0.8
PHOTONS = 2e4
MOVED = quality.LIMITS["motion_px"][0]  # pixels from which a scan is called moved


def mouse(folder: Path, preset: str, seed: int) -> Scan:
    """Return a simulated scan of a digital mouse."""
    simulate(folder, preset=preset, animals=1, weeks=(0,), seed=seed, context=ThreadContext())
    return open_scan(next(folder.rglob("871/week 0")))


def rings(scans: int, seed: int) -> list[Figure]:
    """Plant wrong pixels into scans of two legs, and measure what ring removal takes and what it harms."""
    cuts, changes, shares = np.array([_rings_of_one(seed + n) for n in range(scans)]).T
    cut, change = float(np.median(cuts)), float(changes.max())
    what = f"rings cut, level {RING_LEVEL} (polar s.d.)"
    return [
        Figure(f"{what}, median of {scans} scans", cut, "times", ">= 5", cut >= 5),
        Figure(f"{what}, least of {scans} scans", float(cuts.min()), "times"),
        Figure("change elsewhere, r.m.s. over bone, worst", 100 * change, "%", "< 1", change < 0.01),
        Figure("ring removal's share of its slab's CPU time", 100 * float(np.median(shares)), "%"),
    ]


def _rings_of_one(seed: int) -> tuple[float, float, float]:
    """Return by how much rings are cut, what changes elsewhere, and the share of the CPU time."""
    rng = np.random.default_rng(seed)
    geometry = geometry_of(320, 24, float(rng.uniform(-4, 4)))
    flesh, bone = limb(rng)
    rays = seen(paths_mm(geometry, flesh), paths_mm(geometry, bone))
    clean = np.log(PHOTONS / np.maximum(rng.poisson(PHOTONS * np.exp(-rays.astype(np.float64))), 1))
    clean = clean.astype(np.float32)
    wrong = np.where(rng.random(clean.shape[1:]) < STRIPES, rng.normal(0, STRIPE, clean.shape[1:]), 0)

    def slices(rays: NDArray[np.float32]) -> NDArray[np.float32]:
        return fdk.reconstruct(lambda view, a, b: rays[view, a:b], geometry, None, (8, 16))

    start = time.process_time()
    without = mended(clean + wrong.astype(np.float32))
    spent = time.process_time() - start
    start = time.process_time()
    truth = slices(clean)
    share = spent / (spent + time.process_time() - start)
    cut = polar_deviation(slices(clean + wrong.astype(np.float32)) - truth)
    cut /= polar_deviation(slices(without) - truth)
    harm = slices(mended(clean)) - truth
    where = truth > 0.02
    change = float(np.sqrt(np.mean(harm[where] ** 2)) / np.percentile(truth, 99.5))
    return cut, change, share


def own_rings(scan: Scan) -> Figure:
    """Measure the stripes of a mouse's own scan in columns that only ever see air, before and after."""
    geometry = scan.geometry
    rays = Projections(scan, float(scan.white or 1)).sinograms(*center.rows_near_axis(geometry, 16))
    air = np.flatnonzero(rays.max(axis=(0, 1)) < AIR)
    before, after = (float(np.std(r.mean(axis=0)[:, air])) for r in (rays, mended(rays)))
    return Figure("stripes of the mouse's own scan, in air", before / after, "times")


def mended(rays: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return line integrals (views, rows, columns) without rings."""
    return np.stack([remove_stripes(rays[:, r], RING_LEVEL) for r in range(rays.shape[1])], axis=1)


def polar_deviation(image: NDArray[np.float32]) -> float:
    """Return the standard deviation over the radius of the mean all the way round, over the slices."""
    y, x = np.indices(image.shape[1:]) - (image.shape[1] - 1) / 2
    radius = np.hypot(y, x).astype(int)
    within = np.arange(5, int(0.9 * image.shape[1] / 2))
    return float(np.mean([np.std(ndimage.mean(z, radius, within)) for z in image]))


def geometry_of(columns: int, rows: int, axis: float = 0.0) -> ConeGeometry:
    """Return a short scan with the cone angle of the published ones."""
    pixel = 2 * SOD_MM * math.tan(math.radians(FAN_DEG / 2)) / columns
    angles = np.arange(VIEWS) * STEP_DEG
    return ConeGeometry(rows, columns, pixel, SOD_MM, SDD_MM, angles, axis, (rows - 1) / 2)


def paths_mm(
    geometry: ConeGeometry, bodies: NDArray[np.float64], moved: NDArray[np.float64] | None = None
) -> NDArray[np.float32]:
    """Return paths (views, rows, columns) through ellipsoids (n, 7): centre, semi-axes in mm, and a factor.

    ``moved`` (views, 3) displaces them in each view.
    """
    u = (
        np.arange(geometry.columns) - (geometry.columns - 1) / 2 - geometry.axis_offset_px
    ) * geometry.pixel_mm
    v = (np.arange(geometry.rows) - geometry.optical_axis_row) * geometry.pixel_mm
    along = np.stack(np.broadcast_arrays(u[None, :], -geometry.sod_mm, v[:, None]), axis=-1)
    length = np.linalg.norm(along, axis=-1)
    out = np.zeros((len(geometry.angles_deg), geometry.rows, geometry.columns), np.float32)
    for view, angle in enumerate(np.radians(geometry.angles_deg)):
        c, s = math.cos(angle), geometry.turn * math.sin(angle)
        back = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])  # row vectors, from the scanner to the object
        ray, source = along @ back, np.array([0, geometry.sod_mm, 0]) @ back
        for *numbers, factor in bodies:
            centre, axes = np.array(numbers[:3]), np.array(numbers[3:])
            centre = centre if moved is None else centre + moved[view]
            d, o = ray / axes, (source - centre) / axes
            a, b, q = (d * d).sum(-1), d @ o, o @ o - 1
            out[view] += factor * 2 * np.sqrt(np.maximum(b * b - a * q, 0)) / a * length
    return out


def seen(flesh_mm: NDArray[np.float32], bone_mm: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return -log of the transmission of the simulated tube's beam."""
    table = attenuation_table(tube_spectrum())
    amounts = (bone_mm * (BONE / 10), flesh_mm * (1 / 10))
    places = [(v - s) / step for v, s, step in zip(amounts, table.start, table.step, strict=True)]
    return np.asarray(ndimage.map_coordinates(table.values, places, order=1), dtype=np.float32)


def cupping() -> list[Figure]:
    """Scan a shell of bone, and measure how much darker its inside is, uncorrected and corrected."""
    geometry = geometry_of(256, 5)
    width = 4.0  # mm; a thick shell hardens most
    shell = np.array([[0, 0, 0, width, width, 400, 1.0], [0, 0, 0, 2, 2, 400, -1.0]])
    path = paths_mm(geometry, shell)
    soft = 1 - BONE / HYDROXYAPATITE.density
    rays = seen(soft * path, path)
    spectrum = tube_spectrum()
    e = spectrum.energies_kev
    per_cm = BONE * HYDROXYAPATITE.mass_attenuation(e) + soft * MUSCLE.attenuation(e)
    curve, truth = beam_hardening.for_material(spectrum.weights, per_cm / 10)
    y, x = np.indices((256, 256)) - 127.5
    radius = np.hypot(y, x) * geometry.pixel_mm

    def cup(values: NDArray[np.float32]) -> tuple[float, float]:
        image = fdk.reconstruct(lambda view, a, b: values[view, a:b], geometry, None, (2, 3))[0]
        inner, outer = (float(image[(radius > a) & (radius < b)].mean()) for a, b in ((2.4, 2.8), (3.2, 3.6)))
        return (outer - inner) / (outer + inner) * 2, (outer + inner) / 2

    plain, straight = cup(rays), cup(curve(rays))
    percent = min(abs(cup(beam_hardening.by_percent(p)(rays))[0]) for p in range(0, 31, 2))
    cut = abs(plain[0] / straight[0])
    error = abs(straight[1] / truth - 1)
    return [
        Figure("cupping of a bone shell, uncorrected", 100 * plain[0], "%"),
        Figure("cupping cut, --hardening bone", cut, "times", ">= 5", cut >= 5),
        Figure("cupping cut, best percentage", abs(plain[0]) / percent, "times"),
        Figure("attenuation of the shell off the beam's own", 100 * error, "%", "< 2", error < 0.02),
    ]


def moving(scans: int, seed: int) -> list[Figure]:
    """Scan limbs that lie still and limbs that move; count which are flagged, and look at their axis."""
    still, flagged, axis = [], [], []
    for number in range(scans):
        rng = np.random.default_rng(seed + number)
        offset = float(rng.uniform(-4, 4))
        geometry = geometry_of(160, 21, offset)
        flesh, bone = limb(rng)
        way = np.zeros((VIEWS, 3))
        for kind in (False, True):
            moved = displaced(rng, geometry.pixel_mm) if kind else way
            rays = seen(paths_mm(geometry, flesh, moved), paths_mm(geometry, bone, moved))
            counts = rng.poisson(PHOTONS * np.exp(-rays.astype(np.float64)))
            noisy = -np.log(np.maximum(counts, 1) / PHOTONS).astype(np.float32)
            found = center.find_axis_offset(noisy[:, 7:14], geometry)
            px = motion.find_motion(noisy, replace(geometry, axis_offset_px=found.offset_px), 0).px
            (flagged if kind else still).append(px is not None and px >= MOVED)
            if not kind:
                axis.append(abs(found.offset_px - offset))
    false, hit = float(np.mean(still)), float(np.mean(flagged))
    return [
        Figure(
            f"axis off the planted, worst of {scans} still scans", max(axis), "px", "<= 0.1", max(axis) <= 0.1
        ),
        Figure("still scans flagged as moved", 100 * false, "%", "<= 5", false <= 0.05),
        Figure("scans moved by 1 to 3 px flagged", 100 * hit, "%", ">= 90", hit >= 0.9),
    ]


def limb(rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return two legs of flesh and the bones in them, as ellipsoids for :func:`paths_mm`."""
    flesh, bone = [], []
    for side in (-1, 1):
        x, y = side * rng.uniform(5, 9), rng.uniform(-4, 4)
        flesh.append([x, y, 0, rng.uniform(3, 4.5), rng.uniform(3, 4.5), 40, 1.0])
        thick, z = rng.uniform(0.7, 1.1), rng.uniform(-2, 2)
        bone.append(
            [x + rng.uniform(-1, 1), y + rng.uniform(-1, 1), z, thick, thick, rng.uniform(6, 12), 1.0]
        )
        bone.append([*bone[-1][:3], thick - 0.35, thick - 0.35, bone[-1][5] - 0.5, -1.0])
        bone.append([x + rng.uniform(-1.5, 1.5), y + 1.5, rng.uniform(-1, 1), 0.8, 0.6, 0.9, 0.8])
    return np.array(flesh), np.array(bone)


def displaced(rng: np.random.Generator, pixel_mm: float) -> NDArray[np.float64]:
    """Return a way (views, 3) in mm: a sudden shift of 1 to 3 pixels in any direction in mid-scan."""
    towards = rng.normal(size=3)
    shift = towards / np.linalg.norm(towards) * rng.uniform(1, 3) * pixel_mm
    later = np.arange(VIEWS) > rng.integers(VIEWS // 4, 3 * VIEWS // 4)
    return later[:, None] * shift


def grades(scan: Scan) -> list[Figure]:
    """Judge the mouse's own scan, in which nothing was planted."""
    geometry, white = scan.geometry, float(scan.white or 1)
    rays = Projections(scan, white)
    axis = center.find_axis_offset(rays.sinograms(*center.rows_near_axis(geometry)), geometry)
    geometry = replace(geometry, axis_offset_px=axis.offset_px)
    first, stop = center.rows_near_axis(geometry, 33)
    found = motion.find_motion(rays.sinograms(first, stop), geometry, first)
    return [Figure("motion of a still mouse", found.px, "px", f"< {MOVED}", (found.px or 0) < MOVED)]


def figures(quick: bool, seed: int) -> list[Figure]:
    """Return all figures: rings, cupping, motion and grades."""
    with tempfile.TemporaryDirectory() as place:
        scan = mouse(Path(place) / "study", "tiny" if quick else "medium", seed)
        own = [own_rings(scan), *grades(scan)]
    return [*own, *rings(2 if quick else 9, seed), *cupping(), *moving(4 if quick else 20, seed)]


if __name__ == "__main__":
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1000, help="seeds from 1000 on are for judging")
    options = parser.parse_args()
    show(figures(options.quick, options.seed), options, repetitions=1)
