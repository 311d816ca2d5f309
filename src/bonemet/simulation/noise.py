"""Noise and rings as filtered backprojection makes them, slice by slice.

A scan has 32 planes of white noise, shaped by the root of its spectrum and periodic. Slices take them in
turn, each shifted by chance and with a sign by chance, and mixed with their neighbours along z. Generators
are counter-based (Salmon 2011, doi:10.1145/2063384.2063405), so any slab has the bytes of the whole.

Rings are errors of pixels that stay from view to view: drawn for every pixel of a row, filtered as the row is
filtered, and laid along the half circle on which the pixel's rays touch it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from bonemet.kernels.jit import fast_kernel
from bonemet.simulation.scanner import (
    Scanner,
    cutoff,
    folded_across,
    folded_along,
    overlap,
    ring_transfer,
)

Plane = NDArray[np.float32]
_LONGEST = 12
_PLANES = 32
"""Planes of noise of a scan: more than slices are mixed, so that no plane meets itself."""
_WIDEST = 1080
"""Voxels after which a plane repeats."""
_SMALL = 2e-3


def _generator(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))


@fast_kernel
def _add(out: Plane, plane: Plane, at: NDArray[np.int64], weight: float) -> None:
    """Add a periodic plane times a weight to a slice (y, x) whose corner lies at a place of the plane."""
    rows, columns = plane.shape
    share = np.float32(weight)
    for j in range(out.shape[0]):
        row = plane[(at[0] + j) % rows]
        i, n = 0, at[1]
        while i < out.shape[1]:
            run = min(columns - n, out.shape[1] - i)
            for k in range(run):
                out[j, i + k] += share * row[n + k]
            i, n = i + run, 0


@dataclass(frozen=True, eq=False)
class Noise:
    """Noise of slices (rows, columns) of one voxel size, for pixels' line integrals of variance 1.

    Attributes
    ----------
    scanner, voxel_mm
        What made it.
    shape
        Rows and columns of a slice.
    seed
        Of the scan.
    """

    scanner: Scanner
    voxel_mm: float
    shape: tuple[int, int]
    seed: int

    @cached_property
    def along(self) -> NDArray[np.float32]:
        """Weights (odd number) with which neighbouring slices are mixed."""
        n = 256
        power = folded_along(self.scanner, self.voxel_mm, np.fft.fftfreq(n, self.voxel_mm)) / self.voxel_mm
        kernel = np.fft.ifft(np.sqrt(power)).real
        half = np.flatnonzero(np.abs(kernel[:_LONGEST]) > _SMALL * kernel[0]).max()
        weights = np.concatenate([kernel[half:0:-1], kernel[: half + 1]])
        weights *= math.sqrt(power.mean() / np.sum(weights**2))
        return weights.astype(np.float32)

    @property
    def reach(self) -> int:
        """Slices on either side that a slice's noise depends on."""
        return len(self.along) // 2

    @cached_property
    def _size(self) -> tuple[int, int]:
        rows, columns = (int(fft.next_fast_len(min(n, _WIDEST), real=True)) for n in self.shape)
        return rows, columns

    @cached_property
    def _root(self) -> Plane:
        """Root of the power of one of the two parts of a frequency's amplitude."""
        rows, columns = self._size
        fy, fx = np.fft.fftfreq(rows, self.voxel_mm), np.fft.rfftfreq(columns, self.voxel_mm)
        power = folded_across(self.scanner, self.voxel_mm, fy, fx) / self.voxel_mm**2
        power *= math.radians(self.scanner.step_deg) * overlap(self.scanner) * rows * columns / 2
        power[:, 0] *= 2  # columns of which only the real part counts
        if columns % 2 == 0:
            power[:, -1] *= 2
        return np.sqrt(power).astype(np.float32)

    @cached_property
    def planes(self) -> NDArray[np.float32]:
        """The planes (plane, y, x) that slices are made of."""
        out = np.empty((_PLANES, *self._size), np.float32)
        for n in range(_PLANES):
            parts = _generator(self.seed, 2, n).standard_normal((*self._root.shape, 2), dtype=np.float32)
            parts *= self._root[..., None]
            out[n] = fft.irfft2(parts.view(np.complex64)[..., 0], s=self._size, overwrite_x=True)
        return out

    def _place(self, z: int) -> tuple[int, NDArray[np.int64], float]:
        """Return the plane of slice ``z`` (any whole number), where in it the slice begins, and its sign."""
        rng = _generator(self.seed, 4, z + 2**20)
        return z % _PLANES, rng.integers(self._size), float(2 * rng.integers(2) - 1)

    def slab(self, first: int, stop: int) -> NDArray[np.float32]:
        """Return the noise (z, y, x) of the slices from ``first`` to ``stop``."""
        out = np.zeros((stop - first, *self.shape), np.float32)
        reach = self.reach
        for z in range(first - reach, stop + reach):
            n, at, sign = self._place(z)
            for k in range(max(first, z - reach), min(stop, z + reach + 1)):
                _add(out[k - first], self.planes[n], at, sign * float(self.along[z - k + reach]))
        return out


@dataclass(frozen=True, eq=False)
class Rings:
    """Rings about the axis.

    Attributes
    ----------
    scanner, voxel_mm
        What made them.
    reach_mm
        Largest distance from the axis.
    seed
        Of the scan.
    """

    scanner: Scanner
    voxel_mm: float
    reach_mm: float
    seed: int

    @cached_property
    def pitch_mm(self) -> float:
        """Distance between the samples of a profile."""
        return self.scanner.pixel_mm / 2

    @property
    def size(self) -> float:
        """Standard deviation of a pixel's error over the scan, as a line integral."""
        camera = self.scanner.camera
        return math.hypot(camera.gain_error, camera.drift / 2)

    @cached_property
    def _filter(self) -> NDArray[np.float64]:
        """Rows: places along the radius; columns: pixels on one side of the axis."""
        p = self.scanner.pixel_mm
        pixels = math.ceil(self.reach_mm / p) + 2
        length = int(fft.next_fast_len(4 * pixels, real=True))
        f = np.fft.rfftfreq(length, p)
        kernel = np.fft.irfft(ring_transfer(f, cutoff(self.scanner, self.voxel_mm)), length)
        radii = np.arange(0.0, self.reach_mm, self.pitch_mm)
        angles = np.radians(np.arange(-90.0, 90.0, self.scanner.step_deg))
        # on the half circle about the tangent point the ray's distance from the axis is radius * cos(angle)
        bins = np.zeros((len(radii), pixels + 1))
        for angle in angles:
            place = radii * math.cos(angle) / p
            low = np.floor(place).astype(int)
            part = place - low
            np.add.at(bins, (np.arange(len(radii)), low), 1 - part)
            np.add.at(bins, (np.arange(len(radii)), low + 1), part)
        at = np.arange(pixels + 1)[:, None] - (np.arange(2 * pixels)[None, :] - pixels + 0.5)
        # between two pixels' centres the filtered row is their mean: pixels lie half a pixel off the axis
        near = np.floor(at).astype(int)
        rows = 0.5 * (kernel[near % length] + kernel[(near + 1) % length])
        return np.asarray(np.einsum("ij,jk->ik", bins, rows) * math.radians(self.scanner.step_deg))

    def profile(self, z: int) -> NDArray[np.float32]:
        """Return the rings of slice ``z`` (2, radii): where y > 0 and where y < 0."""
        table = self._filter
        errors = np.asarray(_generator(self.seed, 3, z + 2**20).normal(0.0, self.size, table.shape[1]))
        both = np.stack([(table * errors).sum(axis=1), (table * errors[::-1]).sum(axis=1)])
        return both.astype(np.float32)
