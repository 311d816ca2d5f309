"""Slabs within a memory budget."""

import numpy as np
import pytest
from recon_phantom import geometry

from bonemet.core.errors import SettingsError
from bonemet.recon import fdk
from bonemet.recon.filtering import Recipe
from bonemet.recon.projections import BASE_BYTES, plan_slabs


def largest(columns, rows, side):
    geo = geometry(columns=columns, rows=rows, field_mm=42.0)
    return geo, fdk.resampled_grid(geo, geo.pixel_mm * columns / side)


@pytest.mark.parametrize(("columns", "rows", "side"), [(4032, 2688, 2000), (2016, 1344, 2016)])
def test_the_largest_cameras_fit_into_4_gb(columns, rows, side):
    geo, grid = largest(columns, rows, side)
    plan = plan_slabs(geo, grid, (0, grid.shape[0]), 4.0)
    covered = [n for slab in plan.slabs for n in range(*slab)]
    assert covered == list(range(grid.shape[0]))
    for slab in plan.slabs:
        assert fdk.slab_bytes(geo, grid, slab) + BASE_BYTES <= 4e9


def test_the_plan_counts_what_is_allocated():
    """At the ends of a scan as in its middle, and with views between views."""
    geo = geometry(columns=64, rows=160, views=30, step=7.0)
    grid = fdk.default_grid(geo)
    for recipe in (Recipe(), Recipe(accuracy="fine")):
        for slab in ((0, 32), (64, 96), (128, 160)):
            filtered = fdk.filter_slab(
                lambda view, a, b: np.zeros((b - a, 64), np.float32), geo, grid, slab, recipe=recipe
            )
            slices = 4 * (filtered.stop - filtered.first) * 64 * 64
            counted = fdk.slab_bytes(geo, grid, slab, recipe) - slices
            assert filtered.q.nbytes <= counted <= 1.3 * filtered.q.nbytes


def test_too_little_memory_is_refused():
    geo, grid = largest(4032, 2688, 4032)
    with pytest.raises(SettingsError, match=r"needs at least [\d.]+ GB"):
        plan_slabs(geo, grid, (0, grid.shape[0]), 0.6)
