"""The three steps of monitoring a month, called by Mage's blocks and by the command line.

Each step takes and returns a small table that describes data (months, paths, counts), never the trips or a model.
"""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd

from mlops import config, locks
from mlops.monitoring import comparing, judging, months, publishing, reactions
from mlops.monitoring.judging import FOLDER, Judged
from mlops.monitoring.months import NothingToDo
from mlops.monitoring.settings import MonitoringSettings
from mlops.pipeline import months_table
from mlops.registry import monitoring_log

logger = logging.getLogger(__name__)


def load_month(settings: MonitoringSettings) -> pd.DataFrame:
    """The month to compare, with the versions that served and the months before it: fetched and cleaned.

    Returns
    -------
    DataFrame of one row for each month and role
        As `months.as_table`. If there is nothing to do, one row with the reason (`months_table.NOTHING`), which
        the later steps return unchanged.

    Raises
    ------
    MlopsError
        As `months.find`.
    """
    config.threads()  # reports wrong settings of the machine before anything is fetched
    found = months.find(settings)
    if isinstance(found, NothingToDo):
        logger.info("nothing to do: %s", found.reason)
        return months_table.nothing_to_do(found.reason, found.month)
    for note in filter(None, (found.no_predecessor, *found.notes)):
        logger.info("%s %s: %s", found.name, found.month, note)
    return months.as_table(found)


def compare_month(table: pd.DataFrame, settings: MonitoringSettings) -> pd.DataFrame:
    """The month compared with what the champion had promised, judged, and kept in a folder for the next step.

    Parameters
    ----------
    table : DataFrame
        From `load_month`.
    settings : MonitoringSettings

    Returns
    -------
    DataFrame
        As `Judged.as_table`; or `table`, if there is nothing to do.

    Raises
    ------
    MlopsError
        As `comparing.compare`.
    """
    if months_table.is_nothing(table):
        return table
    months.connect(settings)
    compared = comparing.compare(months.from_table(table), config.threads())
    judged = judging.judge(compared, settings, monitoring_log.records(compared.watched.name))
    for finding in judged.record.findings:
        logger.info("%s: %s", finding.cause, finding.text)
    return judged.as_table(judged.write())


def react_and_report(table: pd.DataFrame, settings: MonitoringSettings) -> pd.DataFrame:
    """What monitoring did about the month; its record, metrics and report are in MLflow then.

    Repeating it, also after a kill, ends the same.

    Parameters
    ----------
    table : DataFrame
        From `compare_month`.
    settings : MonitoringSettings

    Returns
    -------
    DataFrame of one row
        ``month``, ``model``, ``champion``, ``rmse`` (minutes), ``alarm``, ``causes``, ``action``, ``title`` and
        ``text`` (of the message), ``record`` (as JSON); or `table`, if there is nothing to do.

    Raises
    ------
    MlopsError
        When the registry does not answer or refuses.
    """
    if months_table.is_nothing(table):
        return table
    months.connect(settings)
    judged = Judged.read(Path(table[FOLDER].iloc[0]))
    with locks.hold(f"{judged.watched.name}.monitoring", about=f"monitoring of {judged.watched.month}"):
        done = reactions.react(judged.watched, judged.record, settings)
        kept = publishing.publish(judged, done)
    return publishing.as_table(judged, kept)
