"""What a Parquet file's footer says about how its columns are stored: the codec, and whether they are encrypted.

Arrow gives this, too, but it aborts the process where such a footer is damaged or a column is encrypted.

Source: https://github.com/apache/parquet-format, parquet.thrift and Encryption.md;
https://github.com/apache/thrift, doc/specs/thrift-compact-protocol.md
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Struct = dict[int, Any]  # values by the numbers of their fields
ENCRYPTED = b"PARE"  # last bytes of a file whose footer is encrypted; others end with PAR1
DEPTH = 64  # of structs and lists within others; Thrift's own limit
_CODECS = ("uncompressed", "snappy", "gzip", "LZO", "brotli", "lz4", "zstd", "lz4")  # lz4: of Hadoop, and raw


@dataclass(frozen=True)
class StoredColumn:
    """How a column of a row group is stored: its name, the name of its codec, and whether it is encrypted."""

    name: str
    codec: str
    is_encrypted: bool


def has_encrypted_footer(path: Path) -> bool:
    """Whether the file ends as one whose footer is encrypted."""
    return _end(path).endswith(ENCRYPTED)


def stored_columns(path: Path) -> Iterator[StoredColumn]:
    """The columns of each row group; nested columns have names with dots.

    Raises
    ------
    ValueError
        When the footer is damaged.
    """
    length = int.from_bytes(_end(path)[:4], "little")
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 8 - length))
        footer = _Reader(file.read(length)).struct()
    try:
        for group in footer[4]:
            for column in group[1]:
                about = column.get(3, {})
                name = ".".join(part.decode(errors="replace") for part in about.get(3, ()))
                number = about.get(4, 0)
                codec = _CODECS[number] if 0 <= number < len(_CODECS) else f"codec {number}"
                yield StoredColumn(name, codec, 8 in column)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path}: expected the footer of a Parquet file; got other fields ({error})"
        ) from error


def _end(path: Path) -> bytes:
    """The last eight bytes: the footer's length, and PAR1 or PARE."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 8))
        return file.read()


class _Reader:
    """Reads values of Thrift's compact protocol from bytes, one after the other."""

    def __init__(self, content: bytes) -> None:
        self._content, self._position, self._depth = content, 0, 0

    def struct(self) -> Struct:
        """The next struct."""
        found: Struct = {}
        number = 0
        while header := self._byte():
            delta, kind = divmod(header, 16)
            number = number + delta if delta else self._whole()
            found[number] = kind == 1 if kind in (1, 2) else self._value(kind)  # true and false have no bytes
        return found

    def _value(self, kind: int) -> Any:
        self._depth += 1
        if self._depth > DEPTH:
            raise ValueError("the footer's structs and lists are nested too deep")
        try:
            return self._value_of(kind)
        finally:
            self._depth -= 1

    def _value_of(self, kind: int) -> Any:
        if kind in (4, 5, 6):
            return self._whole()
        if kind == 8:
            return self._bytes(self._varint())
        if kind in (9, 10):
            return self._list()
        if kind == 12:
            return self.struct()
        if kind in (1, 2, 3, 7):  # a boolean within a list, a byte, a double
            return self._bytes(8 if kind == 7 else 1)
        raise ValueError(f"there is no type {kind}")  # maps, which a footer does not have, among them

    def _list(self) -> list[Any]:
        size, kind = divmod(self._byte(), 16)
        return [self._value(kind) for _ in range(self._varint() if size == 15 else size)]

    def _whole(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def _varint(self) -> int:
        value = shift = 0
        while (byte := self._byte()) & 0x80:
            value, shift = value | (byte & 0x7F) << shift, shift + 7
        return value | byte << shift

    def _byte(self) -> int:
        return self._bytes(1)[0]

    def _bytes(self, length: int) -> bytes:
        found = self._content[self._position : self._position + length]
        if len(found) != length:
            raise ValueError("the footer is too short")
        self._position += length
        return found
