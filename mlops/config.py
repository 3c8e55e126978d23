"""Settings of a run, validated before the run starts.

The variables of the Mage pipeline and the options of the command line have the same names and defaults. Paths and
addresses belong to a machine, so they come from environment variables:

``MLOPS_STATE_DIR``
    Folder for everything that is written (default ``.state`` in the project).
``MLFLOW_TRACKING_URI``
    Tracking server (default a SQLite file in the state folder).
``MLOPS_THREADS``
    Threads for XGBoost (default the cores that this process may use).
``MLOPS_MAX_MONTH_SIZE``
    Size of the largest month that is read, as a multiple of TLC's largest (default 2).
``LOCK_URL``
    PostgreSQL whose advisory locks coordinate runs on several hosts (default lock files in the state folder).
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from mlops import addresses
from mlops.addresses import sqlite_file as sqlite_file
from mlops.addresses import without_credentials as without_credentials
from mlops.errors import ConfigError
from mlops.month import Month, MonthError
from mlops.state_folder import PROJECT as PROJECT
from mlops.state_folder import StateFolder as StateFolder
from mlops.state_folder import state as state
from mlops.state_folder import state_dir as state_dir

TLC_SITE = "https://d37ci6vzurychx.cloudfront.net/trip-data"
Service = Literal["green", "yellow", "fhvhv"]
SERVICES: tuple[str, ...] = get_args(Service)
FIRST_YEAR, LAST_YEAR = 2009, 2099  # of a pickup time that is answered; TLC's records begin in 2009
Kind = TypeVar("Kind", bound="CheckedSettings")
NEXT = "next"  # value of `month`: the month that the schedule waits for
SCHEDULE = ("start_month", "end_month")  # limits of `next`; ignored when `month` names a month
EXPERIMENT = ("experiment", "experiment_note")  # make the run an experiment, which registers nothing
OPERATIONAL = (
    *SCHEDULE, "source", "source_patience", "publication_wait", "connect_timeout", "tracking_patience",
    "on_busy", "force", "require_approval", *EXPERIMENT,
)  # fmt: skip  # settings that do not change the result


class CheckedSettings(BaseModel):
    """Settings of any kind, which cannot change; each kind names its fields and their defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @classmethod
    def parse(cls: type[Kind], values: Mapping[str, Any]) -> Kind:
        """Settings from names and values; missing names get their defaults.

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
        for name in [name for name in values if name not in cls.model_fields]:
            raise ConfigError(_unknown_setting(name, tuple(cls.model_fields)))
        try:
            return cls(**values)
        except ValidationError as error:
            raise ConfigError(_bad_value(error.errors()[0], cls)) from error


class Settings(CheckedSettings):
    """Settings of one training run; `Settings()` is a run on generated trips.

    The description of each ``Field`` is also the help of its command-line option.
    """

    service: Service = Field("green", description="Taxi service: green, yellow or fhvhv (Uber and Lyft).")
    month: str = Field(
        "2023-06",
        description="Test month, YYYY-MM, or next: the month after the newest judged one, once it is published.",
    )
    start_month: str | None = Field(
        None, description="With month next: the first test month, used when no month is judged yet."
    )
    end_month: str | None = Field(
        None,
        description="With month next: the last test month; the run takes the earliest month since start_month "
        "that is not judged.",
    )
    source: str = Field(
        "sample",
        description="Where the months come from: sample (generated trips), tlc (TLC's site), a folder, or an "
        "https://, s3:// or gs:// URL.",
    )
    publication_wait: float = Field(
        0.0, ge=0, le=86_400, description="With month next: maximum seconds to wait until it is published."
    )
    source_patience: float = Field(
        0.0, ge=0, le=86_400, description="Maximum seconds to keep trying a source that does not answer."
    )
    train_months: int = Field(
        12,
        ge=1,
        le=120,
        description="Maximum number of months in the training window, which ends before the validation month.",
    )
    use_distance: bool = Field(
        True,
        description="Use trip_distance as a feature, although the taxi's meter knows it only when the trip ends.",
    )
    half_life_months: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="Age in months at which a training month has half the weight of the newest one; none weighs "
        "all months equally.",
    )
    max_trials: int = Field(
        18,
        ge=1,
        le=10_000,
        description="Trials on the lowest rung of the search; the best third of each rung goes up to the next.",
    )
    warm_start: bool = Field(
        True, description="Use runs about earlier months: their best parameters, and their ranges' coverage."
    )
    tuning_seconds: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="Time limit of the search in seconds; a run that reaches it logs so and cannot be repeated "
        "exactly.",
    )
    seed: int = Field(42, ge=0, lt=2**31, description="Random seed of the search, the folds and XGBoost.")
    min_rows_ratio: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Refuse a test or validation month with fewer rows than this multiple of the median of the "
        "months before it.",
    )
    max_rows_ratio: float = Field(
        2.0,
        ge=1,
        description="Refuse a test or validation month with more rows than this multiple of the median of the "
        "months before it.",
    )
    max_rejections_ratio: float = Field(
        2.0,
        ge=1,
        description="Refuse a test or validation month whose share of rejected rows is above this multiple of the "
        "median share of the months before it.",
    )
    compare_course: bool = Field(
        False,
        description="Also fit and test the course's recipe, a well-known MLOps course's model: zone pair and "
        "distance through DictVectorizer, fixed XGBoost parameters.",
    )
    allow_unusual_months: bool = Field(
        False, description="Train although the test or validation month is unlike the months before it."
    )
    min_improvement: float = Field(
        0.01, ge=0, lt=1, description="Share by which RMSE must be below the champion's (0.01 is 1 percent)."
    )
    max_slice_regression: float = Field(
        0.1,
        ge=0,
        description="Largest share by which the challenger's RMSE may be above the champion's on any slice of the "
        "trips.",
    )
    max_coverage_error: float = Field(
        0.05,
        ge=0,
        le=1,
        description="Largest difference of the share of trips inside the 80 or 95 percent interval from 0.8 or "
        "0.95; with more, the champion stays (0.05 is 5 points; September 2023 was off by 3).",
    )
    min_test_rows: int = Field(
        5000, ge=1, description="Fewest trips of a test month; with fewer, the challenger is refused."
    )
    max_champion_age_months: int = Field(
        3,
        ge=1,
        description="Age in months above which a champion is replaced by a challenger that is not significantly "
        "worse.",
    )
    require_approval: Literal["never", "borderline", "always"] = Field(
        "never", description="Promotions that wait until a person approves them: never, borderline, always."
    )
    connect_timeout: float = Field(
        5.0, gt=0, le=300, description="Maximum seconds to wait for the tracking server's first answer."
    )
    tracking_patience: float = Field(
        60.0,
        ge=0,
        le=86_400,
        description="Maximum seconds to keep trying a tracking server that stops answering during a run.",
    )
    on_busy: Literal["wait", "refuse"] = Field(
        "wait",
        description="What to do when another run works on the same model: wait for it, or refuse to start.",
    )
    force: bool = Field(
        False, description="Train again although the registry already has a version with this run key."
    )

    experiment: str | None = Field(
        None,
        description="Name of an experiment: the run is tested and compared with the champion like any other, and "
        "nothing is registered. Letters, digits, spaces and . _ -, at most 60 characters; needs a named month.",
    )
    experiment_note: str = Field(
        "", max_length=2000, description="What the experiment tries and why, for the pages of MLflow."
    )

    @field_validator("month", *SCHEDULE)
    @classmethod
    def _a_month(cls, text: str | None, field: ValidationInfo) -> str | None:
        if text is None or (text == NEXT and field.field_name == "month"):
            return text
        try:
            return str(Month.parse(text))
        except MonthError as error:
            raise ValueError(error.problem) from error

    @field_validator("source")
    @classmethod
    def _a_source(cls, text: str) -> str:
        text = text.strip()
        if not text:
            raise ValueError("expected sample, tlc, a folder or a URL; got nothing")
        if text.lower() in ("sample", "tlc"):
            return text.lower()
        text = re.sub(r"^(https?|s3|gs):/?(?=[^/])", r"\1://", text, flags=re.IGNORECASE)  # https:/host
        return re.sub(r"^[a-z][a-z0-9+.-]*://", lambda scheme: scheme[0].lower(), text, flags=re.IGNORECASE)

    @field_validator("experiment")
    @classmethod
    def _an_experiment(cls, text: str | None) -> str | None:
        name = (text or "").strip()
        if name and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,59}", name):
            raise ValueError(
                "expected at most 60 characters: letters a to z, digits, spaces and . _ -, the first of them a "
                f"letter or digit; got {name!r}"
            )
        return name or None

    @field_validator("experiment_note", mode="before")
    @classmethod
    def _a_note(cls, text: object) -> object:
        return "" if text is None else text  # an empty field of Mage's form

    @model_validator(mode="after")
    def _a_named_month(self) -> Settings:
        if self.experiment and self.is_next:
            raise ValueError(
                f"month: an experiment needs a named test month, YYYY-MM; got {NEXT} with experiment "
                f"{self.experiment!r}"
            )
        return self

    @model_validator(mode="after")
    def _a_range(self) -> Settings:
        if self.end_month is not None and (self.start_month is None or self.end_month < self.start_month):
            raise ValueError(
                f"end_month: expected start_month no later than {self.end_month}; got {self.start_month}"
            )
        return self

    @property
    def is_next(self) -> bool:
        """Whether the test month must be found in the registry first."""
        return self.month == NEXT

    def for_month(self, month: Month | str) -> Settings:
        """The same settings with this test month, and without the limits of `next`."""
        return self.model_copy(update={"month": str(month), **dict.fromkeys(SCHEDULE)})

    def result_settings(self) -> dict[str, str]:
        """The settings that change a run's result, as text; the run key is made from these.

        `source` is not included: the run key contains the sha256 of each file, whatever its address is.
        """
        return {name: text for name, text in self.describe().items() if name not in OPERATIONAL}

    @property
    def test_month(self) -> Month:
        """The test month; raises `ConfigError` while it is `next`."""
        return Month.parse(self.month)

    def describe(self) -> dict[str, str]:
        """All settings as text, for a run's parameters; the source's URL is without credentials."""
        shown = self.model_dump() | {"source": without_credentials(self.source)}
        return {name: str(value) for name, value in shown.items()}


def tracking_uri() -> str:
    """Tracking store of this machine: ``MLFLOW_TRACKING_URI``, else SQLite in the state folder.

    Raises
    ------
    ConfigError
        As `sqlite_file`.
    """
    address = addresses.given_tracking_uri() or f"sqlite:///{state().tracking_store}"
    sqlite_file(address)
    return address


def threads() -> int:
    """Threads that XGBoost may use.

    Raises
    ------
    ConfigError
        When ``MLOPS_THREADS`` is not a positive number.
    """
    text = os.environ.get("MLOPS_THREADS")
    if not text:
        import joblib  # here, because it takes 0.2 s that most commands do not need

        return int(joblib.cpu_count())  # respects CPU affinity and a container's quota
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise ConfigError(f"MLOPS_THREADS: expected a positive whole number; got {text!r}")
    return int(text)


def _unknown_setting(name: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known settings: {', '.join(known)}"
    return f"unknown setting {name!r}; {hint}"


def _bad_value(problem: Mapping[str, Any], kind: type[CheckedSettings]) -> str:
    is_own = problem["type"] == "value_error"  # raised by a validator of `Settings`
    message = str(problem["ctx"]["error"] if is_own else problem["msg"])
    if not problem["loc"]:  # about several settings, which the message names
        return message
    name, got = problem["loc"][0], problem["input"]
    if name == "service" and got == "fhv":
        return (
            "service: fhv trips have no distance in TLC's files, so their duration is not modelled here; "
            f"choose one of {', '.join(SERVICES)} (fhvhv is Uber and Lyft)"
        )
    if problem["type"] == "literal_error":
        choices = get_args(kind.model_fields[name].annotation)
        near = difflib.get_close_matches(str(got), choices, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"{name}: expected one of {', '.join(choices)}; got {got!r}{hint}"
    message = f"{name}: {message[0].lower()}{message[1:]}"
    is_shown = is_own and got and (str(got) in message or repr(got) in message)
    return message if is_shown else f"{message}; got {got!r}"
