"""Handwritten digits as arrays: the ones shipped here, or MNIST-like files you have.

``load_splits()`` is what a training script wants. Without an argument it reads the 1,797 UCI
digits in ``examples/data``; with a directory it reads MNIST, Fashion-MNIST or anything else in
their format (four IDX files, plain or gzipped) from there. Nothing is ever downloaded.
"""

import gzip
import io
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["NUM_CLASSES", "Splits", "load_digits", "load_splits", "split"]

Images: TypeAlias = npt.NDArray[np.float32]
Labels: TypeAlias = npt.NDArray[np.int64]
Bytes: TypeAlias = npt.NDArray[np.uint8]

NUM_CLASSES = 10
_SHIPPED = Path(__file__).parent / "data" / "digits.npz"
_LARGEST = 2**29  # bytes in one IDX file; MNIST's largest has 47 million
_CHUNK = 2**20
_ELEMENT_TYPES = {
    0x08: "uint8",
    0x09: "int8",
    0x0B: "int16",
    0x0C: "int32",
    0x0D: "float32",
    0x0E: "float64",
}


@dataclass(frozen=True, eq=False)
class Splits:
    """Images and labels to fit, to choose by, and to report on.

    Shapes: x_* (N, H, W) float32 in [0, 1]; y_* (N,) int64 in [0, num_classes).
    """

    x_train: Images
    y_train: Labels
    x_val: Images
    y_val: Labels
    x_test: Images
    y_test: Labels
    num_classes: int = NUM_CLASSES

    @property
    def image_shape(self) -> tuple[int, int]:
        """Height and width of one image."""
        height, width = self.x_train.shape[1:]
        return height, width


def load_digits(data: str | Path | None = None) -> tuple[Images, Labels]:
    """Read every image and its label, in the order of the files.

    Without ``data``, the shipped 8x8 digits, their 0..16 divided by 16. With a directory, the
    IDX files in it, their 0..255 divided by 255: first the training part, then the test part
    (``load_splits`` keeps those two apart).

    Shapes: images (N, H, W) float32 in [0, 1]; labels (N,) int64 in [0, 10).

    Raises:
        FileNotFoundError: the directory, or one of its four files, is not there.
        ValueError: a file is truncated, too long, or not what its name says.
    """
    if data is None:
        return _read_shipped()
    (x_train, y_train), (x_test, y_test) = _read_directory(data)
    return np.concatenate([x_train, x_test]), np.concatenate([y_train, y_test])


def load_splits(data: str | Path | None = None, seed: int = 0) -> Splits:
    """Read the data and split it for training, validation and test.

    The shipped digits are split 70/15/15 by ``split``. In a directory of IDX files the official
    test part stays the test part, whatever the seed, and 15 % of the official training part is
    held out for validation: of MNIST's 70,000 images, 51,000, 9,000 and 10,000.

    Raises: as ``load_digits``, and ValueError if there are too few images to split.
    """
    if data is None:
        return split(*_read_shipped(), seed=seed)
    (images, labels), (x_test, y_test) = _read_directory(data)
    (train, val) = _shuffled_parts(len(images), seed, held_out=[0.15])
    return Splits(images[train], labels[train], images[val], labels[val], x_test, y_test)


def split(
    images: Images, labels: Labels, seed: int = 0, validation: float = 0.15, test: float = 0.15
) -> Splits:
    """Shuffle by ``seed`` and cut into training, validation and test parts.

    The shuffle is plain, not stratified: classes are as frequent in each part as chance has it.
    It comes from ``RandomState``, whose stream NumPy has frozen (NEP 19), so that one seed means
    one split under every NumPy version. ``validation`` and ``test`` are fractions of the whole,
    rounded to whole images; training gets the rest.

    Shapes: images (N, H, W); labels (N,).

    Raises:
        ValueError: lengths differ, a fraction is not in (0, 1), or a part would be empty.
    """
    if images.ndim != 3 or labels.shape != images.shape[:1]:
        raise ValueError(
            "split wants images (N, H, W) and labels (N,), "
            f"got shapes {images.shape} and {labels.shape}"
        )
    train, val, tested = _shuffled_parts(len(images), seed, held_out=[validation, test])
    return Splits(
        images[train], labels[train], images[val], labels[val], images[tested], labels[tested]
    )


def _shuffled_parts(n: int, seed: int, held_out: list[float]) -> list[npt.NDArray[np.intp]]:
    """Cut a permutation of range(n): the training indices, then one part per fraction."""
    if not all(0 < fraction < 1 for fraction in held_out):
        raise ValueError(f"the fractions held out must lie between 0 and 1, got {held_out}")
    sizes = [round(n * fraction) for fraction in held_out]
    sizes = [n - sum(sizes), *sizes]
    if min(sizes) < 1:
        raise ValueError(
            f"{n} images with fractions {held_out} held out make parts of {sizes} images; "
            "each part needs at least one"
        )
    order = np.random.RandomState(seed).permutation(n)
    return np.split(order, np.cumsum(sizes)[:-1])


def _read_shipped() -> tuple[Images, Labels]:
    with np.load(_SHIPPED, allow_pickle=False) as arrays:
        images, labels = arrays["images"], arrays["labels"]
    return images.astype(np.float32) / np.float32(16), labels.astype(np.int64)


def _read_directory(data: str | Path) -> list[tuple[Images, Labels]]:
    """Read the training part and the test part of a directory of IDX files."""
    directory = Path(data).expanduser()
    if not directory.exists():
        raise FileNotFoundError(f"there is no directory {directory}")
    if not directory.is_dir():
        raise ValueError(
            f"{directory} is a file; wanted the directory that holds train-images-idx3-ubyte, "
            "train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte"
        )
    # All four are looked for before the first is read: a missing one is told at once.
    paths = _find_files(directory)
    train, test = (_read_part(*paths[part]) for part in ("train", "t10k"))
    if train[0].shape[1:] != test[0].shape[1:]:
        raise ValueError(
            f"training images in {directory} are {_size(train[0])}, test images {_size(test[0])}"
        )
    return [train, test]


def _find_files(directory: Path) -> dict[str, tuple[Path, Path]]:
    """Find the image and the label file of each part, under any of their usual names."""
    found: dict[str, tuple[Path, Path]] = {}
    missing = []
    for part in ("train", "t10k"):
        paths = []
        for stem, ending in (("images", "idx3-ubyte"), ("labels", "idx1-ubyte")):
            spellings = [
                f"{part}-{stem}{separator}{ending}{suffix}"
                for suffix in ("", ".gz")
                for separator in "-."
            ]
            present = [directory / name for name in spellings if (directory / name).is_file()]
            paths += present[:1]
            if not present:
                missing.append(" or ".join(spellings))
        if len(paths) == 2:
            found[part] = paths[0], paths[1]
    if missing:
        raise FileNotFoundError(f"{directory} has no file " + ", and no file ".join(missing))
    return found


def _read_part(image_path: Path, label_path: Path) -> tuple[Images, Labels]:
    images = _read_idx(image_path, ndim=3, what="images (count, height, width)")
    labels = _read_idx(label_path, ndim=1, what="labels (count,)")
    if len(images) != len(labels):
        raise ValueError(
            f"every image needs one label: {image_path} holds {len(images)} images, "
            f"{label_path} holds {len(labels)} labels"
        )
    if labels.max() >= NUM_CLASSES:
        at = int(np.argmax(labels >= NUM_CLASSES))
        raise ValueError(
            f"labels must be 0 to {NUM_CLASSES - 1}, {label_path} has {labels[at]} at index {at}"
        )
    return images.astype(np.float32) / np.float32(255), labels.astype(np.int64)


def _read_idx(path: Path, ndim: int, what: str) -> Bytes:
    """Read an IDX file of unsigned bytes, gzipped or not (its first bytes tell, not its name).

    The format: two zero bytes, one byte for the element type, one for the number of dimensions;
    each dimension as a big-endian uint32; then the elements, the last dimension fastest.
    Nothing is allocated on the word of the header alone: a plain file is first held against its
    size on disk, a gzipped one grows chunk by chunk and by one byte too many at most.
    """
    with open(path, "rb") as raw:
        gzipped = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if gzipped:
            with gzip.GzipFile(fileobj=raw) as stream:
                return _parse_idx(path, stream, None, ndim, what)
        return _parse_idx(path, raw, path.stat().st_size, ndim, what)


def _parse_idx(
    path: Path, stream: io.BufferedIOBase, size: int | None, ndim: int, what: str
) -> Bytes:
    """Read one array; ``size`` is that of the whole file, None where only reading will tell."""
    start = 4 + 4 * ndim  # of the elements
    magic = _read_at_most(path, stream, 4, start)
    if magic[:2] != b"\0\0"[: len(magic)]:
        came = bytes(magic + _read_at_most(path, stream, 4, start))
        raise ValueError(
            f"{path} is not an IDX file: those start with two zero bytes, got {came!r}"
        )
    header = magic + _read_at_most(path, stream, 4 * ndim, start)
    if len(magic) == 4 and magic[2] != 0x08:
        name = _ELEMENT_TYPES.get(magic[2], "unknown")
        raise ValueError(
            f"{path} must hold uint8 elements (type 0x08), got type {magic[2]:#04x} ({name})"
        )
    if len(magic) == 4 and magic[3] != ndim:
        raise ValueError(
            f"{path} must hold {what}, an array of {ndim} dimensions, got {magic[3]} dimensions"
        )
    if len(header) < start:
        raise ValueError(
            f"{path} is truncated: its header takes {start} bytes, found {len(header)}"
        )
    shape = struct.unpack(f">{ndim}I", header[4:])
    promised = math.prod(shape)  # Python integers: no overflow, whatever the header says
    if promised == 0:
        raise ValueError(f"{path} is empty: its header says shape {shape}, wanted {what}")
    if promised > _LARGEST:
        raise ValueError(
            f"{path} has an implausible header: shape {shape} is {promised:,} bytes, "
            f"and more than {_LARGEST:,} are not read"
        )
    wanted = start + promised
    if size is None:
        body = _read_at_most(path, stream, promised + 1, wanted)
        found = start + len(body)
    else:
        body = _read_at_most(path, stream, promised if size == wanted else 0, wanted)
        found = size
    if found > wanted:
        more = "more" if size is None else f"{found - wanted:,} more"
        raise ValueError(
            f"{path} has trailing bytes: shape {shape} ends after {wanted:,} bytes, found {more}"
        )
    if found < wanted:
        raise ValueError(
            f"{path} is truncated: shape {shape} takes {wanted:,} bytes, found {found:,}"
        )
    return np.frombuffer(body, dtype=np.uint8).reshape(shape)


def _read_at_most(path: Path, stream: io.BufferedIOBase, count: int, wanted: int) -> bytearray:
    """Read ``count`` bytes, or fewer if the file ends; ``wanted`` is for the message only."""
    data = bytearray()
    try:
        while chunk := stream.read1(min(_CHUNK, count - len(data))):
            data += chunk
    except EOFError as error:
        raise ValueError(
            f"{path} is truncated: wanted {wanted:,} bytes and a checksum, "
            f"but its gzip stream breaks off after {stream.tell():,} bytes"
        ) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is a corrupt gzip file: {error}") from error
    return data


def _size(images: Images) -> str:
    return "x".join(str(side) for side in images.shape[1:])
