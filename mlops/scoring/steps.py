"""The steps of the Mage pipeline `trip_duration_scoring`; one block calls each.

A result is written to the state folder first, and then delivered. So a delivery that fails is repeated without
scoring again.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from mlops import config, mage
from mlops.errors import DataQualityError
from mlops.scoring import inputs, score
from mlops.scoring.drafts import INPUT_SHA256, RUN_KEY, read_summary
from mlops.scoring.exports import Export, FolderExport, open_export
from mlops.scoring.settings import ScoringSettings

logger = logging.getLogger(__name__)

DELIVERED, KEPT = "delivered", "was there"
TITLES_OF_REQUESTS = {
    "input": "input", "rows": "rows", "megabytes": "MB", "month": "month", "model": "model", "version": "version",
}  # fmt: skip
TITLES_OF_RESULTS = {
    "input": "input", "rows": "rows", "answered": "answered", "rejected": "rejected", "mean_minutes": "mean (min)",
    "rmse_minutes": "RMSE (min)", "outcome": "outcome", "version": "version", "reasons": "why rejected",
}  # fmt: skip
"""What the blocks show of the tables of `load_requests` and `predict_durations`."""
_SHOWN = ["result", "rows", "answered", "rejected"]


def from_mage(variables: Mapping[str, Any]) -> ScoringSettings:
    """Settings from the keyword arguments that Mage gives to a block, like `mage.from_mage` for training."""
    return ScoringSettings.parse(mage.own_variables(variables))


def load_requests(settings: ScoringSettings) -> pd.DataFrame:
    """The files to score and the version that will answer, as `score.load_requests`, with each file's size.

    Returns
    -------
    DataFrame of one row for each file
        Also ``rows`` (null for CSV, which does not say it) and ``megabytes``.
    """
    found = score.load_requests(_kept_here(settings))
    paths = [Path(path) for path in found["path"]]
    rows = [None if inputs.is_csv(path) else pq.read_metadata(path).num_rows for path in paths]
    return found.assign(
        rows=pd.array(rows, "Int64"), megabytes=[round(path.stat().st_size / 1e6, 2) for path in paths]
    )


def predict_durations(requests: pd.DataFrame, settings: ScoringSettings) -> pd.DataFrame:
    """Score the files, as `score.predict_durations`; the results are in the state folder."""
    return score.predict_durations(requests, _kept_here(settings))


def export_predictions(
    summary: pd.DataFrame, settings: ScoringSettings, profile: Mapping[str, Any]
) -> pd.DataFrame:
    """Deliver the results to where the setting `to` says; what is already there is left as it is.

    Parameters
    ----------
    summary : DataFrame
        From `predict_durations`.
    profile : mapping
        Names and credentials, as in `exports.open_export`.

    Returns
    -------
    DataFrame of one row for each result
        ``result``, ``rows``, ``answered``, ``rejected``, ``place`` (where it is now), ``outcome``.
    """
    here = FolderExport(config.state().scored)
    there = open_export(settings.to, settings.table, settings.connect_timeout, profile)
    outcomes = [_deliver(name, here, there) for name in summary["result"]]
    places = [there.where(name) for name in summary["result"]]
    return summary[_SHOWN].assign(place=places, outcome=outcomes)


def check_requests(requests: pd.DataFrame) -> None:
    """Raise `DataQualityError` unless there is a file, and each one exists."""
    gone = [path for path in requests["path"] if not Path(path).is_file()]
    if gone or requests.empty:
        raise DataQualityError(
            f"load_requests: expected files to score; got {len(requests)}, missing: {gone}"
        )


def check_rows(summary: pd.DataFrame) -> None:
    """Raise `DataQualityError` unless every row of every file was answered or rejected."""
    lost = summary.loc[summary["answered"] + summary["rejected"] != summary["rows"], "result"].tolist()
    if lost or summary.empty:
        raise DataQualityError(
            f"results: expected answered + rejected = rows in each; got {len(summary)} results, lost in {lost}"
        )


def _kept_here(settings: ScoringSettings) -> ScoringSettings:
    """The same settings for results in the state folder."""
    return settings.model_copy(update={"to": ""})


def _deliver(name: str, here: FolderExport, there: Export) -> str:
    summary = read_summary(here.output(name)) or {}
    with there.drafts(name) as drafts:
        found = there.find(name, str(summary.get(INPUT_SHA256)))
        if found is not None and found.get(RUN_KEY) == summary.get(RUN_KEY):
            return KEPT
        shutil.copyfile(here.output(name), drafts.output)
        if summary.get("rejected"):
            shutil.copyfile(here.rejected(name), drafts.rejected)
        there.put(drafts)
    logger.info("%s: delivered to %s", name, there.where(name))
    return DELIVERED
