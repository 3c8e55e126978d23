"""Pages are measured as Arrow will read them; what it might read in another way is refused."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops.data.parquet_footer import _end
from mlops.data.parquet_pages import Leaf, PartsError, _StrictReader, leaves, pages, read_footer

NUMBER, STRUCT, LIST = 5, 12, 9  # types of Thrift's compact protocol


def varint(value: int) -> bytes:
    parts = [value >> shift & 0x7F | 0x80 for shift in range(0, max(value.bit_length(), 1), 7)]
    return bytes([*parts[:-1], parts[-1] & 0x7F])


def zigzag(value: int) -> bytes:
    return varint(value << 1 if value >= 0 else (-value << 1) - 1)


def field(number: int, kind: int, content: bytes) -> bytes:
    """A field with its number in the long form."""
    return bytes([kind]) + zigzag(number) + content


def struct(*fields: tuple[int, Any]) -> bytes:
    """A struct of numbers and structs."""
    return (
        b"".join(
            field(number, STRUCT, value) if isinstance(value, bytes) else field(number, NUMBER, zigzag(value))
            for number, value in fields
        )
        + b"\x00"
    )


def page(unpacked: int = 100, packed: int = 4, kind: int = 0, **about: int) -> bytes:
    """A page with data of version 1, with its header before it."""
    values = about.get("values", 10)
    return struct((1, kind), (2, unpacked), (3, packed), (5, struct((1, values), (2, 0)))) + b"data"


def measured(content: bytes, **about: int) -> list[int]:
    chunk = {9: 0, 7: len(content), 5: 10} | {int(name[1:]): value for name, value in about.items()}
    return [found.bytes for found in pages(io.BytesIO(content), chunk)]


# --- Headers of pages ---------------------------------------------------------------------------------------


def test_pages_are_measured_until_all_values_are_met() -> None:
    assert measured(page(100, values=4) + page(7, values=6) + b"no page") == [100, 7]
    assert measured(b"", _5=0) == []


def test_the_type_of_a_page_says_which_of_its_fields_counts() -> None:
    """A page of version 2 has one value here, so another page follows it."""
    odd = struct((1, 3), (2, 50), (3, 4), (5, struct((1, 10))), (8, struct((1, 1), (4, 0)))) + b"data"
    assert measured(odd + page(2**30, values=9)) == [50, 2**30]


@pytest.mark.parametrize(
    ("content", "about"),
    [
        (page(values=9), {}),  # a value is missing, so Arrow would read on
        (page(packed=5), {}),  # longer than the column
        (page(unpacked=-1), {}),
        (page(unpacked=2**31), {}),
        (page(values=2**32 + 1) + page(values=9), {}),  # 1 value in 32 bits
        (page(kind=2**32 + 1), {}),  # a page without data in 32 bits
        (page(packed=-20), {}),  # again and again
        (page(kind=3), {}),
        (page(kind=2), {}),
        (struct((1, 0), (2, 1), (2, 2**30), (3, 0), (5, struct((1, 10)))), {}),
        (b"\x00", {}),
        (b"", {}),
        (page(), {"_9": -1}),
        (page(), {"_9": 2**40}),
        (page() + page(2**30), {"_11": 1, "_9": 3}),  # Arrow may begin at either place
    ],
)
def test_what_arrow_may_read_in_another_way_is_refused(content: bytes, about: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"page|field|column|footer"):
        measured(content, **about)


def test_a_dictionary_has_a_byte_for_each_value() -> None:
    dictionary = struct((1, 2), (2, 40), (3, 4), (7, struct((1, 41), (2, 0)))) + b"data"
    with pytest.raises(ValueError, match="a dictionary claims more values than it has bytes"):
        measured(b"PAR1" + dictionary + page(), _11=4, _9=4 + len(dictionary))


def test_a_long_header_is_read() -> None:
    """It has the page's smallest and largest value."""
    text = b"\x08" + zigzag(9) + varint(100_000) + b"x" * 100_000
    header = page()
    assert measured(header[: header.index(b"\x00data")] + text + b"\x00data") == [100]


# --- Footers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        struct((1, 0), (1, 0)),
        struct((2**16 + 1, 0)),  # field 1 in 16 bits
        struct((-1, 0)),
        field(1, NUMBER, b"\xff" * 10 + b"\x01"),
        field(1, NUMBER, b"\xff" * 9 + b"\x7f"),  # more than 64 bits
        field(1, LIST, b"\x11\x01"),  # of booleans: a footer has none
    ],
)
def test_odd_structs_are_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"field|bits|list"):
        _StrictReader(content).struct()


@pytest.mark.parametrize("claimed", [b"\xfc" + varint(500_000), b"\xf5" + varint(2**40)])
def test_a_list_is_counted_before_it_is_read(claimed: bytes) -> None:
    with pytest.raises(PartsError, match="more than 500,000 parts"):
        _StrictReader(field(1, LIST, claimed)).struct()


@pytest.mark.parametrize(
    ("number", "items"), [(2, b"\x15\x02"), (4, b"\x18\x01a"), (5, b"\x15\x02"), (7, b"\x18\x00")]
)
def test_a_list_has_the_items_that_arrow_takes_them_for(number: int, items: bytes, tmp_path: Path) -> None:
    footer = field(number, LIST, items) + (b"" if number == 4 else field(4, LIST, b"\x0c")) + b"\x00"
    (tmp_path / "file").write_bytes(b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    with pytest.raises(ValueError, match=r"items of another type|other fields"):
        read_footer(tmp_path / "file")


@given(st.binary(max_size=200))
def test_any_bytes_are_a_struct_or_a_value_error(content: bytes) -> None:
    try:
        assert isinstance(_StrictReader(content).struct(), dict)
    except ValueError as error:
        assert str(error)


# --- Whole files, with Arrow as the oracle ------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"use_dictionary": False}, {"data_page_version": "2.0"}])
def test_pages_unpack_to_what_arrow_says(options: dict[str, Any], tmp_path: Path) -> None:
    """Arrow counts headers, too: less than 100 bytes for each page."""
    rng, path = np.random.default_rng(0), tmp_path / "file"
    table = pa.table(
        {
            "number": rng.normal(size=5000),
            "zone": rng.integers(0, 265, 5000),
            "text": [f"text {number % 7}" for number in range(5000)],
            "list": [[number] * (number % 3) for number in range(5000)],
        }
    )
    pq.write_table(table, path, write_statistics=False, **options)
    for position, leaf in enumerate(leaves(path)):
        stored = pq.read_metadata(path).row_group(0).column(position)
        assert leaf.values == stored.num_values
        assert -200 < leaf.data + leaf.dictionary - stored.total_uncompressed_size < 0
        assert bool(leaf.dictionary) == stored.has_dictionary_page


def test_texts_that_repeat_each_other_are_marked(tmp_path: Path) -> None:
    table = pa.table({"text": ["one", "one two"]})
    pq.write_table(table, tmp_path / "file", use_dictionary=False, column_encoding="DELTA_BYTE_ARRAY")
    assert leaves(tmp_path / "file")[0] == Leaf(2, 0, leaves(tmp_path / "file")[0].data, True)


def test_a_footer_that_arrow_reads_otherwise_is_refused(tmp_path: Path) -> None:
    """A field of the footer stands twice: Arrow takes the last."""
    path = tmp_path / "file"
    pq.write_table(pa.table({"text": ["one"]}), path)
    content, length = path.read_bytes(), int.from_bytes(_end(path)[:4], "little")
    footer = content[-8 - length : -8]
    assert footer.endswith(b"\x00")
    twice = footer[:-1] + field(3, 6, zigzag(10**15)) + b"\x00"
    path.write_bytes(content[: -8 - length] + twice + len(twice).to_bytes(4, "little") + b"PAR1")
    assert pq.read_metadata(path).num_rows == 10**15
    with pytest.raises(ValueError, match="field 3 stands twice"):
        read_footer(path)
