"""Volumes written slab by slab read as those written whole."""

import numpy as np
import pytest
import SimpleITK as sitk

from bonemet.core.calibration import Kind, Quantity
from bonemet.core.errors import SettingsError
from bonemet.core.grid import Grid
from bonemet.core.volume import Volume
from bonemet.io.volumes import open_volume, write_slabs, write_volume

GRID = Grid.isotropic((7, 5, 4), 0.0125, (1.5, -2.25, 0.75))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
def test_slabs_read_as_the_whole(tmp_path, dtype):
    data = np.random.default_rng(1).integers(0, 200, GRID.shape).astype(dtype)
    quantity = Quantity(Kind.LABELS)
    write_slabs(tmp_path / "slabs.nii.gz", (data[a : a + 3] for a in (0, 3, 6)), GRID, quantity)
    write_volume(tmp_path / "whole.nii.gz", Volume(data, GRID, quantity))
    slabs, whole = (open_volume(tmp_path / f"{name}.nii.gz") for name in ("slabs", "whole"))
    assert slabs.grid == whole.grid
    assert slabs.quantity == quantity
    assert slabs.data.dtype == dtype
    assert np.array_equal(slabs.array(), data)
    images = [sitk.ReadImage(str(tmp_path / f"{name}.nii.gz")) for name in ("slabs", "whole")]
    for ask in ("GetOrigin", "GetSpacing", "GetDirection"):
        assert getattr(images[0], ask)() == pytest.approx(getattr(images[1], ask)(), abs=1e-6)


def test_same_bytes_whatever_the_slabs(tmp_path):
    data = np.random.default_rng(2).integers(0, 5, GRID.shape).astype(np.uint8)
    for depth in (1, 4, 7):
        parts = (data[a : a + depth] for a in range(0, 7, depth))
        write_slabs(tmp_path / f"{depth}.nii.gz", parts, GRID, Quantity(Kind.LABELS))
    written = {(tmp_path / f"{depth}.nii.gz").read_bytes() for depth in (1, 4, 7)}
    assert len(written) == 1


def test_other_numbers_are_refused(tmp_path):
    with pytest.raises(SettingsError, match="NIfTI"):
        write_slabs(tmp_path / "a.nii.gz", [np.zeros(GRID.shape)], GRID, Quantity(Kind.MASK))
