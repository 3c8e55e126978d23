"""What the pages of a Parquet file unpack to, from their headers; nothing is unpacked.

Arrow makes room for as many bytes as the header of a page claims, whatever the footer says, and for as many items
as a list claims. So both are read here first. What Arrow might understand in another way is an error.

Source: https://github.com/apache/parquet-format, parquet.thrift (FileMetaData, PageHeader)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from mlops.data.parquet_footer import Struct, _end, _Reader

PARTS = 500_000  # structs and items of lists in a footer; a row group of 24 columns has about 500
LAST_FIELD = 2**15 - 1  # fields are numbered in 16 bits
ITEM_KINDS = (5, 6, 8, 12)  # whole numbers, bytes and structs: a footer has no other lists
HEADER_BYTES = 2**20  # of a page: it has the page's smallest and largest value
ABOUT = {0: 5, 2: 7, 3: 8}  # type of a page -> field of its header that describes it
DICTIONARY = 2  # type of a page
ENCODINGS = {
    0: 2,
    3: 4,
}  # types of pages with data, of version 1 and 2 -> field with the encoding of their values
MISSING = (
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
)  # raised where a field is missing, or has another type
PREFIXED = 7  # encoding DELTA_BYTE_ARRAY: values repeat the one before them


class Page(NamedTuple):
    """A page of a column: its bytes when unpacked, and whether they are a dictionary's.

    `is_prefixed` is true where values repeat a part of the one before: they may take more than these bytes.
    """

    bytes: int
    is_dictionary: bool
    is_prefixed: bool


class Leaf(NamedTuple):
    """A column of a file, or a column within a nested one: what its pages have, over all row groups.

    `dictionary` is the size of its largest dictionary, and `data` that of all its data, in bytes when unpacked.
    """

    values: int
    dictionary: int
    data: int
    is_prefixed: bool


def leaves(path: Path) -> list[Leaf]:
    """The columns of a file, in the order of its schema.

    Raises
    ------
    ValueError
        When the footer or the header of a page is damaged.
    """
    groups = read_footer(path)[4]
    with path.open("rb") as file:
        return [_leaf(file, chunks) for chunks in zip(*(group[1] for group in groups), strict=True)]


def footer_bytes(path: Path) -> int:
    """Length of the footer.

    Raises
    ------
    ValueError
        When there is none, or the file is shorter than its footer says.
    """
    end, size = _end(path), path.stat().st_size
    length = int.from_bytes(end[:4], "little")
    if end[4:] != b"PAR1" or length + 8 > size:
        raise ValueError(f"{path}: expected a footer at the end; got none in {size} bytes")
    return length


def read_footer(path: Path) -> Struct:
    """The footer's fields by their numbers; lists have items of the types that Arrow expects.

    Raises
    ------
    ValueError
        When the footer is damaged; `PartsError` when it has more than `PARTS` parts.
    """
    length = footer_bytes(path)
    with path.open("rb") as file:
        file.seek(path.stat().st_size - 8 - length)
        footer = _StrictReader(file.read(length)).struct()
    try:
        _require_items(footer)
    except MISSING as error:
        raise ValueError(f"{path}: expected the footer of a Parquet file; got other fields") from error
    return footer


def pages(file: BinaryIO, chunk: Struct) -> Iterator[Page]:
    """The pages of a column of a row group (ColumnMetaData), up to the last that Arrow reads.

    Raises
    ------
    ValueError
        When a header is damaged, or the pages are not where the footer says.
    """
    try:
        yield from _pages(file, chunk)
    except MISSING as error:
        raise ValueError(f"a page's header lacks a field ({error!r})") from error


def _leaf(file: BinaryIO, columns: Sequence[Struct]) -> Leaf:
    """The column with these parts (ColumnChunk), one of each row group."""
    chunks = [column.get(3, {}) for column in columns]
    found = [page for chunk in chunks for page in pages(file, chunk)]
    return Leaf(
        values=sum(chunk[5] for chunk in chunks),
        dictionary=max((page.bytes for page in found if page.is_dictionary), default=0),
        data=sum(page.bytes for page in found if not page.is_dictionary),
        is_prefixed=any(page.is_prefixed for page in found),
    )


def _pages(file: BinaryIO, chunk: Struct) -> Iterator[Page]:
    first = place = chunk[9]
    if 0 < chunk.get(11, 0) < first:  # the dictionary is before the data
        place = chunk[11]
    end, left = place + chunk[7], chunk[5]
    is_at_data = False  # whether a page starts at `first`, where Arrow may begin
    while left > 0:
        is_at_data = is_at_data or place == first
        header, length = _header(file, place, end)
        kind, unpacked, packed = header[1], header[2], header[3]
        about = header[ABOUT[kind]] if kind in ABOUT else {}
        values = about.get(1, 0)
        place += length + packed
        if not all(0 <= number < 2**31 for number in (kind, unpacked, packed, values)) or place > end:
            raise ValueError("a page's header claims more than there is")
        if kind == DICTIONARY and values > unpacked:
            raise ValueError("a dictionary claims more values than it has bytes")
        if kind in ENCODINGS and not is_at_data:
            raise ValueError("a column's data do not start where the footer says")
        left -= values if kind in ENCODINGS else 0
        yield Page(unpacked, kind == DICTIONARY, about.get(ENCODINGS.get(kind, 0)) == PREFIXED)


def _header(file: BinaryIO, place: int, end: int) -> tuple[Struct, int]:
    """The header of the page at this place, and the bytes that it takes."""
    if not 0 <= place < end:
        raise ValueError("a column has fewer pages than the footer says")
    window = 512
    while True:
        file.seek(place)
        reader = _StrictReader(file.read(min(window, end - place)))
        try:
            return reader.struct(), reader.position
        except ValueError:  # perhaps because the window is too small
            if window >= min(HEADER_BYTES, end - place):
                raise
            window *= 16


def _require_items(footer: Struct) -> None:
    """Raise unless lists have the items that Arrow takes them for: it does not look at the type of a list."""
    chunks = [column for group in footer[4] for column in group[1]]
    about = [column.get(3, {}) for column in chunks]
    keys = [column[8].get(2, {}) for column in chunks if isinstance(column.get(8), dict)]
    sizes, shapes = ([column[number] for column in about if number in column] for number in (16, 17))
    expected = (
        ([footer], (2, 4, 5, 7), dict),
        (footer[4], (1, 4), dict),
        (about, (8, 13), dict),
        (about, (2,), int),
        (about, (3,), bytes),
        (sizes, (2, 3), int),
        (shapes, (2,), int),
        (keys, (1,), bytes),
    )
    for structs, numbers, kind in expected:
        for struct in structs:
            for number in numbers:
                if not all(isinstance(item, kind) for item in struct.get(number, ())):
                    raise ValueError(f"the list of field {number} has items of another type")


class PartsError(ValueError):
    """There are more structs, or items of lists, than a footer may have."""


class _StrictReader(_Reader):
    """Refuses what Arrow may understand in another way, and counts what a list claims before it is read."""

    _parts = 0

    @property
    def position(self) -> int:
        """Bytes that were read."""
        return self._position

    def struct(self) -> Struct:
        """The next struct, whose fields stand once."""
        found: Struct = {}
        number = 0
        self._count(1)
        while header := self._byte():
            delta, kind = divmod(header, 16)
            number = number + delta if delta else self._whole()
            if not 0 < number <= LAST_FIELD or number in found:
                raise ValueError(f"the field {number} stands twice, or there is no such field")
            found[number] = kind == 1 if kind in (1, 2) else self._value(kind)
        return found

    def _list(self) -> list[Any]:
        size, kind = divmod(self._byte(), 16)
        size = self._varint() if size == 15 else size
        if kind not in ITEM_KINDS:
            raise ValueError(f"there is no list of type {kind}")
        self._count(size)
        return [self._value(kind) for _ in range(size)]

    def _count(self, parts: int) -> None:
        self._parts += parts
        if self._parts > PARTS:
            raise PartsError(f"there are more than {PARTS:,} parts")

    def _varint(self) -> int:
        value = 0
        for place in range(10):  # 64 bits
            byte = self._byte()
            value |= (byte & 0x7F) << 7 * place
            if byte < 0x80 and value < 2**64:
                return value
        raise ValueError("there is a number of more than 64 bits")
