"""A month's record, metrics and report in MLflow, and the table that the last step returns."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import pandas as pd

from mlops import config
from mlops.monitoring import estimates, measures, message, report
from mlops.monitoring.judging import Judged
from mlops.monitoring.report import ReportData
from mlops.registry import monitoring_log, monitoring_record
from mlops.registry.monitoring_record import Record

REPORT = "report.html"
FLAG = "alarm"  # metric: 1 with an alarm, else 0


def publish(judged: Judged, done: Record) -> Record:
    """Keep a month in MLflow, its record last; the record, with the run that has the report.

    The caller holds the lock of the model's monitoring. Repeating it replaces what was kept.

    Parameters
    ----------
    judged : Judged
    done : Record
        With its action, from `reactions.react`.

    Raises
    ------
    TrackingError
        As `monitoring_log.write`.
    """
    name, month = judged.watched.name, done.month
    metrics = {**done.measured, FLAG: float(done.alarm)}
    config.state().monitoring.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=config.state().monitoring) as folder:
        files = _files(judged, done, Path(folder))
        run_id = monitoring_log.write(name, month, monitoring_record.to_json(done), metrics, files)
    return replace(done, run_id=run_id)


def _files(judged: Judged, done: Record, folder: Path) -> list[Path]:
    """The files of the month, written to `folder`."""
    sums, page = folder / "sums.parquet", folder / REPORT
    judged.now.to_parquet(sums, index=False)
    page.write_text(report.page(_shown(judged, done)), encoding="utf-8")
    return [sums, page]


def _shown(judged: Judged, done: Record) -> ReportData:
    name = judged.watched.name
    earlier = [each for each in monitoring_log.records(name) if each.month < done.month]
    return ReportData(
        name=name,
        record=done,
        errors=report.errors_of(done, judged.now, judged.promised),
        change=judged.change,
        by_slice=measures.by_slice(judged.now),
        drift=judged.drift,
        earlier=earlier,
        track_record=str(estimates.track_record(earlier)),
    )


def as_table(judged: Judged, done: Record) -> pd.DataFrame:
    """What was done about the month, for people and for the message: one row, as `steps.react_and_report`."""
    name = judged.watched.name
    row = {
        "month": done.month,
        "model": name,
        "champion": done.champion,
        "rmse": done.value("rmse"),
        "alarm": done.alarm,
        "causes": ", ".join(done.causes),
        "action": done.action,
        "title": f"{name} {done.month}: {'alarm' if done.alarm else 'no alarm'}",
        "text": message.text(done, monitoring_log.link(name)),
        "record": monitoring_record.to_json(done),
    }
    return pd.DataFrame([row])
