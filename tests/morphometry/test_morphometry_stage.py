"""The measure command on files."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from bonemet.core.calibration import Kind, Quantity
from bonemet.core.errors import InputError, SettingsError
from bonemet.core.grid import Grid
from bonemet.core.volume import Volume
from bonemet.engine.context import ThreadContext
from bonemet.io.volumes import open_volume, write_volume
from bonemet.stages.measure import find_threshold, measure

DATA = Path(__file__).parents[2].parent / "shared" / "data"


def blurred():
    noise = ndimage.gaussian_filter(np.random.default_rng(4).random((24, 26, 28)), 2)
    return ((noise - noise.min()) / np.ptp(noise) * 255).astype(np.uint8)


def written(path, data, h=0.01, kind=Kind.GREY):
    write_volume(path, Volume(data, Grid.isotropic(data.shape, h), Quantity(kind)))
    return path


def by_name(outcome):
    return {m["name"]: m for m in outcome.results["measures"]}


def shared(name):
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{name} of ../shared/data is not here")
    return path


def test_grey_volume_with_a_threshold(tmp_path):
    grey = blurred()
    path = written(tmp_path / "v.nrrd", grey)
    outcome = measure(path, threshold=120)
    found = by_name(outcome)
    assert found["BV/TV"]["value"] == (grey >= 120).mean()
    assert found["Tb.Th"]["unit"] == "mm"
    assert found["Tb.Th"]["sd"] > 0
    assert found["Tb.N"]["unit"] == "1/mm"
    assert outcome.outputs == []
    assert outcome.results["threshold_source"] == "given"
    assert outcome.results["shape"] == [24, 26, 28]
    assert outcome.results["voxel_um"] == 10
    json.dumps(outcome.as_dict(), allow_nan=False)


def test_otsu_is_reported_and_bone_is_at_or_above_it(tmp_path):
    grey = np.where(blurred() > 140, 200, 50).astype(np.uint8)
    grey[0, 0, 0] = 90
    outcome = measure(written(tmp_path / "v.nii.gz", grey), only="BV/TV")
    assert outcome.results["threshold_source"] == "otsu"
    assert by_name(outcome)["BV/TV"]["value"] == (grey >= outcome.results["threshold"]).mean()
    assert by_name(outcome)["BV/TV"]["value"] == (grey == 200).mean()


def test_two_valued_volumes_are_recognised(tmp_path):
    bone = blurred() > 140
    outcome = measure(written(tmp_path / "v.nrrd", bone.astype(np.uint8), kind=Kind.MASK), only="BV/TV")
    assert by_name(outcome)["BV/TV"]["value"] == bone.mean()
    assert outcome.results["threshold_source"] == "two-valued volume"
    assert "two values" in outcome.warnings[0]


def test_only_what_is_asked(tmp_path):
    outcome = measure(written(tmp_path / "v.nrrd", blurred()), threshold=120, only=["Tb.Sp", "BV"])
    assert list(by_name(outcome)) == ["Tb.Sp", "BV"]


def test_voxel_size_given_overrides_the_header(tmp_path):
    path = written(tmp_path / "v.nrrd", blurred())
    names = "BV,Tb.Th"
    first, second = (by_name(measure(path, threshold=120, only=names, voxel_um=v)) for v in (None, 20))
    assert second["BV"]["value"] == pytest.approx(8 * first["BV"]["value"])
    assert second["Tb.Th"]["value"] == pytest.approx(2 * first["Tb.Th"]["value"], rel=1e-6)


def test_mask_is_the_region(tmp_path):
    grey, region = blurred(), np.zeros((24, 26, 28), dtype=np.uint8)
    region[4:20, 3:22, 5:25] = 7
    path = written(tmp_path / "v.nrrd", grey)
    mask = written(tmp_path / "m.nii.gz", region, kind=Kind.LABELS)
    found = by_name(measure(path, mask=mask, threshold=120))
    assert found["TV"]["value"] == pytest.approx((region > 0).sum() * 1e-6)
    assert found["BV/TV"]["value"] == (grey[region > 0] >= 120).mean()
    assert found["BV"]["region"] == "mask"
    assert measure(path, mask=mask, threshold=120, only="BV").warnings == []
    moved = tmp_path / "moved.nrrd"
    grid = Grid.isotropic(region.shape, 0.01, (5.0, 0.0, 0.0))
    write_volume(moved, Volume(region, grid, Quantity(Kind.LABELS)))
    assert "different places" in measure(path, mask=moved, threshold=120, only="BV").warnings[0]
    cut = measure(path, mask=mask, only="BV").results["threshold"]
    assert cut == find_threshold(grey[4:20, 3:22, 5:25]).value


def test_masks_that_do_not_fit_are_refused(tmp_path):
    path = written(tmp_path / "v.nrrd", blurred())
    small = written(tmp_path / "a.nrrd", np.ones((5, 26, 28), dtype=np.uint8))
    coarse = written(tmp_path / "b.nrrd", np.ones((24, 26, 28), dtype=np.uint8), h=0.02)
    empty = written(tmp_path / "c.nrrd", np.zeros((24, 26, 28), dtype=np.uint8))
    for mask, why in ((small, "shape"), (coarse, "voxels of"), (empty, "zero everywhere")):
        with pytest.raises(InputError, match=why):
            measure(path, mask=mask, threshold=120, only="BV")


def test_bad_settings_and_values(tmp_path):
    path = written(tmp_path / "v.nrrd", blurred())
    with pytest.raises(SettingsError, match=r"Tb\.Q"):
        measure(path, only="Tb.Q")
    with pytest.raises(SettingsError, match="finite"):
        measure(path, threshold=float("nan"))
    flat = written(tmp_path / "flat.nrrd", np.full((4, 4, 4), 3, dtype=np.uint8))
    with pytest.raises(InputError, match="only the value 3"):
        measure(flat, only="BV")
    hole = np.ones((4, 4, 4), dtype=np.float32)
    hole[1, 1, 1] = np.nan
    with pytest.raises(InputError, match="not finite"):
        measure(written(tmp_path / "hole.nrrd", hole), only="BV")


def test_too_large_a_volume_is_refused_before_it_is_read(tmp_path):
    path = written(tmp_path / "v.nrrd", blurred())
    context = ThreadContext(1, memory_gb=2e-4)
    assert measure(path, threshold=120, only="BV/TV", context=context).results["measures"]
    with pytest.raises(SettingsError, match="GB are allowed"):
        measure(path, threshold=120, context=context)


def test_thresholds_of_all_types():
    rng = np.random.default_rng(0)
    parts = np.concatenate([rng.normal(20, 3, 500), rng.normal(80, 3, 500)])
    for data in (
        parts,
        parts.astype(np.int16) - 50,
        (parts * 100).astype(np.uint16),
        parts.astype(np.float32),
    ):
        grey = data.reshape(10, 10, 10)
        cut = find_threshold(grey)
        assert (grey >= cut.value).sum() == 500
    two = np.array([-1.5, 2.5, 2.5]).reshape(1, 1, 3)
    assert (two >= find_threshold(two).value).sum() == 2


def test_trabecular_cube():
    path = shared("trabecular-cube")
    outcome = measure(
        path, voxel_um=19.5, threshold=63, context=ThreadContext(2), only="BV,TV,BV/TV,Tb.Th,Tb.N"
    )
    grey = open_volume(path, 19.5).array()
    found = by_name(outcome)
    assert found["BV/TV"]["value"] == np.count_nonzero(grey >= 63) / grey.size
    assert found["TV"]["value"] == pytest.approx(8e6 * 0.0195**3)
    # Human trabeculae: 0.1 to 0.3 mm thick, 0.5 to 2 in each mm.
    assert 0.1 < found["Tb.Th"]["value"] < 0.3
    assert 0.5 < found["Tb.N"]["value"] < 2


def test_shrew():
    path = shared("shrew-trabecular/Shrew.nrrd")
    found = by_name(measure(path))
    assert round(found["BV/TV"]["value"], 5) == 0.29349
    assert found["BV/TV"]["value"] == (open_volume(path).array() > 0).mean()
    assert 0.04 < found["Tb.Th"]["value"] < 0.08
    assert 0.1 < found["Tb.Sp"]["value"] < 0.25
