"""Settings: what a run is about, validated before anything is touched.

The Mage pipeline's variables repeat these names and defaults (a test proves
them equal), and so do the command line's options. Where things are kept comes
from the environment instead, because it belongs to a machine and not to a run:

``MLOPS_STATE_DIR``
    Folder for everything that is written (default ``.state`` in the project).
``MLFLOW_TRACKING_URI``
    Tracking server (default a SQLite file in the state folder).
``MLOPS_THREADS``
    Threads for XGBoost (default the cores that this process may use).
``LOCK_URL``
    PostgreSQL whose advisory locks keep runs apart on several hosts (default files in the state folder).
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from mlops.errors import ConfigError
from mlops.month import Month, MonthError

PROJECT = Path(__file__).resolve().parent.parent
TLC_SITE = "https://d37ci6vzurychx.cloudfront.net/trip-data"
Service = Literal["green", "yellow", "fhvhv"]
SERVICES: tuple[str, ...] = get_args(Service)
NEXT = "next"  # instead of a month: the one that the schedule waits for
SCHEDULE = ("start_month", "end_month")  # which month `next` may be; of no meaning beside a month's name
OPERATIONAL = (
    *SCHEDULE, "source", "source_patience", "publication_wait", "connect_timeout", "tracking_patience",
    "on_busy", "force",
)  # fmt: skip  # how, not what


class Settings(BaseModel):
    """What one training run is about.

    Parameters are described by their ``Field``; `Settings()` is the sample run.

    Raises
    ------
    ConfigError
        From `Settings.parse`, which every door uses.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    service: Service = Field("green", description="taxi service: green, yellow or fhvhv")
    month: str = Field(
        "2023-06",
        description="test month, YYYY-MM, or next: the one after the newest judged, once it is published",
    )
    start_month: str | None = Field(
        None, description="with month next: the first test month of a model that has no judged one"
    )
    end_month: str | None = Field(
        None, description="with month next: no later test month, and gaps since start_month are filled first"
    )
    source: str = Field(
        "sample",
        description="where months come from: sample, tlc (its site), a folder, or an https://, s3:// or gs:// URL",
    )
    publication_wait: float = Field(
        0.0, ge=0, le=86_400, description="with month next: seconds to wait for it to be published"
    )
    source_patience: float = Field(
        0.0, ge=0, le=86_400, description="seconds to keep trying a source that does not answer"
    )
    train_months: int = Field(
        12, ge=1, le=120, description="most months of training before the validation month"
    )
    use_distance: bool = Field(True, description="use trip_distance, which TLC's meter knows only at the end")
    half_life_months: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="a month so much older than the newest weighs half in training",
    )
    max_trials: int = Field(
        18,
        ge=1,
        le=10_000,
        description="trials on the lowest rung of the search; a third of them go up, and so on",
    )
    warm_start: bool = Field(
        True, description="begin the search with what did best in runs about earlier months"
    )
    tuning_seconds: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="ceiling on the search, in seconds; a run that hits it says so and cannot be repeated exactly",
    )
    seed: int = Field(42, ge=0, lt=2**31, description="seed of the search, the folds and XGBoost")
    min_rows_ratio: float = Field(
        0.5, ge=0, le=1, description="fewest rows of a month, as a share of its predecessors' median"
    )
    max_rows_ratio: float = Field(
        2.0, ge=1, description="most rows of a month, as a multiple of its predecessors' median"
    )
    max_rejections_ratio: float = Field(
        2.0, ge=1, description="most rejections of a month, as a multiple of its predecessors' median share"
    )
    compare_course: bool = Field(
        False, description="also fit and test the course's recipe: DictVectorizer over zone pair and distance"
    )
    allow_unusual_months: bool = Field(False, description="train although a month is unlike its predecessors")
    min_improvement: float = Field(
        0.01, ge=0, lt=1, description="share by which a challenger's RMSE must be below the champion's"
    )
    max_slice_regression: float = Field(
        0.1, ge=0, description="share by which no slice's RMSE may be above the champion's"
    )
    min_test_rows: int = Field(5000, ge=1, description="fewest trips of a test month that allow a verdict")
    max_champion_age_months: int = Field(
        3, ge=1, description="an older champion is replaced by a challenger that is not significantly worse"
    )
    connect_timeout: float = Field(
        5.0, gt=0, le=300, description="seconds to wait for the tracking server's first answer"
    )
    tracking_patience: float = Field(
        60.0, ge=0, le=86_400, description="seconds to keep trying a tracking server that went away in a run"
    )
    on_busy: Literal["wait", "refuse"] = Field(
        "wait", description="when another run works on the same model: wait or refuse"
    )
    force: bool = Field(False, description="train anew although this very run is registered already")

    @field_validator("month", *SCHEDULE)
    @classmethod
    def _a_month(cls, text: str | None, asked: ValidationInfo) -> str | None:
        if text is None or (text == NEXT and asked.field_name == "month"):
            return text
        try:
            return str(Month.parse(text))
        except MonthError as error:
            raise ValueError(error.problem) from error

    @field_validator("source")
    @classmethod
    def _a_source(cls, text: str) -> str:
        if not text.strip():
            raise ValueError("expected sample, tlc, a folder or a URL; got nothing")
        return text.strip()

    @model_validator(mode="after")
    def _a_range(self) -> Settings:
        if self.end_month is not None and (self.start_month is None or self.end_month < self.start_month):
            raise ValueError(
                f"end_month: expected start_month no later than {self.end_month}; got {self.start_month}"
            )
        return self

    @property
    def is_next(self) -> bool:
        """Whether the month is still to be found out."""
        return self.month == NEXT

    def for_month(self, month: Month | str) -> Settings:
        """The same about one month, called by its name."""
        return self.model_copy(update={"month": str(month), **dict.fromkeys(SCHEDULE)})

    def result_settings(self) -> dict[str, str]:
        """Settings that decide what comes out of a run, as text; not where from, how patiently or how often.

        The source is not among them, since the files' hashes say more than their address.
        """
        return {name: text for name, text in self.describe().items() if name not in OPERATIONAL}

    @property
    def test_month(self) -> Month:
        """The month that the run is about."""
        return Month.parse(self.month)

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Settings:
        """Settings from names and values; names that are left out take their defaults.

        Raises
        ------
        ConfigError
            For the first unknown name (naming the nearest known one) or bad value.

        Examples
        --------
        >>> Settings.parse({"service": "green", "month": "2023-10"}).train_months
        12
        >>> Settings.parse({"max_trails": 5})
        Traceback (most recent call last):
            ...
        mlops.errors.ConfigError: unknown setting 'max_trails'; did you mean 'max_trials'?
        """
        for name in values:
            if name not in cls.model_fields:
                raise ConfigError(_unknown_setting(name, tuple(cls.model_fields)))
        if values.get("service") == "fhv":
            raise ConfigError(
                "service: fhv trips have no distance in TLC's files, so their duration is not modelled here; "
                f"choose one of {', '.join(SERVICES)} (fhvhv is Uber and Lyft)"
            )
        try:
            return cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            raise ConfigError(_bad_value(first)) from error

    def describe(self) -> dict[str, str]:
        """Settings as text, one entry a setting, for a run's parameters; no password of a source's URL."""
        shown = self.model_dump() | {"source": without_credentials(self.source)}
        return {name: str(value) for name, value in shown.items()}


def without_credentials(address: str) -> str:
    """URL without user, password, query, fragment and closing slash; a path as it is.

    Examples
    --------
    >>> without_credentials("https://me:secret@example.org/trips/?sig=abc")
    'https://example.org/trips'
    """
    if "://" not in address:
        return address
    return re.split(r"[?#]", re.sub(r"//[^/]*@", "//", address))[0].rstrip("/")


def defaults() -> dict[str, Any]:
    """Every setting's default, as the pipeline's YAML repeats them."""
    return Settings().model_dump()


def state_dir() -> Path:
    """Folder that holds all state of this project on this machine (not created here)."""
    return Path(os.environ.get("MLOPS_STATE_DIR") or PROJECT / ".state").expanduser().resolve()


@dataclass(frozen=True)
class StateFolder:
    """Where each kind of state lies; every name below the state folder stands here, and nowhere else.

    Parameters
    ----------
    months, prepared : Path
        Copies of the sources' files; what the steps make of them.
    checkpoints : Path
        What attempts at a run leave for the next one.
    locks, sent : Path
        Lock files; notes about which messages were sent.
    artifacts, tracking_store : Path
        MLflow's, where no tracking server is named.
    backtests : Path
        What ``python -m mlops replay`` found.
    served_project : Path
        The copy of the Mage project that ``make stack`` serves.
    """

    months: Path
    prepared: Path
    checkpoints: Path
    locks: Path
    sent: Path
    artifacts: Path
    tracking_store: Path
    backtests: Path
    served_project: Path


def state() -> StateFolder:
    """The places of this machine's state folder (none is created here)."""
    root = state_dir()
    return StateFolder(
        months=root / "months",
        prepared=root / "prepared",
        checkpoints=root / "work",
        locks=root / "locks",
        sent=root / "told",
        artifacts=root / "artifacts",
        tracking_store=root / "mlflow.db",
        backtests=root / "replay",
        served_project=root / "stack" / "trip_duration",
    )


def tracking_uri() -> str:
    """Tracking store of this machine: ``MLFLOW_TRACKING_URI``, else SQLite in the state folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{state().tracking_store}"


def threads() -> int:
    """Threads that XGBoost may use.

    Raises
    ------
    ConfigError
        When ``MLOPS_THREADS`` is not a positive number.
    """
    text = os.environ.get("MLOPS_THREADS")
    if not text:
        import joblib  # late: a fifth of a second that most of the command line does not need

        return int(
            joblib.cpu_count()
        )  # the cores that affinity and a container's quota leave to this process
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise ConfigError(f"MLOPS_THREADS: expected a positive whole number; got {text!r}")
    return int(text)


def _unknown_setting(name: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known settings: {', '.join(known)}"
    return f"unknown setting {name!r}; {hint}"


def _bad_value(problem: Mapping[str, Any]) -> str:
    is_own = problem["type"] == "value_error"  # raised by a validator of `Settings`
    said = str(problem["ctx"]["error"] if is_own else problem["msg"])
    if not problem["loc"]:  # of several settings, which the message names
        return said
    name, got = problem["loc"][0], problem["input"]
    if name == "service":
        near = difflib.get_close_matches(str(got), SERVICES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"service: expected one of {', '.join(SERVICES)}; got {got!r}{hint}"
    return f"{name}: {said[0].lower()}{said[1:]}; got {got!r}"
