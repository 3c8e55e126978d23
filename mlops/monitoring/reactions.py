"""What monitoring does about a bad month: it rolls the champion back, trains, or only says so.

One change a month: after a rollback nothing is trained, so that the next month shows what the rollback did.
A month whose data are wrong changes nothing, with one exception: a champion that no verdict supports.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from mlops.config import Settings
from mlops.errors import MlopsError, PromotionError, TrackingDownError, TrackingError, UntrustedError, command
from mlops.monitoring import causes
from mlops.monitoring.months import Watched
from mlops.monitoring.settings import MonitoringSettings
from mlops.pipeline import steps
from mlops.registry import alias_log, operator, overrides, runs
from mlops.registry.alias_log import CHAMPION, Entry
from mlops.registry.monitoring_record import Record

NONE, ALERT, RETRAIN, ROLLBACK = "none", "alert", "retrain", "rollback"
VALUES_STAY_RIGHT = ("duplicated_trips", *causes.MAY_LAST)
"""Faults in spite of which the trips that are there are right."""
CAN_BE_LEARNT = (causes.SLOWER, causes.FASTER, "new_zone")  # faults that training is the answer to
logger = logging.getLogger(__name__)


def react(watched: Watched, record: Record, settings: MonitoringSettings) -> Record:
    """The record with its `action` and with what was `done`.

    A rerun finds its own rollback in the journal, or its own version under the run key, and says the same again.

    Parameters
    ----------
    record : Record
        With ``gain_predecessor``, ``gain_predecessor_low``, ``gain_predecessor_high``, ``change_within_low`` among
        its measured values, and with alarm, causes and findings of `causes.judge`.

    Raises
    ------
    TrackingDownError
        When the registry does not answer; the next run continues.
    """
    found = _react(watched, record, settings)
    logger.info("%s %s: %s", watched.name, watched.month, ": ".join(filter(None, (found.action, found.done))))
    return found


def _react(watched: Watched, record: Record, settings: MonitoringSettings) -> Record:
    entries = operator.settled_journal(watched.name)
    own = operator.move_of(entries, watched.month)
    if own:
        return _rolled_back(record, own)
    obstacle = ""
    if causes.is_beaten(record.measured, settings):
        obstacle = _obstacle(watched, record, settings, entries)
        if watched.predecessor and not obstacle:
            return _roll_back(watched, watched.predecessor.number, record)
    if settings.retrain and causes.has_grown(record.measured, settings) and _can_be_learnt(record):
        return _retrain(watched, record, settings)
    return _alert(record, obstacle)


def _obstacle(
    watched: Watched, record: Record, settings: MonitoringSettings, entries: Sequence[Entry]
) -> str:
    """Why a champion that its predecessor beats is not rolled back, as a sentence; empty if it can be."""
    champion, predecessor = watched.champion.number, watched.predecessor
    now = alias_log.current(watched.name, CHAMPION)
    if predecessor is None:
        return watched.no_predecessor or "there is no predecessor"
    if now != champion:
        return f"version {champion} is no longer champion, so nothing was rolled back"
    if not settings.rollback:
        return f"nothing was rolled back, because the setting rollback is off; {_by_hand(watched)}"
    if operator.was_rolled_back(entries, predecessor.number):
        return f"nothing was rolled back, because version {predecessor.number} was itself rolled back before"
    if _fault_explains(watched, record):
        return (
            f"nothing was rolled back, because the data of {watched.month} are wrong, which may be why version "
            f"{champion} is worse; compare the month again once it is corrected, or {_by_hand(watched)}"
        )
    return ""


def _by_hand(watched: Watched) -> str:
    to = watched.predecessor.number if watched.predecessor else ""
    return f"to do it by hand: {command(f'rollback --model {watched.name} --to {to} --reason ...')}"


def _fault_explains(watched: Watched, record: Record) -> bool:
    """Whether wrong data explain better than a bad champion why its predecessor is better on the month.

    So it is with a champion that won on the data of its test month. One that a person forced in, against its
    verdict, has won nowhere.
    """
    distorted = any(
        finding.is_fault and finding.cause not in VALUES_STAY_RIGHT for finding in record.findings
    )
    return distorted and overrides.verdict_of(watched.champion) == overrides.PROMOTE


def _can_be_learnt(record: Record) -> bool:
    return all(found.cause in CAN_BE_LEARNT for found in record.findings if found.is_fault)


def _roll_back(watched: Watched, to: str, record: Record) -> Record:
    """Roll back to version `to`; where that fails, the champion stays and the record says why."""
    number = watched.champion.number
    try:
        entry = operator.rollback_for(watched.name, watched.month, number, to, _reason(record, number, to))
    except (PromotionError, UntrustedError) as error:
        logger.error("%s: version %s stays champion: %s", watched.name, number, error)
        return _failed(record, f"version {number} stays champion, the rollback failed: {error}")
    return _rolled_back(record, entry)


def _reason(record: Record, champion: str, predecessor: str) -> str:
    """For the journal: how much worse the champion is on the month."""
    rmse, gain, low, high = (
        record.value(name)
        for name in ("rmse", "gain_predecessor", "gain_predecessor_low", "gain_predecessor_high")
    )
    return (
        f"RMSE {rmse:.4f} of version {champion} is {gain / (rmse - gain):.2%} above the {rmse - gain:.4f} of "
        f"version {predecessor} on {record.trips:,} trips of {record.month}; the 95 % interval of the difference "
        f"is {low:.4f} to {high:.4f} minutes"
    )


def _rolled_back(record: Record, entry: Entry) -> Record:
    done = f"version {entry.after} is champion again instead of version {entry.before}: {entry.reason}"
    return replace(record, action=ROLLBACK, done=done)


def _retrain(watched: Watched, record: Record, settings: MonitoringSettings) -> Record:
    """Train on the month, unless a run with the same run key has done it before."""
    try:
        result = steps.train(_training_settings(watched, settings))
    except TrackingDownError:
        raise
    except MlopsError as error:
        logger.error("%s: training on %s failed: %s", watched.name, watched.month, error)
        return _failed(record, f"training on {watched.month} failed: {error}")
    made = result.version
    done = (
        f"version {made.number} was trained and tested on {watched.month}: {result.outcome}" if made else ""
    )
    return replace(record, action=RETRAIN, done=done)


def _training_settings(watched: Watched, settings: MonitoringSettings) -> Settings:
    """As the champion was trained, on the month: so the schedule finds this version, and trains no other one."""
    of_months = settings.of_months().for_month(watched.month)
    names = of_months.result_settings().keys() - {"service", "month"}
    values = {name: text for name, text in _recorded(watched).items() if name in names}
    chosen = {name: None if text == "None" else text for name, text in values.items()}
    return Settings.parse({**of_months.model_dump(), **chosen})


def _recorded(watched: Watched) -> Mapping[str, str]:
    """Settings of the champion's run; none if the run is gone."""
    try:
        return runs.parameters_of(watched.champion.run_id)
    except TrackingDownError:
        raise
    except TrackingError as error:
        logger.warning("%s: trained with the default settings: %s", watched.champion.uri, error)
        return {}


def _failed(record: Record, said: str) -> Record:
    """An alert in any case: somebody must do what could not be done."""
    return _alert(replace(record, alarm=True), said)


def _alert(record: Record, said: str) -> Record:
    """An alert, if there is an alarm; what was not done, and why, is said in any case."""
    return replace(record, action=ALERT if record.alarm else NONE, done=said)
