"""Projections: rays against their definition, mass, magnification, the axis' shadow, Beer-Lambert."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from bonemet.core.errors import SettingsError
from bonemet.core.grid import Grid
from bonemet.core.scan import ConeGeometry
from bonemet.simulation.fields import field_of, join_lines, pack_lines, upright
from bonemet.simulation.materials import ALUMINIUM, HYDROXYAPATITE, MUSCLE, WATER
from bonemet.simulation.spectrum import attenuation_table, single_energy, soft_materials, tube_spectrum
from bonemet.simulation.xray import Body, Rays, line_integrals, project

ANGLES = st.floats(0, 360)
TURNS = st.sampled_from([1, -1])


def geometry(
    angles=(0.0,), *, rows=60, columns=70, pixel=0.4, offset=0.0, axis_row=28.0, turn=1, sod=60.0, tilt=0.0
):
    angles = np.asarray(angles, float)
    return ConeGeometry(rows, columns, pixel, sod, 2 * sod, angles, offset, axis_row, turn, tilt)


def grid_at(centre, n, spacing):
    """A cube of n voxels a side about a point (x, y, z)."""
    corner = np.asarray(centre) - (n - 1) / 2 * spacing
    return Grid.isotropic((n, n, n), spacing, tuple(float(c) for c in corner))


def blob(centre, sigma, spacing=0.2, n=41):
    grid = grid_at(centre, n, spacing)
    z, y, x = np.indices(grid.shape)
    points = grid.index_to_mm(np.stack([z, y, x], axis=-1))
    r2 = ((points - np.asarray(centre)) ** 2).sum(axis=-1)
    return np.exp(-r2 / (2 * sigma**2)).astype(np.float32), grid, points


def standing(point, angle_deg, turn):
    """Where a point of the object stands at an angle, by the definition in core.scan."""
    a = math.radians(angle_deg)
    x, y, z = point
    if turn == 1:
        return x * math.cos(a) - y * math.sin(a), x * math.sin(a) + y * math.cos(a), z
    return x * math.cos(a) + y * math.sin(a), -x * math.sin(a) + y * math.cos(a), z


def shadow(point, g, view):
    """Column, row and magnification of a point's shadow, by similar triangles."""
    x, y, z = standing(point, g.angles_deg[view], g.turn)
    m, tilt = g.sod_mm / (g.sod_mm - y), math.radians(g.axis_tilt_deg)
    across, down = m * x / g.pixel_mm, m * z / g.pixel_mm
    return (
        (g.columns - 1) / 2 + g.axis_offset_px + across * math.cos(tilt) + down * math.sin(tilt),
        g.optical_axis_row + down * math.cos(tilt) - across * math.sin(tilt),
        m,
    )


def moments(image):
    """Centroid (column, row) and mean standard deviation of an image (columns, rows)."""
    u, v = np.indices(image.shape)
    total = image.sum()
    cu, cv = (u * image).sum() / total, (v * image).sum() / total
    spread = ((u - cu) ** 2 * image).sum() + ((v - cv) ** 2 * image).sum()
    return cu, cv, math.sqrt(spread / total / 2)


@settings(max_examples=25, deadline=None)
@given(angle=ANGLES, turn=TURNS, seed=st.integers(0, 99))
def test_rays_agree_with_plain_sampling(angle, turn, seed):
    rng = np.random.default_rng(seed)
    n, h = 24, 0.5
    z = (np.arange(n) - (n - 1) / 2) * h
    window = np.exp(-(z[:, None, None] ** 2 + z[:, None] ** 2 + z**2) / (2 * 1.8**2))
    values = window * (1 + 4 * ndimage.gaussian_filter(rng.standard_normal((n, n, n)), 2.0))
    values = np.pad(values[1:-1, 1:-1, 1:-1], 1).astype(np.float32)  # fades to nothing at the border
    grid = grid_at(rng.uniform(-1, 1, 3), n, h)
    g = geometry([angle], turn=turn, offset=1.7, columns=40, rows=36, axis_row=17.0)
    fast = line_integrals(field_of(values, grid), Rays.of_view(g, 0))

    # the slow way: turn the scanner, and sample each ray in very small steps
    for u, v in rng.integers((40, 36), size=(12, 2)):
        pixel = ((u - 19.5 - 1.7) * g.pixel_mm, 0.0, (v - 17.0) * g.pixel_mm)
        source = standing((0.0, g.sod_mm, 0.0), angle, -turn)
        target = standing(pixel, angle, -turn)
        direction = np.asarray(target) - source
        t = np.linspace(0.7, 1.3, 4001)
        index = grid.mm_to_index(source + t[:, None] * direction)
        samples = ndimage.map_coordinates(values, index.T, order=1, mode="constant")
        slow = samples.sum() * (t[1] - t[0]) * np.linalg.norm(direction)
        assert fast[u, v] == pytest.approx(slow, rel=0.02, abs=0.02)


@settings(max_examples=20, deadline=None)
@given(angle=ANGLES, turn=TURNS, x=st.floats(-5, 5), y=st.floats(-5, 5), z=st.floats(-3, 3))
def test_mass_is_kept(angle, turn, x, y, z):
    values, grid, points = blob((x, y, z), 0.9, spacing=0.15, n=61)
    g = geometry([angle], turn=turn)
    image = line_integrals(field_of(values, grid), Rays.of_view(g, 0)).astype(float)
    # a volume element looks as large as it is divided by its squared distance from the source
    source = np.asarray(standing((0.0, g.sod_mm, 0.0), angle, -turn))
    seen = (values * grid.voxel_mm3 / ((points - source) ** 2).sum(axis=-1)).sum()
    column = (np.arange(g.columns)[:, None] - (g.columns - 1) / 2) * g.pixel_mm
    row = (np.arange(g.rows)[None, :] - g.optical_axis_row) * g.pixel_mm
    ray = np.sqrt(g.sod_mm**2 + column**2 + row**2)
    solid_angle = g.pixel_mm**2 * g.sod_mm / ray**3
    assert (image * solid_angle).sum() == pytest.approx(seen, rel=2e-3)


@settings(max_examples=25, deadline=None)
@given(
    angle=ANGLES,
    turn=TURNS,
    offset=st.floats(-4, 4),
    tilt=st.floats(-2, 2),
    point=st.tuples(st.floats(-5, 5), st.floats(-5, 5), st.floats(-4, 4)),
    shift=st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5), st.floats(-0.5, 0.5)),
)
def test_bead_is_magnified_and_where_it_should_be(angle, turn, offset, tilt, point, shift):
    sigma = 0.8
    g = geometry([angle], turn=turn, offset=offset, tilt=tilt)
    values, grid, _ = blob(point, sigma)
    u, v, spread = moments(line_integrals(field_of(values, grid), Rays.of_view(g, 0), shift).astype(float))
    column, row, magnification = shadow(np.add(point, shift), g, 0)
    assert u == pytest.approx(column, abs=0.05)
    assert v == pytest.approx(row, abs=0.05)
    assert spread == pytest.approx(sigma * magnification / g.pixel_mm, rel=0.02)


@pytest.mark.parametrize("turn", [1, -1])
def test_shadow_of_the_axis_stands_still(turn):
    n, h = 25, 0.1
    x = (np.arange(n) - n // 2) * h
    rod = np.exp(-(x**2 + x[:, None] ** 2) / (2 * 0.25**2)).astype(np.float32)
    wire = np.tile(rod, (60, 1, 1))
    field = field_of(wire, Grid.isotropic(wire.shape, h, (x[0], x[0], -3.0)))
    g = geometry(np.arange(0, 360, 7.3), offset=2.75, turn=turn, pixel=0.1)
    for view in range(len(g.angles_deg)):
        image = line_integrals(field, Rays.of_view(g, view))[:, 20:36].astype(float)
        column = (np.arange(g.columns)[:, None] * image).sum() / image.sum()
        assert column == pytest.approx((g.columns - 1) / 2 + 2.75, abs=0.02)


@pytest.mark.parametrize("turn", [1, -1])
def test_shadow_of_a_tilted_axis_leans(turn):
    n, h = 25, 0.1
    x = (np.arange(n) - n // 2) * h
    rod = np.exp(-(x**2 + x[:, None] ** 2) / (2 * 0.25**2)).astype(np.float32)
    wire = np.tile(rod, (120, 1, 1))
    field = field_of(wire, Grid.isotropic(wire.shape, h, (x[0], x[0], -6.0)))
    tilt = 1.5
    g = geometry(np.arange(0, 360, 37.3), offset=1.25, turn=turn, pixel=0.1, tilt=tilt)
    for view in range(len(g.angles_deg)):
        image = line_integrals(field, Rays.of_view(g, view)).astype(float)
        column = (np.arange(g.columns)[:, None] * image).sum(axis=0) / image.sum(axis=0)
        leaning = math.tan(math.radians(tilt)) * (np.arange(g.rows) - g.optical_axis_row)
        assert np.allclose(column, (g.columns - 1) / 2 + 1.25 + leaning, atol=0.04)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), angle=ANGLES, cuts=st.lists(st.integers(1, 11), max_size=3, unique=True))
def test_patches_make_the_whole_and_empty_lines_cost_nothing(seed, angle, cuts):
    rng = np.random.default_rng(seed)
    values = np.where(rng.random((18, 12, 14)) < 0.03, rng.random((18, 12, 14)), 0).astype(np.float32)
    grid = Grid.isotropic(values.shape, 0.6, (-4.0, -3.5, -5.0))
    whole = field_of(values, grid)
    assert np.array_equal(whole.array(), values)
    assert whole.values.size < values.size / 2
    edges = [0, *sorted(cuts), 12]
    patches = [(a, 0, pack_lines(values[:, a:b])) for a, b in reversed(list(pairwise(edges)))]
    patched = join_lines(grid, patches)
    assert np.array_equal(patched.array(), values)
    rays = Rays.of_view(geometry([angle]), 0)
    assert np.array_equal(line_integrals(whole, rays), line_integrals(patched, rays))
    # a field that is told to hold something everywhere gives the same integrals
    lines = np.ascontiguousarray(values.transpose(1, 2, 0)).ravel(), np.zeros((12, 14), np.int32)
    full = join_lines(grid, [(0, 0, (*lines, np.full((12, 14), 18, np.int32)))])
    assert np.allclose(line_integrals(whole, rays), line_integrals(full, rays), rtol=1e-4, atol=1e-5)


def test_upright_field_is_one_slice_repeated():
    rng = np.random.default_rng(1)
    one = np.where(rng.random((7, 9)) < 0.4, rng.random((7, 9)), 0).astype(np.float32)
    grid = Grid.isotropic((5, 7, 9), 0.5, (-2.0, -1.5, -1.0))
    assert np.array_equal(upright(one, grid).array(), np.broadcast_to(one, (5, 7, 9)))


@pytest.mark.parametrize(
    ("tilt", "tolerance"), [(0.0, 1e-5), (0.4, 0.02)]
)  # columns lean by 0.025 pixel at most
def test_window_is_the_middle_of_the_whole_picture(tilt, tolerance):
    values, grid, _ = blob((2.0, -1.0, 0.5), 0.9)
    whole = geometry([33.0], columns=70, rows=60, axis_row=28.0, offset=0.7, tilt=tilt)
    part = geometry([33.0], columns=30, rows=24, axis_row=12.0, offset=0.7, tilt=tilt)
    field = field_of(values, grid)
    seen, wanted = (line_integrals(field, Rays.of_view(g, 0)) for g in (part, whole))
    assert np.allclose(seen, wanted[20:50, 16:40], rtol=1e-4, atol=tolerance)


def test_mass_is_kept_in_a_picture_of_one_energy():
    values, grid, points = blob((1.0, -2.0, 0.7), 0.9, spacing=0.15, n=61)
    nothing = field_of(np.zeros((9, 9, 9), np.float32), grid_at((0, 0, 0), 9, 1.0))
    body = Body(field_of(300 * values, grid), nothing, nothing)  # mg/cm3
    g, energy = geometry([50.0]), 30.0
    image = project(body, g, 0, attenuation_table(single_energy(energy))).astype(float)
    # mineral takes the room of muscle
    at = np.array([energy])
    per_mg = (HYDROXYAPATITE.mass_attenuation(at) - MUSCLE.attenuation(at) / HYDROXYAPATITE.density)[0] / 1000
    source = np.asarray(standing((0.0, g.sod_mm, 0.0), 50.0, -1))
    seen = (300 * values * grid.voxel_mm3 / ((points - source) ** 2).sum(axis=-1)).sum() * per_mg / 10
    column = (np.arange(g.columns)[None, :] - (g.columns - 1) / 2) * g.pixel_mm
    row = (np.arange(g.rows)[:, None] - g.optical_axis_row) * g.pixel_mm
    solid_angle = g.pixel_mm**2 * g.sod_mm / (g.sod_mm**2 + column**2 + row**2) ** 1.5
    assert (-np.log(image) * solid_angle).sum() == pytest.approx(seen, rel=3e-3)


def wedge_body(thickness_mm, mineral=0.0, soft=(1.0, 0.0)):
    """A block whose thickness along the beam is given, wide enough to fill the picture."""
    h = 0.5
    n = round(thickness_mm / h)
    shape = (41, n, 41)
    grid = Grid.isotropic(shape, h, (-20 * h, -(n - 1) / 2 * h, -20 * h))
    ones = np.ones(shape, np.float32)
    return Body(
        field_of(ones * mineral, grid), field_of(ones * soft[0], grid), field_of(ones * soft[1] * 1000, grid)
    )


def through(body, spectrum):
    """Transmission along the central ray."""
    g = geometry(rows=9, columns=9, pixel=0.25, axis_row=4.0)
    return float(project(body, g, 0, attenuation_table(spectrum))[4, 4])


@pytest.mark.parametrize("spectrum", [tube_spectrum(), single_energy(25.0)], ids=["tube", "25 keV"])
def test_wedge_follows_beer_lambert(spectrum):
    thickness = np.array([2.0, 5.0, 10.0, 20.0, 30.0])
    curve = [through(wedge_body(t), spectrum) for t in thickness]
    by_hand = []
    for t in thickness:
        mu = MUSCLE.mass_attenuation(spectrum.energies_kev) * 1.05
        part = spectrum.photons * spectrum.energies_kev
        by_hand.append((part * np.exp(-mu * t / 10)).sum() / part.sum())
    assert curve == pytest.approx(by_hand, rel=2e-3)
    per_mm = -np.log(curve) / thickness
    if len(spectrum.energies_kev) > 1:
        assert (np.diff(per_mm) < -1e-4).all()  # the beam hardens
    else:
        assert per_mm == pytest.approx(per_mm[0], rel=2e-3)


def test_bone_takes_the_room_of_soft_tissue():
    spectrum = tube_spectrum()
    measured = through(wedge_body(2.0, mineral=1100.0), spectrum)
    apatite = 1.1 * 0.2  # g/cm2
    muscle = 0.2 * (1 - 1.1 / HYDROXYAPATITE.density)
    by_hand = spectrum.transmission((HYDROXYAPATITE, MUSCLE), (apatite, muscle * MUSCLE.density))
    assert measured == pytest.approx(float(by_hand), rel=2e-3)


@pytest.mark.parametrize("code", [0, 1, 2, 3])
def test_soft_materials_attenuate_as_tabulated(code):
    from bonemet.simulation.materials import FAT, PLASTIC

    spectrum = tube_spectrum()
    measured = through(wedge_body(10.0, soft=tuple(soft_materials(spectrum)[code])), spectrum)
    if code == 0:
        assert measured == pytest.approx(1, abs=1e-4)
    else:
        material = (MUSCLE, FAT, PLASTIC)[code - 1]
        assert measured == pytest.approx(
            float(spectrum.transmission((material,), (material.density,))), rel=5e-3
        )


def test_fine_bone_is_not_missed_between_rays():
    """Pixels average what falls on them, so the mass is kept although rays are few."""
    rng = np.random.default_rng(3)
    bone = np.where(rng.random((40, 40, 40)) < 0.02, 300.0, 0).astype(np.float32)
    nothing = field_of(np.zeros((9, 9, 9), np.float32), grid_at((0, 0, 0), 9, 1.0))
    body = Body(field_of(bone, grid_at((0, 0, 0), 40, 0.2)), nothing, nothing)
    table = attenuation_table(single_energy(30.0))
    coarse = geometry([20.0], pixel=0.8, rows=30, columns=35, axis_row=14.5)
    fine = geometry([20.0], pixel=0.2, rows=120, columns=140, axis_row=59.5)
    seen, wanted = (project(body, g, 0, table) for g in (coarse, fine))
    averaged = wanted.reshape(30, 4, 35, 4).mean(axis=(1, 3))
    assert np.allclose(seen, averaged, atol=1e-6)
    assert seen.min() < 0.995


def test_spectrum_and_tables_against_published_values():
    spectrum = tube_spectrum()
    # SpekPy 2.5.4, 50 kVp, 20 degrees, 0.15 mm Be, 0.5 mm Al, energies from 1 keV on; signal by energy
    assert spectrum.mean_kev == pytest.approx(26.08, rel=0.02)
    assert float(spectrum.transmission((ALUMINIUM,), (0.2699,))) == pytest.approx(0.6281, rel=0.03)
    assert float(spectrum.transmission((WATER,), (2.0,))) == pytest.approx(0.3950, rel=0.03)
    assert tube_spectrum(1.0).mean_kev > spectrum.mean_kev
    # NIST's own values at tabulated energies, and between them water from XCOM at 25 and 45 keV
    assert HYDROXYAPATITE.mass_attenuation(np.array([20.0]))[0] == pytest.approx(6.56, rel=0.005)
    assert WATER.mass_attenuation(np.array([25.0, 45.0])) == pytest.approx([0.5076, 0.2451], rel=0.01)


def test_refusals():
    with pytest.raises(SettingsError, match="10 to 50 keV"):
        WATER.mass_attenuation(np.array([60.0]))
    with pytest.raises(SettingsError, match="filter"):
        tube_spectrum(-1)
    with pytest.raises(SettingsError, match="cubic"):
        join_lines(Grid((2, 2, 2), (1.0, 1.0, 2.0)), [])
