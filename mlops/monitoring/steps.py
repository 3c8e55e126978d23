"""The three steps of monitoring a month, called by Mage's blocks and by the command line.

Each step takes and returns a small table that describes data (months, paths, counts), never the trips or a model.
"""

from __future__ import annotations

import logging

import pandas as pd

from mlops import config
from mlops.monitoring import comparing, months
from mlops.monitoring.comparing import Compared
from mlops.monitoring.months import NothingToDo
from mlops.monitoring.settings import MonitoringSettings
from mlops.pipeline import months_table

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


def compare_month(table: pd.DataFrame, settings: MonitoringSettings) -> Compared:
    """The month compared with what the champion had promised.

    Parameters
    ----------
    table : DataFrame
        From `load_month`.
    settings : MonitoringSettings

    Raises
    ------
    MlopsError
        As `comparing.compare`.
    """
    months.connect(settings)
    return comparing.compare(months.from_table(table), config.threads())
