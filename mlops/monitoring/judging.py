"""A compared month with its alarm and causes, kept in a folder that one step leaves for the next."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import pandas as pd

from mlops import config
from mlops.errors import TripSchemaError
from mlops.files import atomic_folder
from mlops.monitoring import causes, comparing, drift, estimates, faults, months
from mlops.monitoring.changes import Change, SliceChange
from mlops.monitoring.comparing import Compared
from mlops.monitoring.months import Watched
from mlops.monitoring.settings import MonitoringSettings
from mlops.registry import monitoring_record
from mlops.registry.monitoring_record import Record

SLICES = 8  # that a record keeps
FOLDER = "folder"  # column of the tables that the steps return: where everything about the month is


@dataclass(frozen=True, eq=False)
class Judged:
    """A compared month, with what it means.

    Parameters
    ----------
    watched : Watched
    record : Record
        Without its action and its run.
    now : DataFrame
        Sums of the month, from `sums.sum_up`.
    promised : DataFrame or None
        Sums of the champion's test month.
    drift : DataFrame
        From `drift.table`; empty without months before.
    """

    watched: Watched
    record: Record
    now: pd.DataFrame
    promised: pd.DataFrame | None
    drift: pd.DataFrame

    @property
    def change(self) -> Change | None:
        """The change of the champion's RMSE, from the sums; None without its test month."""
        return comparing.changes_of(self.promised, self.now, ("rmse",)).get("rmse")

    def write(self) -> Path:
        """Replace what the folder of this month and version has; the folder."""
        folder = _place(self.watched)
        shutil.rmtree(folder, ignore_errors=True)
        with atomic_folder(folder) as passing:
            for name, table in self._tables().items():
                table.to_parquet(passing / f"{name}.parquet", index=False)
            (passing / "record.json").write_text(monitoring_record.to_json(self.record), encoding="utf-8")
        return folder

    def _tables(self) -> dict[str, pd.DataFrame]:
        promised = {} if self.promised is None else {"promised": self.promised}
        return {"months": months.as_table(self.watched), "now": self.now, "drift": self.drift, **promised}

    @classmethod
    def read(cls, folder: Path) -> Judged:
        """What `write` wrote, with the versions as the registry has them now.

        Raises
        ------
        TripSchemaError
            When the folder is gone, or somebody changed it.
        """
        kept = _kept_record(folder)
        tables = {path.stem: pd.read_parquet(path) for path in folder.glob("*.parquet")}
        if kept is None or not {"months", "now", "drift"} <= tables.keys():
            raise TripSchemaError(
                f"{folder}: expected a compared month; got {'another content' if folder.is_dir() else 'nothing'}. "
                "Compare the month again."
            )
        watched = months.from_table(tables["months"])
        return cls(watched, kept, tables["now"], tables.get("promised"), tables["drift"])

    def as_table(self, folder: Path) -> pd.DataFrame:
        """The month for people: a row for each measure, a column for each contender.

        Returns
        -------
        DataFrame
            ``month``, ``measure``, ``champion``, ``promised``, ``predecessor``, ``pair median`` (minutes; coverage
            as a share; empty where there is none), ``alarm``, ``causes``, ``folder``.
        """
        found = comparing.measures_by_contender(self.now, self.promised)
        found.insert(0, "month", self.record.month)
        return found.assign(
            alarm=self.record.alarm, causes=", ".join(self.record.causes), **{FOLDER: str(folder)}
        )


def judge(compared: Compared, settings: MonitoringSettings, earlier: Sequence[Record] = ()) -> Judged:
    """Alarm and causes of a compared month.

    Parameters
    ----------
    compared : Compared
    settings : MonitoringSettings
    earlier : sequence of Record
        Compared months of the same model.
    """
    watched = compared.watched
    found = faults.find(watched.now, watched.before) if watched.before else ()
    table = drift.table(watched.now, watched.before)
    measured = comparing.measured(compared) | _estimated(compared) | _largest(table)
    last_year = next((each for each in earlier if each.month == str(watched.month - 12)), None)
    if not any(finding.cause in causes.SLOWNESS for finding in found):
        found = (*found, *causes.of_bias(measured, last_year))
    judgement = causes.judge(measured, found, settings)
    return Judged(watched, _record(compared, measured, judgement), compared.now, compared.promised, table)


def _estimated(compared: Compared) -> dict[str, float]:
    """The error that could be expected before the durations were known, for the track record of such estimates."""
    if compared.promised is None:
        return {}
    expected = estimates.estimate(compared.promised, compared.now).rmse
    return {"rmse_estimated": expected} if math.isfinite(expected) else {}


def _largest(table: pd.DataFrame) -> dict[str, float]:
    values = table["psi"].dropna() if "psi" in table else pd.Series(dtype=float)
    return {"drift_largest": float(values.max())} if len(values) else {}


def _record(compared: Compared, measured: dict[str, float], judgement: causes.Judgement) -> Record:
    watched, change = compared.watched, compared.changes.get("rmse")
    slices = _telling(change)[:SLICES] if change else ()
    return Record(
        month=str(watched.month),
        champion=watched.champion.number,
        predecessor=watched.predecessor.number if watched.predecessor else "",
        promised_month=watched.champion.tags.get("test_month", ""),
        trips=compared.trips,
        measured=measured,
        alarm=judgement.alarm,
        causes=judgement.causes,
        findings=judgement.findings,
        slices=tuple((each.slice, each.minutes, each.share) for each in slices),
        at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        notes=compared.notes,
    )


def _telling(change: Change) -> list[SliceChange]:
    """Slices that explain the change at constant mix: those that changed more than all rides together.

    All of them where the whole did not change for sure.
    """
    low, high = change.within_interval
    if not (low > 0 or high < 0):
        return [*change.slices]
    return [each for each in change.slices if each.minutes / change.within > 1]


def _place(watched: Watched) -> Path:
    name = f"{watched.month}-v{watched.champion.number}"
    return config.state().monitoring / "compared" / watched.name / name


def _kept_record(folder: Path) -> Record | None:
    try:
        return monitoring_record.from_json((folder / "record.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
