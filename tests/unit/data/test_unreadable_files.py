"""A file that cannot be read is judged by what is wrong with it: each fault has its own message."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import pytest
from support.builders import MAY, trip, write_month
from support.clean_months import changed, cleaned
from support.rights import ordinary_user

from mlops.config import PROJECT
from mlops.data import cache, sources
from mlops.data.raw_trips import check_columns, read_trips
from mlops.data.synthetic import source
from mlops.data.trips import clean_file
from mlops.errors import TripSchemaError

NAME = "green_tripdata_2023-05.parquet"


def refusal(path: Path, label: object = None) -> str:
    """The one-line message of reading a file, which is the same when only its columns are checked."""
    texts = []
    for read in (lambda: list(read_trips(path, "green", label)), lambda: check_columns(path, "green", label)):
        with pytest.raises(TripSchemaError) as refused:
            read()
        texts.append(str(refused.value))
    assert texts[0] == texts[1]
    assert "\n" not in texts[0]
    return texts[0]


# --- Compression and encryption -----------------------------------------------------------------------------


def with_codec(folder: Path, number: int) -> Path:
    """A month whose footer names another codec (parquet.thrift, CompressionCodec) than the pages have."""
    pq.write_table(changed(), folder / NAME, compression="snappy")
    content = (folder / NAME).read_bytes()
    start = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    footer = content[start:].replace(b"\x15\x02\x16", bytes([0x15, 2 * number, 0x16]))  # 0x15: an i32, zigzag
    assert footer != content[start:]
    (folder / NAME).write_bytes(content[:start] + footer)
    return folder / NAME


def test_a_codec_that_arrow_does_not_read_is_named_from_the_footer(tmp_path: Path) -> None:
    assert refusal(with_codec(tmp_path, 3)) == (
        f"{tmp_path / NAME}: column 'lpep_pickup_datetime' is compressed with LZO, which Arrow does not read; "
        "expected one of brotli, gzip, lz4, snappy, uncompressed, zstd. Write the file again with snappy or zstd."
    )


def test_a_codec_of_the_future_is_named_too(tmp_path: Path) -> None:
    """Arrow takes an unknown codec for no compression."""
    assert "is compressed with codec 42, which Arrow does not read" in refusal(with_codec(tmp_path, 42))


@pytest.mark.parametrize("codec", ["none", "snappy", "gzip", "brotli", "lz4", "zstd"])
def test_the_codecs_of_arrow_are_read(codec: str, tmp_path: Path) -> None:
    pq.write_table(changed(), tmp_path / NAME, compression=codec)
    assert check_columns(tmp_path / NAME, "green") == sum(
        len(batch["pickup_at"]) for batch in read_trips(tmp_path / NAME, "green")
    )


class _Keys(pe.KmsClient):
    """Wraps keys by not wrapping them."""

    def __init__(self, config: pe.KmsConnectionConfig) -> None:
        super().__init__()

    def wrap_key(self, key: bytes, master: str) -> bytes:
        return key.hex().encode()

    def unwrap_key(self, wrapped: bytes, master: str) -> bytes:
        return bytes.fromhex(wrapped.decode())


def encrypted(path: Path, **options: Any) -> Path:
    config = pe.EncryptionConfiguration(footer_key="footer", **options)
    properties = pe.CryptoFactory(_Keys).file_encryption_properties(pe.KmsConnectionConfig(), config)
    with pq.ParquetWriter(path, changed().schema, encryption_properties=properties) as writer:
        writer.write_table(changed())
    return path


@pytest.mark.parametrize(
    "options",
    [
        {"column_keys": {"key": ["trip_distance"]}},
        {"column_keys": {"key": ["trip_distance"]}, "plaintext_footer": True},
        {"uniform_encryption": True},
    ],
)
def test_an_encrypted_file_is_called_encrypted(options: dict[str, Any], tmp_path: Path) -> None:
    assert refusal(encrypted(tmp_path / NAME, **options)) == (
        f"{tmp_path / NAME}: expected a Parquet file without encryption; got an encrypted one, and there is no "
        "key. Ask the source for it, or decrypt it and write it again."
    )


def test_an_encrypted_file_is_not_taken_for_a_web_page_when_it_is_fetched(tmp_path: Path) -> None:
    path = encrypted(tmp_path / NAME, uniform_encryption=True)
    with pytest.raises(TripSchemaError) as refused:
        cache.fetch(sources.open_source(str(tmp_path)), "green", MAY, tmp_path / "cache")

    assert str(refused.value).startswith(
        f"{path}: expected a Parquet file without encryption; got an encrypted one"
    )


def test_an_encrypted_column_that_is_not_read_is_ignored(tmp_path: Path) -> None:
    path = encrypted(tmp_path / NAME, column_keys={"key": ["fare_amount"]}, plaintext_footer=True)

    assert check_columns(path, "green") == sum(len(trips["pickup_at"]) for trips in read_trips(path, "green"))


# --- Files that are not to be read --------------------------------------------------------------------------


def test_a_file_without_permission_is_not_called_damaged(tmp_path: Path) -> None:
    path = write_month(tmp_path / NAME, "green", trip())
    path.chmod(0)
    with ordinary_user():
        found = refusal(path, "https://tlc.example/may")

    assert (
        found
        == f"https://tlc.example/may: no permission to read {path}. Let the user of this process read it."
    )


# --- Columns that stand twice -------------------------------------------------------------------------------


def twice(column: str, name: str = "") -> pa.Table:
    return changed().append_column(name or column, changed()[column])


@pytest.mark.parametrize("name", ["fare_amount", "Fare_Amount"])
def test_an_unread_column_that_stands_twice_is_ignored(name: str, tmp_path: Path) -> None:
    pq.write_table(twice("fare_amount", name), tmp_path / NAME)
    pq.write_table(changed(), tmp_path / "once.parquet")
    found, expected = (
        clean_file(path, "green", MAY, tmp_path / "clean.parquet")
        for path in (tmp_path / NAME, tmp_path / "once.parquet")
    )
    assert found == expected


@pytest.mark.parametrize("column", ["PULocationID", "lpep_pickup_datetime", "passenger_count"])
@pytest.mark.parametrize("spelling", [str, str.lower, str.upper])
def test_a_read_column_that_stands_twice_is_refused(
    column: str, spelling: Callable[[str], str], tmp_path: Path
) -> None:
    pq.write_table(twice(column, spelling(column)), tmp_path / NAME)

    assert refusal(tmp_path / NAME) == (
        f"{tmp_path / NAME}: column '{column}' expected once; got 2: '{column}', '{spelling(column)}'. "
        "Write the file again with the right one only."
    )


# --- Types of numbers and times -----------------------------------------------------------------------------

NUMBERS = {
    **{f"zones as {kind}": {"PULocationID": kind, "DOLocationID": kind} for kind in (
        pa.int8(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64(), pa.float16(), pa.decimal128(38, 0),
        pa.decimal256(50, 4), pa.dictionary(pa.int8(), pa.int64()),
    )},
    **{f"miles as {kind}": {"trip_distance": kind} for kind in (
        pa.int8(), pa.uint64(), pa.float16(), pa.decimal128(10, 2), pa.decimal256(60, 3), pa.decimal128(5, 2),
        pa.dictionary(pa.int32(), pa.float64()),
    )},
    "passengers as decimal": {"passenger_count": pa.decimal128(9, 1)},
    "passengers as uint64": {"passenger_count": pa.uint64()},
}  # fmt: skip


def as_type(kind: pa.DataType) -> Callable[[pa.ChunkedArray], pa.ChunkedArray]:
    """A change of a column to a type, also where Arrow has no direct cast."""

    def change(values: pa.ChunkedArray) -> pa.Array:
        if pa.types.is_dictionary(kind):
            return values.cast(kind.value_type).combine_chunks().dictionary_encode().cast(kind)
        if pa.types.is_decimal(kind):
            numbers = [None if value is None else Decimal(str(value)) for value in values.to_pylist()]
            return pa.array(numbers, kind)
        if pa.types.is_float16(kind):
            return pa.array([None if v is None else np.float16(v) for v in values.to_pylist()], kind)
        return values.cast(kind, safe=False)

    return change


@pytest.mark.parametrize("kinds", NUMBERS.values(), ids=NUMBERS)
def test_any_numeric_type_is_a_number(kinds: dict[str, pa.DataType], tmp_path: Path) -> None:
    pq.write_table(changed(**{name: as_type(kind) for name, kind in kinds.items()}), tmp_path / NAME)
    pq.write_table(changed(), tmp_path / "plain.parquet")
    tables = []
    for name in (NAME, "plain.parquet"):
        clean_file(tmp_path / name, "green", MAY, tmp_path / "clean.parquet")
        tables.append(pq.read_table(tmp_path / "clean.parquet").to_pylist())

    assert tables[0] == tables[1]


@pytest.mark.parametrize("zone", [2**63, 2**64 - 75])
def test_a_number_too_large_for_a_zone_is_an_unknown_zone(zone: int, tmp_path: Path) -> None:
    pq.write_table(changed(PULocationID=lambda values: pa.array([74, zone], pa.uint64())), tmp_path / NAME)
    quality = clean_file(tmp_path / NAME, "green", MAY, tmp_path / "clean.parquet")

    assert (quality.kept, quality.rejected["zone_unknown"]) == (1, 1)


ODD_TYPES = {
    "digits": ("PULocationID", lambda values: values.cast(pa.string())),
    "large digits": ("trip_distance", lambda values: values.cast(pa.large_string())),
    "coded digits": ("passenger_count", lambda values: values.cast(pa.string()).dictionary_encode()),
    "true or false": ("passenger_count", lambda values: pa.array([True, None])),
    "bytes": ("trip_distance", lambda values: pa.array([b"2.0", b"2.0"])),
    "a list": ("trip_distance", lambda values: pa.array([[2.0], [2.0, 3.0]])),
    "a struct": ("DOLocationID", lambda values: pa.array([{"id": 1}, {"id": 2}])),
    "a day": ("lpep_pickup_datetime", lambda values: values.cast(pa.date32(), safe=False)),
    "a time": ("lpep_dropoff_datetime", lambda values: values.cast(pa.time64("us"), safe=False)),
    "a number of seconds": ("lpep_dropoff_datetime", lambda values: pa.array([1, 2])),
}


@pytest.mark.parametrize(("column", "change"), ODD_TYPES.values(), ids=ODD_TYPES)
def test_what_is_no_number_or_no_moment_is_refused_by_name(
    column: str, change: Callable[[pa.ChunkedArray], pa.Array], tmp_path: Path
) -> None:
    table = changed(**{column: change})
    pq.write_table(table, tmp_path / NAME)
    expected = "a timestamp" if column.endswith("_datetime") else "a number"

    assert refusal(tmp_path / NAME) == (
        f"{tmp_path / NAME}: column '{column}' is of type {pq.read_schema(tmp_path / NAME).field(column).type}; "
        f"expected {expected}. Is this a green file?"
    )


def test_a_nested_column_that_is_not_read_is_ignored(tmp_path: Path) -> None:
    route = pa.array([{"trip_distance": 1.0, "stops": [1]}, {"trip_distance": 2.0, "stops": []}])
    pq.write_table(changed().append_column("route", route), tmp_path / NAME)

    assert check_columns(tmp_path / NAME, "green") == 2
    assert clean_file(tmp_path / NAME, "green", MAY, tmp_path / "clean.parquet").rows == 2


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "+00:00", "-05:00", "America/New_York"])
def test_times_of_any_unit_and_zone_are_read_as_their_clock(
    unit: str, zone: str | None, tmp_path: Path
) -> None:
    expected, table = cleaned(tmp_path, trip("2023-05-10 08:30"), trip("2023-05-31 23:10:05"))
    clock = pc.cast(pq.read_table(tmp_path / "raw.parquet")["lpep_pickup_datetime"], pa.timestamp(unit))
    ends = pc.cast(pq.read_table(tmp_path / "raw.parquet")["lpep_dropoff_datetime"], pa.timestamp(unit))
    put = (lambda times: times) if zone is None else (lambda times: pc.assume_timezone(times, zone))
    raw = pq.read_table(tmp_path / "raw.parquet")
    for name, times in (("lpep_pickup_datetime", clock), ("lpep_dropoff_datetime", ends)):
        raw = raw.set_column(raw.column_names.index(name), name, put(times))
    pq.write_table(raw, tmp_path / NAME, version="2.6")

    assert clean_file(tmp_path / NAME, "green", MAY, tmp_path / "found.parquet") == expected
    assert pq.read_table(tmp_path / "found.parquet").to_pylist() == table.to_pylist()


def test_a_clock_far_in_the_future_stays_there(tmp_path: Path) -> None:
    """Older Spark and Impala write INT96 times; read as nanoseconds, 2607-12-01 would become 2023-05-12."""
    far = changed(
        lpep_pickup_datetime=lambda times: pc.add(times, pa.scalar(2**64 // 1000, pa.duration("us"))),
        lpep_dropoff_datetime=lambda times: pc.add(times, pa.scalar(2**64 // 1000, pa.duration("us"))),
    )
    pq.write_table(far, tmp_path / NAME, use_deprecated_int96_timestamps=True, store_schema=False)
    quality = clean_file(tmp_path / NAME, "green", MAY, tmp_path / "clean.parquet")

    assert quality.rejected["outside_month"] == quality.rows == 2


# --- The time zone database ---------------------------------------------------------------------------------

READ = """
import sys
from pathlib import Path
from mlops.data.raw_trips import read_trips
from mlops.errors import MlopsError
try:
    print(*(str(batch["pickup_at"][0]) for batch in read_trips(Path(sys.argv[1]), "green")))
except MlopsError as error:
    print(error)
"""


HIDDEN = ["unshare", "-rm", "sh", "-c", 'mount -t tmpfs none /usr/share/zoneinfo && exec "$@"', "sh"]


def read_without_database(path: Path) -> str:
    """The first pickup, or the error, on a machine without a time zone database."""
    if not shutil.which("unshare") or subprocess.run([*HIDDEN, "true"], capture_output=True).returncode:
        pytest.skip("this machine does not let a process hide a folder")
    command = [*HIDDEN, sys.executable, "-c", READ, str(path)]
    ended = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    return ended.stdout.strip()


def in_zone(path: Path, zone: str) -> Path:
    put = lambda times: times.cast(pa.timestamp("us", zone))  # noqa: E731
    pq.write_table(changed(lpep_pickup_datetime=put, lpep_dropoff_datetime=put), path)
    return path


@pytest.mark.parametrize("zone", ["UTC", "Etc/UTC", "GMT", "+00:00", "-05:00"])
def test_utc_and_fixed_offsets_need_no_time_zone_database(zone: str, tmp_path: Path) -> None:
    path = in_zone(tmp_path / NAME, zone)
    expected = next(read_trips(path, "green"))["pickup_at"][0]

    assert read_without_database(path) == str(expected)


def test_without_a_time_zone_database_the_package_is_named(tmp_path: Path) -> None:
    path = in_zone(tmp_path / NAME, "America/New_York")

    assert read_without_database(path) == (
        f"{path}: the times of column 'lpep_pickup_datetime' are in the time zone 'America/New_York'; expected a "
        "time zone database on this machine, got none. Install the system's package tzdata."
    )


def test_a_time_zone_that_does_not_exist_is_named(tmp_path: Path) -> None:
    assert refusal(in_zone(tmp_path / NAME, "Mars/Olympus_Mons")) == (
        f"{tmp_path / NAME}: the times of column 'lpep_pickup_datetime' are in the time zone 'Mars/Olympus_Mons', "
        "which this machine's time zone database does not have; expected a name such as 'America/New_York'. Write "
        "the file again with the right one, or without a time zone."
    )


# --- Damage -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A month with checksums, in several row groups of several pages."""
    folder = tmp_path_factory.mktemp("month")
    table = pq.read_table(source.write_month(folder / "whole.parquet", "green", MAY, rows=600))
    pq.write_table(
        table,
        folder / NAME,
        row_group_size=250,
        data_page_size=512,
        write_page_checksum=True,
        compression="zstd",
    )
    return (folder / NAME).read_bytes()


def flipped(content: bytes, rng: np.random.Generator, first: int, end: int) -> bytes:
    damaged = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        damaged[rng.integers(first, end)] ^= 1 << rng.integers(8)
    return bytes(damaged)


def footer_start(content: bytes) -> int:
    return len(content) - 8 - int.from_bytes(content[-8:-4], "little")


DAMAGE: dict[str, Callable[[bytes, np.random.Generator], bytes]] = {
    "bits of pages": lambda content, rng: flipped(content, rng, 4, footer_start(content)),
    "bits of the footer": lambda content, rng: flipped(content, rng, footer_start(content), len(content) - 8),
    "bits of the footer's length": lambda content, rng: flipped(
        content, rng, len(content) - 8, len(content) - 4
    ),
    "a piece missing": lambda content, rng: (
        content[: (cut := rng.integers(4, len(content) - 900))] + content[cut + rng.integers(1, 800) :]
    ),
    "a piece of zeros": lambda content, rng: (
        content[: (cut := rng.integers(4, len(content) - 900))] + bytes(100) + content[cut + 100 :]
    ),
    "a piece twice": lambda content, rng: (
        content[: (cut := rng.integers(4, len(content)))] + content[cut // 2 :]
    ),
    "another file's footer": lambda content, rng: (
        content[: footer_start(content) // 2] + content[footer_start(content) :]
    ),
}


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_of_any_kind_is_our_error_or_no_harm(
    damage: str, seed: int, month: bytes, tmp_path: Path
) -> None:
    path = tmp_path / NAME
    path.write_bytes(DAMAGE[damage](month, np.random.default_rng(seed)))
    try:
        check_columns(path, "green", "the month")
        rows = sum(len(trips["pickup_at"]) for trips in read_trips(path, "green", "the month"))
    except TripSchemaError as error:
        assert str(error).startswith("the month: ")
        assert "\n" not in str(error)
    else:
        assert rows == pq.read_metadata(path).num_rows


def test_a_flipped_bit_is_found_where_pages_have_checksums(month: bytes, tmp_path: Path) -> None:
    """Without the check, most flipped bits of uncompressed pages are other trips."""
    path = tmp_path / NAME
    path.write_bytes(month)
    pq.write_table(
        pq.read_table(path), path, compression="none", use_dictionary=False, write_page_checksum=True
    )
    content = path.read_bytes()
    path.write_bytes(flipped(content, np.random.default_rng(1), 2_000, 3_000))

    assert "damaged pages" in refusal_of_reading(path)


def refusal_of_reading(path: Path) -> str:
    with pytest.raises(TripSchemaError) as refused:
        list(read_trips(path, "green"))
    return str(refused.value)
