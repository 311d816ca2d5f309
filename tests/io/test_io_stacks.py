from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from bonemet.core.errors import InputError, MissingInputError, SettingsError
from bonemet.io.stacks import find_series, open_stack, write_slices

SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(1, 6))


def ramp(shape=(5, 7, 9), dtype=np.uint8):
    return (np.arange(np.prod(shape)).reshape(shape) % 251).astype(dtype)


def save(folder, prefix, data, suffix=".png", start=0, digits=4):
    folder.mkdir(exist_ok=True)
    for i, image in enumerate(data, start=start):
        Image.fromarray(image).save(folder / f"{prefix}{i:0{digits}d}{suffix}")
    return folder


@settings(deadline=None)
@given(
    data=st.one_of(
        hnp.arrays(np.uint8, SHAPES), hnp.arrays(np.uint16, SHAPES), hnp.arrays(np.float32, SHAPES)
    ),
    start=st.integers(0, 10_000),
    digits=st.integers(1, 9),
    tiff=st.booleans(),
)
def test_slices_come_back_as_written(tmp_path_factory, data, start, digits, tiff):
    folder = tmp_path_factory.mktemp("stack")
    kind = "float" if data.dtype == np.float32 else "tiff" if tiff else "png"
    count = write_slices(folder, "871 week 0_", iter(data), format=kind, start=start, digits=digits)
    stack = open_stack(folder)
    assert count == len(data)
    assert stack.shape == data.shape
    assert stack.dtype == data.dtype
    assert np.array_equal(stack[:], data, equal_nan=data.dtype.kind == "f")
    assert stack.indices[0] == start


@settings(deadline=None)
@given(
    key=st.one_of(
        st.integers(-5, 4),
        st.slices(5),
        st.tuples(st.slices(5), st.slices(7), st.integers(0, 8)),
        st.tuples(st.integers(-5, 4), st.slices(7)),
        st.just(()),
        st.just(Ellipsis),
        st.just((Ellipsis, 3)),
        st.just((slice(1, 3), Ellipsis, slice(2, 4))),
    )
)
def test_a_stack_slices_as_an_array_does(shared_stack, key):
    data, stack = shared_stack
    expected = data[key]
    assert np.array_equal(stack[key], expected)
    assert stack[key].shape == expected.shape


@pytest.fixture(scope="module")
def shared_stack(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shared")
    data = ramp()
    write_slices(folder, "a_", data, format="png")
    return data, open_stack(folder)


def test_only_the_slices_asked_for_are_read(tmp_path):
    write_slices(tmp_path, "a_", ramp(), format="tiff")
    stack = open_stack(tmp_path)
    for path in stack.paths[3:]:
        path.unlink()
    assert np.array_equal(stack[:3], ramp()[:3])
    with pytest.raises(MissingInputError, match=stack.paths[3].name):
        stack[3]


def test_threads_may_read_together(shared_stack):
    data, stack = shared_stack
    order = [i % 5 for i in range(60)]
    with ThreadPoolExecutor(8) as pool:
        images = list(pool.map(lambda i: stack[i], order))
    assert np.array_equal(np.stack(images), data[order])


def test_out_of_range_is_an_index_error(shared_stack):
    with pytest.raises(IndexError):
        shared_stack[1][5]


def test_arrays_pass_through_numpy_and_iteration(shared_stack):
    data, stack = shared_stack
    assert np.array_equal(np.asarray(stack), data)
    assert np.array_equal(np.stack(list(stack)), data)
    assert len(stack) == 5


@pytest.mark.parametrize(
    ("suffix", "mode"),
    [
        (".BMP", "L"),
        (".bmp", "RGB"),
        (".png", "P"),
        (".png", "RGBA"),
        (".PNG", "LA"),
        (".tif", "RGB"),
        (".tif", "P"),
    ],
)
def test_grey_in_other_clothes_is_read_as_grey(tmp_path, suffix, mode):
    data = ramp()
    for i, image in enumerate(data):
        Image.fromarray(image).convert(mode).save(tmp_path / f"a{i:04d}{suffix}")
    stack = open_stack(tmp_path)
    assert stack.dtype == np.uint8
    assert np.array_equal(stack[:], data)


def test_jpeg_is_read(tmp_path):
    save(tmp_path, "a", np.full((3, 16, 16), 100, np.uint8), ".JPG")
    assert np.abs(open_stack(tmp_path)[:].astype(int) - 100).max() <= 2


def test_white_is_zero_tiff_is_inverted(tmp_path):
    for i, image in enumerate(ramp()):
        tifffile.imwrite(tmp_path / f"a{i}.tif", 255 - image, photometric="miniswhite")
    assert np.array_equal(open_stack(tmp_path)[:], ramp())


def test_big_endian_tiff_comes_in_native_order(tmp_path):
    data = ramp(dtype=np.uint16)
    for i, image in enumerate(data):
        tifffile.imwrite(tmp_path / f"a{i}.tif", image, byteorder=">")
    stack = open_stack(tmp_path)
    assert stack[:].dtype.isnative
    assert np.array_equal(stack[:], data)


def test_real_colour_is_refused(tmp_path):
    rgb = np.zeros((4, 4, 3), np.uint8)
    rgb[0, 0, 1] = 9
    Image.fromarray(rgb).save(tmp_path / "a0.png")
    with pytest.raises(InputError, match=r"a0\.png is a colour image"):
        open_stack(tmp_path)


def test_order_is_by_number_and_extras_are_left_out(tmp_path):
    data = ramp((12, 4, 4))
    save(tmp_path, "mouse 1_rec", data, digits=1)
    for extra in ("mouse 1_rec_spr.bmp", "mouse 1_rec0001_spr.png", "thumbs.png", ".hidden0001.png"):
        Image.fromarray(data[0]).save(tmp_path / extra)
    for extra in ("mouse.log", "a.crv", "TS.csv", "notes 1.txt"):
        (tmp_path / extra).write_text("x")
    assert np.array_equal(open_stack(tmp_path)[:], data)


def test_a_missing_slice_is_named(tmp_path):
    save(tmp_path, "a_rec", ramp(), start=7)
    (tmp_path / "a_rec0009.png").unlink()
    with pytest.raises(InputError, match=r"lacks a_rec0009\.png"):
        open_stack(tmp_path)


def test_two_missing_slices_name_the_first(tmp_path):
    save(tmp_path, "a", ramp((9, 3, 3)))
    for name in ("a0003.png", "a0006.png"):
        (tmp_path / name).unlink()
    with pytest.raises(InputError, match=r"lacks a0003\.png"):
        open_stack(tmp_path)


def test_mixed_sizes_name_the_file_and_both_sizes(tmp_path):
    save(tmp_path, "a", ramp())
    Image.fromarray(np.zeros((6, 9), np.uint8)).save(tmp_path / "a0002.png")
    with pytest.raises(InputError, match=r"a0002\.png is 9 x 6 pixels but a0000\.png is 9 x 7"):
        open_stack(tmp_path)


def test_mixed_bit_depths_are_refused(tmp_path):
    save(tmp_path, "a", ramp())
    Image.fromarray(np.zeros((7, 9), np.uint16)).save(tmp_path / "a0002.png")
    with pytest.raises(InputError, match=r"a0002\.png holds uint16 numbers but a0000\.png uint8"):
        open_stack(tmp_path)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".jpg", ".tif"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_file_is_named_when_the_stack_is_opened(tmp_path, suffix, share):
    save(tmp_path, "a", np.random.default_rng(0).integers(0, 255, (3, 40, 40), np.uint8), suffix)
    path = tmp_path / f"a0001{suffix}"
    raw = path.read_bytes()
    path.write_bytes(raw[: int(share * len(raw))])
    with pytest.raises(InputError, match=rf"a0001\{suffix}"):
        open_stack(tmp_path)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_garbage_is_one_sentence(tmp_path, suffix):
    save(tmp_path, "a", ramp(), suffix)
    (tmp_path / f"a0001{suffix}").write_bytes(b"not an image at all" * 20)
    with pytest.raises(InputError, match=rf"a0001\{suffix} is damaged or truncated"):
        open_stack(tmp_path)


def test_damage_inside_is_found_on_reading(tmp_path):
    save(tmp_path, "a", np.random.default_rng(0).integers(0, 255, (2, 60, 60), np.uint8))
    path = tmp_path / "a0001.png"
    raw = bytearray(path.read_bytes())
    raw[200:400] = bytes(200)
    path.write_bytes(raw)
    stack = open_stack(tmp_path)
    with pytest.raises(InputError, match=r"a0001\.png is damaged"):
        stack[1]


def test_two_series_are_refused_by_their_prefixes(tmp_path):
    save(tmp_path, "left_", ramp())
    save(tmp_path, "right_", ramp())
    with pytest.raises(InputError, match=r"'left_' and 'right_'"):
        open_stack(tmp_path)
    assert open_stack(tmp_path, ["Right"]).prefix == "right_"
    with pytest.raises(InputError, match="more than one series"):
        open_stack(tmp_path, ["left", "right"])


def test_one_prefix_in_two_formats_is_refused(tmp_path):
    save(tmp_path, "a", ramp())
    save(tmp_path, "a", ramp(), ".tif")
    with pytest.raises(InputError, match="several formats"):
        open_stack(tmp_path)


def test_one_number_twice_is_refused(tmp_path):
    save(tmp_path, "a", ramp())
    Image.fromarray(ramp()[0]).save(tmp_path / "a03.png")
    with pytest.raises(InputError, match=r"a0003\.png and a03\.png|a03\.png and a0003\.png"):
        find_series(tmp_path)


def test_an_empty_or_missing_folder_says_so(tmp_path):
    with pytest.raises(InputError, match="holds no numbered slices"):
        open_stack(tmp_path)
    with pytest.raises(MissingInputError, match="not a folder"):
        open_stack(tmp_path / "none")


def test_the_same_numbers_give_the_same_bytes(tmp_path):
    for kind in ("png", "tiff", "float"):
        names = []
        for turn in ("a", "b"):
            folder = tmp_path / f"{kind}{turn}"
            folder.mkdir()
            write_slices(folder, "s_", ramp(), format=kind)
            names.append(sorted(folder.iterdir()))
        assert [p.read_bytes() for p in names[0]] == [p.read_bytes() for p in names[1]]
        assert names[0][0].name == f"s_00000000.{'png' if kind == 'png' else 'tif'}"


def test_masks_are_written_black_and_white(tmp_path):
    write_slices(tmp_path, "m_", ramp() > 100, format="png")
    assert np.array_equal(open_stack(tmp_path)[:], (ramp() > 100) * 255)


@pytest.mark.parametrize(
    ("image", "kind"), [(np.zeros((3, 3), np.int32), "png"), (np.zeros(3, np.uint8), "tiff")]
)
def test_what_a_format_cannot_hold_is_refused(tmp_path, image, kind):
    with pytest.raises(SettingsError, match="cannot hold"):
        write_slices(tmp_path, "a", [image], format=kind)


def test_unknown_formats_are_refused(tmp_path):
    with pytest.raises(SettingsError, match="png, indexed, tiff, bmp, float"):
        write_slices(tmp_path, "a", ramp(), format="gif")  # type: ignore[arg-type]


def test_codes_are_shown_as_the_greys_that_they_are(tmp_path):
    codes = np.array([[0, 60, 180, 240]] * 3, np.uint8)
    write_slices(tmp_path, "a", [codes], format="indexed")
    with Image.open(tmp_path / "a00000000.png") as image:
        assert image.mode == "P"
        assert np.array_equal(np.asarray(image), codes)
        assert np.array_equal(np.asarray(image.convert("RGB")), np.repeat(codes[..., None], 3, axis=2))
    assert np.array_equal(open_stack(tmp_path)[0], codes)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"rowsperstrip": 3},
        {"byteorder": ">"},
        {"compression": "zlib"},
        {"photometric": "miniswhite"},
        {"dtype": np.float32},
    ],
)
def test_rows_alone_are_those_of_the_whole(tmp_path, options):
    options = dict(options)
    dtype = options.pop("dtype", np.uint16)
    images = np.random.default_rng(0).integers(0, 60000, (3, 17, 11)).astype(dtype)
    for z, image in enumerate(images):
        tifffile.imwrite(tmp_path / f"s{z:04d}.tif", image, **options)
    stack = open_stack(tmp_path)
    for first, stop in ((0, 17), (4, 9), (16, 17)):
        assert np.array_equal(stack.rows(1, first, stop), stack[1][first:stop])
        assert stack.rows(1, first, stop).dtype == stack.dtype


def test_a_file_cut_after_it_was_opened_is_named(tmp_path):
    for z in range(2):
        tifffile.imwrite(tmp_path / f"s{z:04d}.tif", np.full((17, 11), z, np.uint16))
    stack = open_stack(tmp_path)
    assert stack.rows(1, 2, 4).shape == (2, 11)
    path = tmp_path / "s0001.tif"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(InputError, match=r"s0001\.tif is damaged or truncated"):
        stack.rows(1, 12, 17)
