"""OME-Zarr: what was written comes back, in slabs as in one go, with its place and its meaning."""

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bonemet.core.calibration import Kind, Quantity
from bonemet.core.errors import InputError, SettingsError
from bonemet.core.grid import Grid
from bonemet.core.volume import Volume
from bonemet.io import omezarr, sniff
from bonemet.io.volumes import open_volume, write_volume

zarr = pytest.importorskip("zarr")

GRID = Grid((21, 40, 300), (0.02, 0.01, 0.015), (0.5, -1.0, 2.0))
GREY = Quantity(Kind.GREY, (0.0, 0.3), 255)


def some(shape=GRID.shape, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, 200, shape).astype(dtype)


def same_files(a, b):
    names = sorted(p.relative_to(a) for p in a.rglob("*") if p.is_file())
    assert names == sorted(p.relative_to(b) for p in b.rglob("*") if p.is_file())
    return all((a / n).read_bytes() == (b / n).read_bytes() for n in names)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_volume_comes_back(tmp_path, dtype):
    data = some(dtype=dtype)
    quantity = Quantity(Kind.ATTENUATION) if dtype is np.float32 else GREY
    write_volume(tmp_path / "a.ome.zarr", Volume(data, GRID, quantity, "871 week 0"))
    back = open_volume(tmp_path / "a.ome.zarr")
    assert (back.quantity, back.name) == (quantity, "871 week 0")
    np.testing.assert_allclose(back.grid.spacing_mm, GRID.spacing_mm)
    np.testing.assert_allclose(back.grid.origin_mm, GRID.origin_mm)
    np.testing.assert_array_equal(back.array(), data)
    for key in (0, -1, 9, (17, slice(3, 9)), slice(5, 19), (slice(None), 4, 5)):
        np.testing.assert_array_equal(back.data[key], data[key])
    assert sniff.sniff(tmp_path / "a.ome.zarr").kind == "volume"


@given(cuts=st.sets(st.integers(1, 20), max_size=6))
@settings(max_examples=8, deadline=None)
def test_slabs_make_the_bytes_of_the_whole(tmp_path_factory, cuts):
    folder = tmp_path_factory.mktemp("zarr")
    data, edges = some(), [0, *sorted(cuts), 21]
    omezarr.write(folder / "whole.ome.zarr", [data], GRID, GREY, "x")
    slabs = (data[a:b] for a, b in pairwise(edges))
    omezarr.write(folder / "slabs.ome.zarr", slabs, GRID, GREY, "x")
    assert same_files(folder / "whole.ome.zarr", folder / "slabs.ome.zarr")


def test_coarser_copies_are_means_in_their_places(tmp_path):
    omezarr.write(tmp_path / "a.ome.zarr", [some()], GRID, GREY)
    told = json.loads((tmp_path / "a.ome.zarr" / "zarr.json").read_text())["attributes"]["ome"]
    assert told["version"] == "0.5"
    first, second, *rest = told["multiscales"][0]["datasets"]
    assert len(rest) == 1  # 300, 150, 75
    coarse = np.asarray(zarr.open_group(tmp_path / "a.ome.zarr")["1"])
    assert coarse.shape == (10, 20, 150)
    assert coarse[3, 4, 5] == np.rint(some()[6:8, 8:10, 10:12].mean())
    scale, shift = (t.get("scale", t.get("translation")) for t in second["coordinateTransformations"])
    np.testing.assert_allclose(scale, 2 * np.asarray(GRID.spacing_mm))
    fine = first["coordinateTransformations"][1]["translation"]
    np.testing.assert_allclose(shift, np.asarray(fine) + 0.5 * np.asarray(GRID.spacing_mm))


def test_micrometres_and_older_stores_are_read(tmp_path):
    root = zarr.create_group(tmp_path / "old.zarr", zarr_format=2)
    root.create_array("s0", data=some((4, 5, 6)), chunks=(2, 5, 6))
    axes = [{"name": a, "type": "space", "unit": "micrometer"} for a in "zyx"]
    scale = [{"type": "scale", "scale": [20.0, 10.0, 15.0]}]
    datasets = [{"path": "s0", "coordinateTransformations": scale}]
    root.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    back = open_volume(tmp_path / "old.zarr")
    np.testing.assert_allclose(back.grid.spacing_mm, GRID.spacing_mm)
    np.testing.assert_array_equal(back.array(), some((4, 5, 6)))


def test_what_is_no_volume_is_refused(tmp_path):
    zarr.create_group(tmp_path / "bare.ome.zarr")
    with pytest.raises(InputError, match="no OME-Zarr volume"):
        open_volume(tmp_path / "bare.ome.zarr")
    with pytest.raises(InputError, match="3 slices came"):
        omezarr.write(tmp_path / "short.ome.zarr", [some()[:3]], GRID, GREY)
    turned = Grid(GRID.shape, GRID.spacing_mm, direction=((0.0, -1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)))
    with pytest.raises(SettingsError, match="along the axes"):
        omezarr.write(tmp_path / "turned.ome.zarr", [some()], turned, GREY)
