"""The error to expect of a month that is not published yet, from the requests that the service was asked."""

from __future__ import annotations

import logging
import math
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd

from mlops import config
from mlops.data import ingest, request_log_files
from mlops.data.sources import Source
from mlops.errors import ConfigError, DataQualityError
from mlops.model.request_columns import CITY
from mlops.monitoring import answers, drift, estimates, months, printed, served, sums
from mlops.monitoring.drift import Moved
from mlops.monitoring.estimates import Estimate, TrackRecord
from mlops.monitoring.months import Prepared
from mlops.monitoring.served import Served
from mlops.monitoring.settings import MonitoringSettings
from mlops.month import Month
from mlops.pipeline import schedule
from mlops.registry import monitoring_log, operator
from mlops.registry.signed_version import service_of

logger = logging.getLogger(__name__)

NAMED = 3  # features that moved, in the text
FEWEST_REQUESTS = 500  # with fewer, their mix is mostly chance


@dataclass(frozen=True)
class Expected:
    """What is expected of a month before its durations are known.

    Parameters
    ----------
    name : str
        Registered model.
    month : str
        YYYY-MM.
    champion : str
        Number of the version that answered the requests.
    promised_month : str
        Its test month.
    promised : float
        Its RMSE there, minutes.
    requests : int
        Logged requests of the month that this version answered.
    estimate : Estimate
    track_record : TrackRecord
    drift : tuple of Moved
        How far the requests are from the trips of the months before, the furthest first.
    """

    name: str
    month: str
    champion: str
    promised_month: str
    promised: float
    requests: int
    estimate: Estimate
    track_record: TrackRecord
    drift: tuple[Moved, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The same for a program: the fields of `printed.ExpectedMonth`."""
        known = self.track_record
        return printed.ExpectedMonth(
            month=self.month,
            model=self.name,
            champion_version=self.champion,
            rmse_estimated=round(self.estimate.rmse, 4),
            rmse_from_widths=round(self.estimate.from_widths, 4),
            rmse_from_cells=round(self.estimate.from_cells, 4),
            promised_month=self.promised_month,
            rmse_promised=round(self.promised, 4),
            requests=self.requests,
            track_record=printed.TrackRecordOfEstimates(
                months=known.months,
                mean_absolute_difference=round(known.difference, 4),
                same_as_month_before=round(known.naive, 4),
            ),
            drift=tuple(
                printed.MovedColumn(**asdict(moved), is_large=moved.is_large) for moved in self.drift
            ),
        ).model_dump(mode="json")

    def __str__(self) -> str:
        expected = self.estimate.rmse
        change = expected / self.promised - 1
        return (
            f"{self.name} {self.month}, before its durations are known: expect RMSE {expected:.2f} minutes of "
            f"version {self.champion}, {abs(change):.0%} {'above' if change >= 0 else 'below'} its "
            f"{self.promised:.2f} on {self.promised_month}\n"
            f"  from the widths of its ranges: {_shown(self.estimate.from_widths)}\n"
            f"  from the mix of rides: {_shown(self.estimate.from_cells)}\n"
            f"  requests: {self.requests:,} in the service's log{self._moved()}\n"
            f"  {self.track_record}"
        )

    def _moved(self) -> str:
        large = [moved for moved in self.drift if moved.is_large][:NAMED]
        named = ", ".join(
            f"{moved.feature} (PSI {moved.psi:.2f}, usual below {moved.threshold:.2f})" for moved in large
        )
        return f"; unlike the trips of the months before in {named}" if named else ""


def expect(settings: MonitoringSettings) -> Expected:
    """The error to expect of the month of the settings; ``next`` is the first month that is not published yet.

    Raises
    ------
    DataQualityError
        When the request log has too few requests of the month.
    MlopsError
        As `served.find`; `ConfigError` also when the source no longer has the champion's test month.
    """
    months.connect(settings)
    of_months = settings.of_months()
    source = ingest.open_source(of_months)
    if settings.model:
        operator.registered_model(settings.model)
    name = settings.model or schedule.guess_model_name(of_months)
    month = _unpublished(name, settings, source) if of_months.is_next else of_months.test_month
    about = served.find(name, month)
    asked = requests_of(name, month, about.champion.number)
    before = _months_before(about, settings, source, month)
    tested = before[about.tested_on]
    given = {sums.CHAMPION: answers.answer(about.champion, tested, config.threads())}
    promised = sums.sum_up(tested, given)
    rmse = math.sqrt(promised[estimates.SQUARED].sum() / promised["trips"].sum())
    found = estimates.estimate(promised, estimates.requests_as_sums(asked))
    known = estimates.track_record(monitoring_log.records(name))
    usual = [before[each] for each in month.before(months.BEFORE) if each in before]
    moved = drift.of_requests(asked, month, usual)
    about_version = about.champion.number, str(about.tested_on)
    return Expected(name, str(month), *about_version, rmse, len(asked), found, known, moved)


def requests_of(name: str, month: Month, version: str) -> pd.DataFrame:
    """Rows of the request log that a version answered during a month, New York's time.

    Raises
    ------
    DataQualityError
        When there are too few to say anything.
    """
    folder = config.state().serving / request_log_files.FOLDER
    since, until = (_in_new_york(moment) for moment in (month.start, month.end))
    found = request_log_files.read(folder, since, until, service_of(name))
    kept = found[found["version"].astype(str) == version].reset_index(drop=True)
    if len(kept) < FEWEST_REQUESTS:
        others = f", and {len(found) - len(kept):,} of other versions" if len(found) > len(kept) else ""
        raise DataQualityError(
            f"{folder}: expected at least {FEWEST_REQUESTS} requests of {month} that version {version} of {name} "
            f"answered; got {len(kept):,}{others}. Choose a month in which the service was asked, or log a larger "
            "share of the requests (log_share)."
        )
    return kept


def _in_new_york(moment: datetime) -> datetime:
    return moment.replace(tzinfo=ZoneInfo(CITY))


def _unpublished(name: str, settings: MonitoringSettings, source: Source) -> Month:
    """The first month after the champion's test month that the source does not have."""
    first = served.champion_month(name) + 1
    asked = Month.range(first - 1, first + months.LOOKED_AHEAD - 1)
    there = set(months.published(source, settings, asked))
    return next(month for month in (*asked[1:], asked[-1] + 1) if month not in there)


def _months_before(
    about: Served, settings: MonitoringSettings, source: Source, month: Month
) -> dict[Month, Prepared]:
    """The champion's test month, and the other months before, as far as the source has them."""
    wanted = sorted({about.tested_on, *month.before(months.BEFORE)})
    found, _ = months.fetch_others(source, settings, wanted, month)
    if about.tested_on not in found:
        raise ConfigError(
            f"source: expected {about.tested_on}, on which version {about.champion.number} was tested, at "
            f"{source.url}; it is not there. Name the source that it was trained from."
        )
    return found


def _shown(minutes: float) -> str:
    return f"{minutes:.2f}" if math.isfinite(minutes) else "not known, because the version gives no ranges"
