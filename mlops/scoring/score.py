"""All inputs of a run, from the setting to the results.

`score` is the whole story; the Mage blocks call its two steps.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from mlops import config
from mlops.errors import TripSchemaError
from mlops.files import sha256_of
from mlops.registry import client, loading, operator, versions
from mlops.registry.loading import Loaded
from mlops.registry.local_copy import limit_threads
from mlops.scoring.drafts import RUN_KEY
from mlops.scoring.exports import Export, open_export
from mlops.scoring.inputs import Input, find_inputs
from mlops.scoring.results import write_result
from mlops.scoring.settings import ScoringSettings

logger = logging.getLogger(__name__)

SCORED, SKIPPED = "scored", "skipped"
_IN_TEXT = {
    "input": "input", "rows": "rows", "answered": "answered", "rejected": "rejected",
    "out_of_range": "out of range", "distance_missing": "no distance", "mean_minutes": "mean minutes",
    "rmse_minutes": "RMSE", "outcome": "outcome",
}  # fmt: skip


def score(settings: ScoringSettings) -> pd.DataFrame:
    """Score all files that the settings name; a file that was scored before by the same version is skipped.

    A run that ended too early is finished by starting it again: each result is complete or absent.

    Returns
    -------
    DataFrame of one row for each file
        As `predict_durations`.

    Raises
    ------
    ConfigError, SourceError, TripSchemaError
        When there is nothing to score, or a file cannot be read.
    PromotionError, UntrustedError, TrackingError
        When there is no such version, it is not signed, or the registry does not answer.
    """
    return predict_durations(load_requests(settings), settings)


def load_requests(settings: ScoringSettings) -> pd.DataFrame:
    """The files to score and the version that will answer.

    Returns
    -------
    DataFrame of one row for each file
        ``input`` (address without credentials), ``path`` (on this machine), ``sha256``, ``month`` (empty if it is
        not a TLC month), ``sample`` (whether its trips are generated), ``model``, ``version`` (number).
    """
    open_export(settings.to, settings.table, settings.connect_timeout)  # refuses what cannot be written
    files = find_inputs(settings)
    connect(settings)
    name = operator.registered_model(settings.model) if settings.model else _model_of(settings, files)
    version = loading.choose(name, settings.version)
    about = {"model": version.name, "version": version.number}
    rows = [
        {
            "input": f.label,
            "path": str(f.path),
            "sha256": f.sha256,
            "month": f.month,
            "sample": f.sample,
            **about,
        }
        for f in files
    ]
    return pd.DataFrame(rows)


def predict_durations(requests: pd.DataFrame, settings: ScoringSettings) -> pd.DataFrame:
    """Answer all rows of the files from `load_requests`, and deliver each file's result when it is complete.

    Returns
    -------
    DataFrame of one row for each file
        ``input``, ``rows``, ``answered``, ``rejected``, ``out_of_range``, ``distance_missing``, ``mean_minutes``,
        ``rmse_minutes`` (None where the file does not say when trips ended), ``model``, ``version``, ``run_key``,
        ``reasons`` (why rows were rejected, as text),
        ``result`` (its name), ``output`` (where it is), ``outcome`` (scored, or skipped: it was scored before).
    """
    export = open_export(settings.to, settings.table, settings.connect_timeout)
    connect(settings)
    version = versions.get(str(requests["model"].iloc[0]), str(requests["version"].iloc[0]))
    loaded = loading.load(version, config.state().versions)
    limit_threads(loaded.model, config.threads())
    rows = [_score_one(_input_of(row), loaded, export) for row in requests.to_dict("records")]
    return pd.DataFrame(rows)


def connect(settings: ScoringSettings) -> None:
    """Connect this process to the tracking server of this machine."""
    client.connect(
        config.tracking_uri(), config.state_dir(), settings.connect_timeout, settings.tracking_patience
    )


def _model_of(settings: ScoringSettings, files: list[Input]) -> str:
    """Registered model for a month: that of its service; for other files the only one there is."""
    if settings.input:
        return operator.only_model("with --model")
    return versions.model_name(settings.service, sample=files[0].sample)


def _input_of(row: Mapping[Hashable, Any]) -> Input:
    return Input(Path(row["path"]), row["input"], row["sha256"], row["month"], bool(row["sample"]))


def _score_one(file: Input, loaded: Loaded, export: Export) -> dict[str, Any]:
    name = f"{file.stem}.{loaded.version.name}-v{loaded.version.number}"
    with export.drafts(name) as drafts:
        summary = export.find(name, file.sha256)
        outcome, output = SKIPPED, export.where(name)
        if summary is None or summary.get(RUN_KEY) != loaded.run_key:  # a version 1 of another registry
            summary, outcome = write_result(file, loaded, drafts), SCORED
            _require_unchanged(file)
            output = export.put(drafts)
    logger.info("%s: %s: %s rows", file.label, outcome, f"{summary['rows']:,}")
    shown = (
        "rows", "answered", "rejected", "out_of_range", "distance_missing", "mean_minutes", "rmse_minutes",
        "model", "version", "run_key",
    )  # fmt: skip
    kept = {key: summary[key] for key in shown}
    reasons = "; ".join(f"{reason}: {count:,}" for reason, count in summary["reasons"].items())
    return {
        "input": file.label,
        **kept,
        "reasons": reasons,
        "result": name,
        "output": output,
        "outcome": outcome,
    }


def _require_unchanged(file: Input) -> None:
    """Raise `TripSchemaError` if the file is no longer the one that was found: its result may be of both."""
    if (sha256 := sha256_of(file.path)) != file.sha256:
        raise TripSchemaError(
            f"{file.label}: expected the file with sha256 {file.sha256[:12]}; got {sha256[:12]}: it has changed "
            "since it was found. Start again when nobody writes to it."
        )


def as_text(summary: pd.DataFrame) -> str:
    """The table from `score`: a line for each file, then the version, and where the results are."""
    table = summary[[*_IN_TEXT]].rename(columns=_IN_TEXT).astype({"mean minutes": float, "RMSE": float})
    last = summary.iloc[-1]
    lines = [
        table.to_string(index=False, na_rep="-", float_format="%.3f"),
        f"answered by {last['model']} version {last['version']}, run key {last['run_key'][:12]}",
        *(f"rejected of {row['input']}: {row['reasons']}" for _, row in summary.iterrows() if row["reasons"]),
        *summary["output"],
    ]
    return "\n".join(lines)
