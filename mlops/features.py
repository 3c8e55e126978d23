"""From requests to features: the only definition, shared by training, batch and single predictions.

Two steps. `request_features` is stateless: what a request says, in numbers.
`Encoder` adds what past trips say about such a request; it learns from targets,
so it is fitted on the months of one fit only, and out of fold inside them.
Nothing here reads a fare, a tip, a payment, a rate code or a drop-off time.
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import holidays
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mlops.errors import MlopsError

Array = npt.NDArray[Any]

REQUEST_COLUMNS = ("pickup_at", "pickup_zone", "dropoff_zone", "distance_miles", "passenger_count")
ZONES = 266  # codes 0 to 265; 0 stands for every id that TLC has not given out
BATCH_ROWS = 131_072
BANDS = 12  # weekday or weekend, six bands of the day
HOURS = 168  # of the week


@dataclass(frozen=True)
class Feature:
    """One column of the feature table.

    Parameters
    ----------
    name, meaning : str
        With the unit in both, where there is one.
    categorical : bool
        A code, not a quantity.
    needs_distance : bool
        Left out where `use_distance` is off.
    """

    name: str
    meaning: str
    categorical: bool = False
    needs_distance: bool = False


REQUEST_FEATURES = (
    Feature("pickup_zone", "TLC zone of the pickup, 1-265; 0 for any other", categorical=True),
    Feature("dropoff_zone", "TLC zone of the drop-off, 1-265; 0 for any other", categorical=True),
    Feature(
        "distance_miles", "trip distance in miles (the meter's; see docs/decisions)", needs_distance=True
    ),
    Feature("passenger_count", "passengers as entered by the driver; missing where not entered"),
    Feature("minute_of_day", "minutes since midnight, New York"),
    Feature("weekday", "0 Monday to 6 Sunday"),
    Feature("month", "1 January to 12 December"),
    Feature("is_holiday", "1 on a public holiday of New York, else 0"),
)
"""Known from the request alone."""

ENCODED_FEATURES = (
    Feature("pair_minutes", "mean minutes of past trips between the two zones"),
    Feature("pair_band_minutes", "the same in this part of the day, weekday or weekend"),
    Feature(
        "pickup_hour_minutes", "mean minutes of past trips from the pickup zone in this hour of the week"
    ),
    Feature(
        "dropoff_hour_minutes", "mean minutes of past trips to the drop-off zone in this hour of the week"
    ),
    Feature("pair_pace", "mean minutes per mile of past trips between the two zones", needs_distance=True),
    Feature("pair_band_pace", "the same in this part of the day", needs_distance=True),
    Feature(
        "pace_minutes", "pair_band_pace x distance_miles: minutes at the usual pace", needs_distance=True
    ),
    Feature("distance_ratio", "distance over the mean distance between the two zones", needs_distance=True),
)
"""Learnt from past trips by `Encoder`."""


def feature_list(use_distance: bool = True) -> tuple[Feature, ...]:
    """Features of a model, in the order of its matrix.

    Examples
    --------
    >>> len(feature_list()) > len(feature_list(use_distance=False))
    True
    """
    return tuple(f for f in REQUEST_FEATURES + ENCODED_FEATURES if use_distance or not f.needs_distance)


def request_features(requests: Mapping[str, Any] | pd.DataFrame) -> dict[str, Array]:
    """Stateless features of each request.

    Parameters
    ----------
    requests : mapping or DataFrame
        `REQUEST_COLUMNS`, n values each: ``pickup_at`` datetime (New York's wall clock), zones int, miles
        float (NaN allowed; what is no distance counts as NaN), passengers nullable int. Other columns are
        not looked at. Not changed.

    Returns
    -------
    dict of str to array of shape (n,)
        One entry for each of `REQUEST_FEATURES`; NaN only in ``distance_miles`` and ``passenger_count``.

    Raises
    ------
    MlopsError
        When a request column, or a pickup time, is missing.
    """
    missing = [name for name in REQUEST_COLUMNS if name not in requests and name != "passenger_count"]
    if missing:
        raise MlopsError(f"requests: missing {missing}; expected the columns {list(REQUEST_COLUMNS)}")
    pickup_at = _times(requests["pickup_at"])
    if np.isnat(pickup_at).any():
        raise MlopsError(
            f"requests: pickup_at is missing in {np.isnat(pickup_at).sum()} of {len(pickup_at)} rows"
        )
    days = pickup_at.astype("datetime64[D]")
    months = pickup_at.astype("datetime64[M]").astype(np.int64)
    return {
        "pickup_zone": _zone_codes("pickup_zone", requests["pickup_zone"]),
        "dropoff_zone": _zone_codes("dropoff_zone", requests["dropoff_zone"]),
        "distance_miles": _miles("distance_miles", requests["distance_miles"]),
        "passenger_count": _counts("passenger_count", requests, len(pickup_at)),
        "minute_of_day": ((pickup_at - days).astype(np.int64) // 60).astype(np.int16),
        "weekday": ((days.astype(np.int64) + 3) % 7).astype(np.int8),  # 1970-01-01 was a Thursday
        "month": (months % 12 + 1).astype(np.int8),
        "is_holiday": np.isin(days, _holidays(_years(months))).astype(np.int8),
    }


def features_file(clean: Path, target: Path) -> pd.DataFrame:
    """Write a month's feature table as Parquet (whole or not at all); statistics of each feature.

    The file holds `REQUEST_FEATURES`, ``duration_minutes`` (float64) and ``for_training`` (bool), row by row
    as in `clean`.

    Returns
    -------
    DataFrame, one row per feature
        ``feature``, ``rows``, ``missing``, ``min``, ``total``, ``max``; `summarise` puts months together.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    statistics = []
    try:
        with (
            pq.ParquetFile(clean) as file,
            pq.ParquetWriter(temporary, FEATURE_SCHEMA, compression="zstd") as writer,
        ):
            for batch in file.iter_batches(BATCH_ROWS, columns=[*REQUEST_COLUMNS, *TARGET_COLUMNS]):
                columns = request_features(_request_arrays(batch))
                statistics.append(_statistics(columns))
                columns |= {name: batch[name].to_numpy(zero_copy_only=False) for name in TARGET_COLUMNS}
                writer.write_table(pa.table(columns).cast(FEATURE_SCHEMA))
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return pd.concat(statistics, ignore_index=True)


def summarise(statistics: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """One row per feature over all months: meaning, rows, share missing, least, mean, most."""
    by_feature = pd.concat(statistics).groupby("feature", sort=False)
    summary = by_feature.agg({"rows": "sum", "missing": "sum", "min": "min", "total": "sum", "max": "max"})
    present = (summary["rows"] - summary["missing"]).replace(0, np.nan)
    meanings = {feature.name: feature.meaning for feature in REQUEST_FEATURES}
    table = {
        "feature": summary.index,
        "meaning": [meanings[name] for name in summary.index],
        "rows": summary["rows"].to_numpy(),
        "missing_share": (summary["missing"] / summary["rows"]).round(4).to_numpy(),
        "least": summary["min"].to_numpy(),
        "mean": (summary["total"] / present).round(3).to_numpy(),
        "most": summary["max"].to_numpy(),
    }
    return pd.DataFrame(table)


class Encoder:
    """Smoothed means of past trips' minutes, pace and distance, by zone pair and by zone and time.

    Each mean is drawn towards its parent's (`LEVELS`): pair x band to its pair, a pair to the overall mean,
    zone x hour of week to its zone. So a pair never seen gets the coarser answer.

    Parameters
    ----------
    tables : dict of str to float32 array
        The smoothed means of each level, flat, indexed by the level's key.

    Source: D. Micci-Barreca, "A preprocessing scheme for high-cardinality categorical attributes",
    SIGKDD Explorations 3(1), 2001.
    """

    def __init__(self, tables: Mapping[str, Array]) -> None:
        self.tables = dict(tables)

    @classmethod
    def fit(cls, features: Mapping[str, Array], minutes: Array) -> Encoder:
        """Encoder of all the trips given: features as from `request_features`, minutes of shape (n,)."""
        return cls(_smoothed(_totals(features, minutes)))

    @classmethod
    def fit_transform(
        cls, features: Mapping[str, Array], minutes: Array, *, seed: int, folds: int = 5
    ) -> tuple[Encoder, dict[str, Array]]:
        """Encoder of all the trips, and each trip's own encodings learnt from the other folds' trips only.

        A mean that holds the trip's own duration would let the model read the answer.
        """
        fold = np.random.default_rng(seed).integers(0, folds, len(minutes))
        everything = _totals(features, minutes)
        encoded = {f.name: np.empty(len(minutes), np.float32) for f in ENCODED_FEATURES}
        for number in range(folds):
            inside = fold == number
            part = {name: values[inside] for name, values in features.items()}
            own = _totals(part, minutes[inside])
            others = {name: (a - own[name][0], b - own[name][1]) for name, (a, b) in everything.items()}
            for name, values in cls(_smoothed(others)).transform(part).items():
                encoded[name][inside] = values
        return cls(_smoothed(everything)), encoded

    def transform(self, features: Mapping[str, Array]) -> dict[str, Array]:
        """`ENCODED_FEATURES` of each request, float32 of shape (n,); NaN only where the distance is."""
        keys = _keys(features)
        looked_up = {level.name: self.tables[level.name][keys[level.key]] for level in LEVELS}
        miles = features["distance_miles"]
        looked_up["pace_minutes"] = (looked_up["pair_band_pace"] * miles).astype(np.float32)
        looked_up["distance_ratio"] = (miles / looked_up["pair_miles"]).astype(np.float32)
        return {feature.name: looked_up[feature.name] for feature in ENCODED_FEATURES}


@dataclass(frozen=True)
class _Level:
    """A table of means: of `quantity`, by `key`; `slots` of its entries lie under one of its parent's."""

    name: str
    key: str
    quantity: str
    parent: str | None = None
    slots: int = 1


LEVELS = (
    _Level("pair_minutes", "pair", "minutes"),
    _Level("pair_band_minutes", "pair_band", "minutes", "pair_minutes", BANDS),
    _Level("pickup_minutes", "pickup_zone", "minutes"),
    _Level("pickup_hour_minutes", "pickup_hour", "minutes", "pickup_minutes", HOURS),
    _Level("dropoff_minutes", "dropoff_zone", "minutes"),
    _Level("dropoff_hour_minutes", "dropoff_hour", "minutes", "dropoff_minutes", HOURS),
    _Level("pair_pace", "pair", "pace"),
    _Level("pair_band_pace", "pair_band", "pace", "pair_pace", BANDS),
    _Level("pair_miles", "pair", "miles"),
)
SIZES = {
    "pair": ZONES * ZONES,
    "pair_band": ZONES * ZONES * BANDS,
    "pickup_zone": ZONES,
    "dropoff_zone": ZONES,
    "pickup_hour": ZONES * HOURS,
    "dropoff_hour": ZONES * HOURS,
}
SMOOTHING = 10.0  # weight of the parent's mean: trips for minutes and miles, miles for pace


def _keys(features: Mapping[str, Array]) -> dict[str, Array]:
    pickup, dropoff = features["pickup_zone"].astype(np.int64), features["dropoff_zone"].astype(np.int64)
    weekday, hour = features["weekday"].astype(np.int64), features["minute_of_day"].astype(np.int64) // 60
    band = hour // 4 + np.where(weekday >= 5, BANDS // 2, 0)
    hour_of_week = weekday * 24 + hour
    pair = pickup * ZONES + dropoff
    return {
        "pair": pair,
        "pair_band": pair * BANDS + band,
        "pickup_zone": pickup,
        "dropoff_zone": dropoff,
        "pickup_hour": pickup * HOURS + hour_of_week,
        "dropoff_hour": dropoff * HOURS + hour_of_week,
    }


def _totals(features: Mapping[str, Array], minutes: Array) -> dict[str, tuple[Array, Array]]:
    """Sum and weight under each level's keys; their ratio is the mean."""
    keys = _keys(features)
    miles = np.nan_to_num(features["distance_miles"].astype(np.float64))
    measured = (miles >= 0.1) & (miles <= 100.0)  # a meter that did not run says nothing about pace
    miles = np.where(measured, miles, 0.0)
    quantities = {
        "minutes": (minutes, np.ones(len(minutes))),
        "pace": (np.where(measured, minutes, 0.0), miles),
        "miles": (miles, measured.astype(np.float64)),
    }
    totals = {}
    for level in LEVELS:
        key, size = keys[level.key], SIZES[level.key]
        total, weight = (np.bincount(key, values, size) for values in quantities[level.quantity])
        totals[level.name] = (total, weight)
    return totals


def _smoothed(totals: Mapping[str, tuple[Array, Array]]) -> dict[str, Array]:
    tables: dict[str, Array] = {}
    for level in LEVELS:
        total, weight = totals[level.name]
        if level.parent is None:
            parent = total.sum() / weight.sum() if weight.sum() else np.nan
        else:
            parent = np.repeat(tables[level.parent], level.slots)
        tables[level.name] = ((total + SMOOTHING * parent) / (weight + SMOOTHING)).astype(np.float32)
    return tables


TARGET_COLUMNS = ("duration_minutes", "for_training")
FEATURE_SCHEMA = pa.schema(
    [
        ("pickup_zone", pa.int16()),
        ("dropoff_zone", pa.int16()),
        ("distance_miles", pa.float32()),
        ("passenger_count", pa.float32()),
        ("minute_of_day", pa.int16()),
        ("weekday", pa.int8()),
        ("month", pa.int8()),
        ("is_holiday", pa.int8()),
        ("duration_minutes", pa.float64()),
        ("for_training", pa.bool_()),
    ]
)


def _request_arrays(batch: pa.RecordBatch) -> dict[str, Array]:
    return {name: batch[name].to_numpy(zero_copy_only=False) for name in REQUEST_COLUMNS}


def _zone_codes(name: str, zones: Any) -> Array:
    codes = _floats(name, zones).astype(np.float64)
    known = (codes >= 1) & (codes < ZONES)
    return np.where(known, codes, 0).astype(np.int16)


def _floats(name: str, values: Any) -> Array:
    if isinstance(values, np.ndarray) and values.dtype != object:
        return values.astype(np.float32)
    try:
        return pd.to_numeric(pd.Series(values)).to_numpy(np.float32, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise MlopsError(f"requests: {name} should hold numbers: {error}") from error


def _times(values: Any) -> Array:
    """Wall clock; a time zone says which, and is taken off."""
    if isinstance(values, pd.Series) and isinstance(values.dtype, pd.DatetimeTZDtype):
        values = values.dt.tz_localize(None)
    try:
        return np.asarray(values, "datetime64[s]")
    except (TypeError, ValueError) as error:
        raise MlopsError(f"requests: pickup_at should hold times: {error}") from error


def _miles(name: str, values: Any) -> Array:
    """Distances, NaN for what no ride can be: beyond the Moon, or not a number."""
    with np.errstate(over="ignore"):
        miles = _floats(name, values)
    return np.where(np.abs(miles) < 1e6, miles, np.float32(np.nan))


def _counts(name: str, requests: Mapping[str, Any] | pd.DataFrame, rows: int) -> Array:
    """Whole numbers, NaN for what cannot be a count, or where the column is left out."""
    counts = _floats(name, requests[name]) if name in requests else np.full(rows, np.nan, np.float32)
    possible = (counts >= 0) & (counts < 1e6) & (counts == np.floor(counts))
    return np.where(possible, counts, np.float32(np.nan))


def _years(months: Array) -> tuple[int, int]:
    """First and last year of months counted from 1970-01."""
    return (1970 + int(months.min()) // 12, 1970 + int(months.max()) // 12) if len(months) else (1970, 1970)


@functools.lru_cache(maxsize=64)
def _holidays(years: tuple[int, int]) -> Array:
    calendar = holidays.country_holidays("US", subdiv="NY", years=range(years[0], years[1] + 1))
    return np.array(sorted(calendar), "datetime64[D]")


def _statistics(columns: Mapping[str, Array]) -> pd.DataFrame:
    rows = []
    for name, values in columns.items():
        present = values[~np.isnan(values.astype(np.float32))].astype(np.float64)
        extent = (present.min(), present.sum(), present.max()) if len(present) else (np.nan, 0.0, np.nan)
        rows.append((name, len(values), len(values) - len(present), *extent))
    return pd.DataFrame(rows, columns=["feature", "rows", "missing", "min", "total", "max"])
