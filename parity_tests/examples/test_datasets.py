"""The digits are what they claim to be, and bad files say what is wrong with them."""

import gzip
import hashlib
import math
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from examples.datasets import NUM_CLASSES, load_digits, load_splits, split

TRAIN, TEST = 40, 12
NAMES = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}


def idx(array, dtype=0x08, shape=None, ndim=None):
    """The bytes of an IDX file; dtype, shape and ndim may lie about the array."""
    shape = array.shape if shape is None else shape
    header = bytes([0, 0, dtype, len(shape) if ndim is None else ndim])
    return header + b"".join(n.to_bytes(4, "big") for n in shape) + array.tobytes()


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return {
        "x_train": rng.integers(0, 256, (TRAIN, 5, 7), dtype=np.uint8),
        "y_train": rng.integers(0, 10, TRAIN, dtype=np.uint8),
        "x_test": rng.integers(0, 256, (TEST, 5, 7), dtype=np.uint8),
        "y_test": rng.integers(0, 10, TEST, dtype=np.uint8),
    }


@pytest.fixture
def directory(tmp_path, arrays):
    for key, name in NAMES.items():
        (tmp_path / name).write_bytes(idx(arrays[key]))
    return tmp_path


def refusal(directory, error=ValueError):
    """What load_digits says; load_splits must say the same."""
    with pytest.raises(error) as first:
        load_digits(directory)
    with pytest.raises(error) as second:
        load_splits(directory)
    assert str(first.value) == str(second.value)
    return str(first.value)


def test_the_shipped_digits_are_the_uci_ones():
    images, labels = load_digits()
    assert images.shape == (1797, 8, 8) and images.dtype == np.float32
    assert labels.shape == (1797,) and labels.dtype == np.int64
    assert images.min() == 0 and images.max() == 1
    assert np.array_equal(images * 16, np.round(images * 16))
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert labels[:10].tolist() == list(range(10))
    assert (images[0, 0] * 16).tolist() == [0, 0, 5, 13, 9, 1, 0, 0]


def test_the_shipped_digits_equal_scikit_learns():
    images, labels = load_digits()
    content = (images * 16).astype(np.uint8).tobytes() + labels.astype(np.uint8).tobytes()
    # Taken from sklearn.datasets.load_digits(), whose import would take longer than these tests.
    digest = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"
    assert hashlib.sha256(content).hexdigest() == digest


def test_loading_imports_neither_torch_nor_scikit_learn():
    code = (
        "import sys; sys.modules['torch'] = sys.modules['sklearn'] = None\n"
        "from examples.datasets import load_splits; load_splits()"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)


def test_the_split_is_70_15_15_and_loses_no_image():
    splits = load_splits()
    parts = [(splits.x_train, splits.y_train), (splits.x_val, splits.y_val)]
    parts.append((splits.x_test, splits.y_test))
    assert [len(x) for x, _ in parts] == [1257, 270, 270]
    assert splits.num_classes == NUM_CLASSES == 10
    assert splits.image_shape == (8, 8)
    rows = [(*x.ravel().tolist(), int(t)) for xs, ts in parts for x, t in zip(xs, ts, strict=True)]
    images, labels = load_digits()
    whole = [(*x.ravel().tolist(), int(t)) for x, t in zip(images, labels, strict=True)]
    assert sorted(rows) == sorted(whole)


def test_the_seed_fixes_the_split_for_good():
    first, again, other = load_splits(seed=0), load_splits(seed=0), load_splits(seed=1)
    assert np.array_equal(first.x_train, again.x_train)
    assert np.array_equal(first.y_test, again.y_test)
    assert not np.array_equal(first.y_train, other.y_train)
    # Written down, because results elsewhere rest on it under every NumPy version.
    marked = split(np.zeros((20, 1, 1), np.float32), np.arange(20), seed=0)
    assert marked.y_train.tolist() == [18, 1, 19, 8, 10, 17, 6, 13, 4, 2, 5, 14, 9, 7]
    assert marked.y_val.tolist() == [16, 11, 3] and marked.y_test.tolist() == [0, 15, 12]


@pytest.mark.parametrize(
    ("n", "fractions", "says"),
    [
        (3, (0.15, 0.15), "each part needs at least one"),
        (10, (0.6, 0.6), "each part needs at least one"),
        (10, (0.0, 0.15), "between 0 and 1"),
        (10, (0.15, 1.5), "between 0 and 1"),
        (10, (math.nan, 0.15), "between 0 and 1"),
    ],
)
def test_a_split_without_enough_images_is_refused(n, fractions, says):
    with pytest.raises(ValueError, match=says):
        split(np.zeros((n, 2, 2), np.float32), np.zeros(n, np.int64), 0, *fractions)


def test_a_split_of_unequal_lengths_is_refused():
    with pytest.raises(ValueError, match=r"\(4, 2, 2\) and \(5,\)"):
        split(np.zeros((4, 2, 2), np.float32), np.zeros(5, np.int64))


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("separator", ["-", "."])
def test_idx_files_are_read_under_all_their_names(tmp_path, arrays, separator, zipped):
    for key, name in NAMES.items():
        name = name.replace("-idx", separator + "idx") + (".gz" if zipped else "")
        content = idx(arrays[key])
        (tmp_path / name).write_bytes(gzip.compress(content) if zipped else content)
    images, labels = load_digits(str(tmp_path))
    expected = np.concatenate([arrays["x_train"], arrays["x_test"]]).astype(np.float32) / 255
    assert images.dtype == np.float32 and np.array_equal(images, expected)
    assert labels.dtype == np.int64
    assert np.array_equal(labels, np.concatenate([arrays["y_train"], arrays["y_test"]]))


def test_the_first_bytes_tell_gzip_and_not_the_name(directory, arrays):
    path = directory / NAMES["x_train"]
    path.write_bytes(gzip.compress(path.read_bytes()))
    label_path = directory / NAMES["y_train"]
    label_path.rename(f"{label_path}.gz")
    images, _ = load_digits(directory)
    assert np.array_equal(images[:TRAIN], arrays["x_train"].astype(np.float32) / 255)


def test_the_official_test_part_stays_the_test_part(directory, arrays):
    for seed in (0, 1):
        splits = load_splits(directory, seed)
        assert np.array_equal(splits.x_test, arrays["x_test"].astype(np.float32) / 255)
        assert np.array_equal(splits.y_test, arrays["y_test"])
        assert len(splits.y_train) == 34 and len(splits.y_val) == 6
        assert splits.image_shape == (5, 7)
        together = np.concatenate([splits.y_train, splits.y_val])
        assert sorted(together) == sorted(arrays["y_train"])


def test_a_missing_directory_is_named(tmp_path):
    assert "no directory" in refusal(tmp_path / "mnist", FileNotFoundError)


def test_a_file_in_place_of_a_directory_is_refused(directory):
    path = directory / NAMES["x_train"]
    assert f"{path} is a file; wanted the directory" in refusal(path)


def test_every_missing_file_is_named_with_its_spellings(directory):
    (directory / NAMES["x_test"]).unlink()
    (directory / NAMES["y_train"]).unlink()
    said = refusal(directory, FileNotFoundError)
    for name in ("t10k-images-idx3-ubyte", "t10k-images.idx3-ubyte.gz", "train-labels-idx1-ubyte"):
        assert name in said
    assert "train-images" not in said


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("keep", [0, 1, 3, 4, 9, 15, 16, 17, -1])
def test_a_truncated_file_says_what_was_wanted_and_found(directory, keep, zipped):
    path = directory / NAMES["x_train"]
    content = path.read_bytes()[:keep]
    path.write_bytes(gzip.compress(content) if zipped else content)
    wanted = "16" if len(content) < 16 else f"{16 + TRAIN * 35:,}"
    said = refusal(directory)
    assert said.startswith(f"{path} is truncated")
    assert f"{wanted} bytes, found {len(content):,}" in said


@pytest.mark.parametrize("keep", [2, 5, 11, 200, -1, -8])
def test_a_truncated_gzip_stream_is_truncated_too(directory, keep):
    path = directory / NAMES["x_train"]
    whole = gzip.compress(path.read_bytes())
    path.write_bytes(whole[:keep])
    assert refusal(directory).startswith(f"{path} is truncated")


@pytest.mark.parametrize("zipped", [False, True])
def test_trailing_bytes_are_refused(directory, zipped):
    path = directory / NAMES["y_train"]
    content = path.read_bytes() + b"xyz"
    path.write_bytes(gzip.compress(content) if zipped else content)
    said = refusal(directory)
    assert f"{path} has trailing bytes: shape ({TRAIN},) ends after {8 + TRAIN} bytes" in said


@pytest.mark.parametrize(
    "content", [b"\x89PNG\r\n\x1a\n" + bytes(50), b"<!DOCTYPE html>", b"\0x", b"x"]
)
def test_a_foreign_file_is_shown_by_its_first_bytes(directory, content):
    path = directory / NAMES["x_test"]
    path.write_bytes(content)
    assert f"{path} is not an IDX file" in (said := refusal(directory))
    assert repr(content[:8]) in said


@pytest.mark.parametrize("at", [3, 60, -6])
def test_a_corrupt_gzip_file_is_refused(directory, at):
    path = directory / NAMES["x_train"]
    content = bytearray(gzip.compress(path.read_bytes()))
    content[at] ^= 0xFF
    path.write_bytes(content)
    assert refusal(directory).startswith(str(path))


def test_a_file_that_only_starts_like_gzip_is_refused(directory):
    path = directory / NAMES["x_train"]
    path.write_bytes(b"\x1f\x8bnot at all a gzip file")
    assert f"{path} is a corrupt gzip file" in refusal(directory)


@pytest.mark.parametrize(("code", "name"), [(0x09, "int8"), (0x0D, "float32"), (0x42, "unknown")])
def test_another_element_type_is_refused(directory, arrays, code, name):
    path = directory / NAMES["x_train"]
    path.write_bytes(idx(arrays["x_train"], dtype=code))
    said = refusal(directory)
    assert "must hold uint8" in said and f"{code:#04x} ({name})" in said


def test_labels_in_place_of_images_are_refused(directory, arrays):
    path = directory / NAMES["x_train"]
    path.write_bytes(idx(arrays["y_train"]))
    assert "3 dimensions, got 1 dimensions" in refusal(directory)


def test_as_many_labels_as_images_are_wanted(directory, arrays):
    (directory / NAMES["y_test"]).write_bytes(idx(arrays["y_test"][:-1]))
    said = refusal(directory)
    assert "holds 12 images" in said and "holds 11 labels" in said


def test_a_label_out_of_range_is_named_with_its_place(directory, arrays):
    arrays["y_train"][3] = 10
    (directory / NAMES["y_train"]).write_bytes(idx(arrays["y_train"]))
    assert "labels must be 0 to 9" in (said := refusal(directory))
    assert "has 10 at index 3" in said


@pytest.mark.parametrize("shape", [(0, 5, 7), (4, 0, 7), (4, 5, 0)])
def test_a_file_of_no_images_is_refused(directory, shape):
    path = directory / NAMES["x_test"]
    path.write_bytes(idx(np.zeros(shape, np.uint8)))
    assert f"{path} is empty: its header says shape {shape}" in refusal(directory)


def test_training_and_test_images_must_be_of_one_size(directory, arrays):
    (directory / NAMES["x_test"]).write_bytes(idx(arrays["x_test"].reshape(TEST, 7, 5)))
    said = refusal(directory)
    assert "training images" in said and "5x7, test images 7x5" in said


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("shape", "says"),
    [((2**32 - 1,) * 3, "implausible header"), ((500_000, 28, 28 - 1), "truncated")],
)
def test_a_huge_header_costs_no_memory(directory, arrays, shape, says, zipped):
    content = idx(arrays["x_train"], shape=shape)
    (directory / NAMES["x_train"]).write_bytes(gzip.compress(content) if zipped else content)
    tracemalloc.start()
    try:
        assert says in refusal(directory)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_a_gzip_bomb_is_not_expanded(directory, arrays):
    bomb = gzip.compress(idx(arrays["x_train"]) + bytes(2**25), compresslevel=1)
    (directory / NAMES["x_train"]).write_bytes(bomb)
    tracemalloc.start()
    try:
        assert "trailing bytes" in refusal(directory)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()
