"""The columns of our matrix as arrays, for other libraries; of the benchmark, this and `ours` call `mlops`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from benchmarks.ours import feature_files

if TYPE_CHECKING:
    from mlops.model.duration_model import DurationModel
    from mlops.training.feature_files import Batch

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Encoded:
    """Trips as a model sees them.

    Parameters
    ----------
    table : float32 array of shape (n, number of features)
        NaN where a value is missing.
    minutes : array of shape (n,)
        Actual durations.
    """

    table: Array
    minutes: Array


def encoded(cleaned: Sequence[Path], folder: Path, model: DurationModel, seed: int) -> dict[str, Encoded]:
    """The columns of a fit's matrix for other libraries: the parts ``training``, ``validation`` and ``test``.

    The last clean month is the test month, the one before it the validation month. Training trips are encoded out
    of fold, the validation month with all training trips, and the test month as `model` does it: with all earlier
    trips. A zone has the same code in all parts.
    """
    from mlops.model.encoder import ENCODED, Totals
    from mlops.training.boosting import FOLDS
    from mlops.training.feature_files import FeatureFiles

    tables = feature_files(cleaned, folder)
    batches = list(FeatureFiles(tuple(tables[:-2]), True))
    folds = [
        np.random.default_rng((seed, number)).integers(0, FOLDS, len(batch.minutes))
        for number, batch in enumerate(batches)
    ]
    totals = Totals([name for name in model.features if name in ENCODED], FOLDS)
    for batch, fold in zip(batches, folds, strict=True):
        totals.add(batch.features, batch.minutes, fold)
    encoder = totals.encoder()
    out_of_fold = [
        totals.out_of_fold(batch.features, fold) for batch, fold in zip(batches, folds, strict=True)
    ]
    parts = {"training": _columns(model.features, batches, out_of_fold, encoder.zone_codes)}
    for part, path, fitted in (("validation", tables[-2], encoder), ("test", tables[-1], model.encoder)):
        batches = list(FeatureFiles((path,), False))
        statistics = [fitted.transform(batch.features) for batch in batches]
        parts[part] = _columns(model.features, batches, statistics, encoder.zone_codes)
    return parts


def _columns(
    features: tuple[str, ...],
    batches: Sequence[Batch],
    statistics: Sequence[dict[str, Array]],
    zone_codes: Array,
) -> Encoded:
    from mlops.model.duration_model import MISSING, feature_matrix

    parts = [
        feature_matrix(features, batch.features, encoded, zone_codes)
        for batch, encoded in zip(batches, statistics, strict=True)
    ]
    table = np.concatenate(parts)
    table[table == MISSING] = np.nan
    return Encoded(table, np.concatenate([batch.minutes for batch in batches]))
