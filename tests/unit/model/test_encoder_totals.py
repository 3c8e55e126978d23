"""Totals batch by batch, and out of fold: no trip's encoding contains its own duration."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.builders import make_features
from support.tiny_city import ENCODED, PAST, PAST_MINUTES, WHOLE, asked, encode, rows, totals_of

from mlops.model.encoder import Encoder, Totals

# --- Batch by batch -----------------------------------------------------------------------------------------


cuts = st.lists(st.integers(0, 400), max_size=4).map(lambda places: [0, *sorted(places), 400])


@settings(max_examples=25)
@given(cuts, st.integers(1, 5))
def test_totals_over_batches_are_those_of_all_trips_at_once(edges: list[int], folds: int) -> None:
    known, minutes = make_features(400)
    parts = [slice(a, b) for a, b in itertools.pairwise(edges)]
    fold = np.random.default_rng(1).integers(0, folds, 400)
    totals, expected = totals_of(folds, known, minutes, fold, parts), Encoder.fit(known, minutes)

    assert totals.trips == 400
    for name, table in totals.encoder().tables.items():
        assert table.dtype == np.float32
        np.testing.assert_allclose(table, expected.tables[name], rtol=1e-6)


def test_trips_taken_in_later_count_too() -> None:
    known, minutes = make_features(200)
    totals = Totals(ENCODED, folds=1)
    assert totals.trips == 0
    for part, count in ((slice(0, 50), 50), (slice(50, 200), 200)):
        totals.add(rows(known, part), minutes[part], np.zeros(count - part.start, int))
        assert totals.trips == count
        expected = Encoder.fit(rows(known, slice(0, count)), minutes[:count])
        for name, table in totals.encoder().tables.items():
            np.testing.assert_allclose(table, expected.tables[name], rtol=1e-6)


# --- Out of fold --------------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(st.integers(2, 6), st.integers(0, 2**31))
def test_out_of_fold_means_are_those_of_the_other_folds(folds: int, seed: int) -> None:
    known, minutes = make_features(150)
    fold = np.random.default_rng(seed).integers(0, folds, 150)
    encoded = totals_of(folds, known, minutes, fold, (slice(0, 70), slice(70, 150))).out_of_fold(known, fold)

    assert list(encoded) == ENCODED
    for number in set(fold.tolist()):
        inside = fold == number
        others = Encoder.fit(rows(known, ~inside), minutes[~inside])
        expectations = others.transform(rows(known, inside))
        # A count that is to mean the same as the whole's.
        expectations["pair_trips"] = np.log1p(np.expm1(expectations["pair_trips"]) * folds / (folds - 1))
        for name, expected in expectations.items():
            assert encoded[name].dtype == np.float32
            np.testing.assert_allclose(encoded[name][inside], expected, rtol=1e-5)


def test_a_trips_own_duration_does_not_enter_its_own_encoding() -> None:
    known, minutes = make_features(400)
    fold = np.random.default_rng(3).integers(0, 5, 400)
    before = totals_of(5, known, minutes, fold, WHOLE).out_of_fold(known, fold)
    for position in range(0, 400, 40):
        other = minutes.copy()
        other[position] = 1000.0
        after = totals_of(5, known, other, fold, WHOLE).out_of_fold(known, fold)
        alike = fold == fold[position]  # nor into that of a trip of the same fold
        for name in before:
            # Sums are taken apart, not built up again: the last digits may differ.
            np.testing.assert_allclose(after[name][alike], before[name][alike], rtol=1e-5)
        assert not np.allclose(after["pair_minutes"][~alike], before["pair_minutes"][~alike], rtol=1e-3)


def test_a_part_of_the_trips_may_be_asked_about() -> None:
    known, minutes = make_features(300)
    fold = np.arange(300) % 4
    totals = totals_of(4, known, minutes, fold, WHOLE)
    whole, part = totals.out_of_fold(known, fold), slice(100, 137)

    for name, values in totals.out_of_fold(rows(known, part), fold[part]).items():
        np.testing.assert_array_equal(values, whole[name][part])


def test_one_trip_is_enough_to_fit() -> None:
    one, minutes, fold = rows(PAST, slice(0, 1)), PAST_MINUTES[:1], np.array([3])
    totals = totals_of(5, one, minutes, fold, WHOLE)
    encoded = totals.out_of_fold(one, fold)

    assert list(encoded) == ENCODED
    assert encode(totals.encoder(), asked(9, 9, 0, 0))["pair_minutes"] == pytest.approx(10.0)
    known = {name: float(values[0]) for name, values in encoded.items() if not math.isnan(values[0])}
    assert known == {"pair_trips": 0.0}  # nothing to learn out of fold
