"""Settings of one scoring run, validated before it starts.

The variables of the Mage pipeline and the options of the command line have the same names and defaults. The
tracking server, the state folder and the number of threads come from the environment, as in training.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, field_validator

from mlops.config import CheckedSettings, Service, Settings, without_credentials

ALIASES = ("champion", "challenger")
TABLE = "trip_durations"  # default table in PostgreSQL
_OF_MONTHS = ("service", "month", "source", "source_patience", "connect_timeout", "tracking_patience")


class ScoringSettings(CheckedSettings):
    """Settings of one scoring run; `ScoringSettings()` scores a generated month with the sample's champion.

    The description of each ``Field`` is also the help of its command-line option.

    Raises
    ------
    ConfigError
        From `ScoringSettings.parse`, which the command line and the Mage blocks call.
    """

    input: str = Field(
        "",
        description="A Parquet or CSV file, a folder of such files, or a URL of one; without it, a month is "
        "scored.",
    )
    service: Service = Field("green", description="Service of the month: green, yellow or fhvhv.")
    month: str = Field(
        "2023-06", description="Month to score, YYYY-MM, or next: the newest that the source has."
    )
    source: str = Field(
        "sample",
        description="Where the month comes from: sample (generated trips), tlc (TLC's site), a folder, or an "
        "https://, s3:// or gs:// URL.",
    )
    model: str = Field(
        "",
        description="Registered model; without it, that of the month's service, or for an input the only one "
        "there is.",
    )
    version: str = Field(ALIASES[0], description=f"Version: {' or '.join(ALIASES)}, or a number.")
    to: str = Field(
        "",
        description="Where the results go: a folder, s3://bucket/folder or "
        "postgresql://user:password@host/database; without it, the folder scored in the state folder.",
    )
    table: str = Field(TABLE, description="Table for the results, if they go to PostgreSQL.")
    source_patience: float = Field(
        0.0, ge=0, le=86_400, description="Maximum seconds to keep trying a source that does not answer."
    )
    connect_timeout: float = Field(
        5.0, gt=0, le=300, description="Maximum seconds to wait for a server's first answer."
    )
    tracking_patience: float = Field(
        60.0,
        ge=0,
        le=86_400,
        description="Maximum seconds to keep trying a tracking server that stops answering during a run.",
    )

    @field_validator("version", mode="before")
    @classmethod
    def _a_version(cls, value: Any) -> str:
        """Mage's forms turn a number in a text field into a number."""
        text = str(value).strip()
        if text not in ALIASES and not (text.isascii() and text.isdigit() and int(text)):
            raise ValueError(f"expected {', '.join(ALIASES)} or a number; got {value!r}")
        return text

    @field_validator("input", "to", "model")
    @classmethod
    def _stripped(cls, text: str) -> str:
        return text.strip()

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> ScoringSettings:
        """Settings from names and values; missing names get their defaults.

        Raises
        ------
        ConfigError
            For the first unknown name (naming the nearest known one) or bad value.

        Examples
        --------
        >>> ScoringSettings.parse({"service": "yellow", "month": "2023-10", "version": 3}).version
        '3'
        >>> ScoringSettings.parse({"inputs": "trips.csv"})
        Traceback (most recent call last):
            ...
        mlops.errors.ConfigError: unknown setting 'inputs'; did you mean 'input'?
        """
        of_months = Settings.parse({name: values[name] for name in _OF_MONTHS if name in values})
        return super().parse({**values, "source": of_months.source, "month": of_months.month})

    def of_months(self) -> Settings:
        """The settings with which training would fetch the same month."""
        return Settings.parse({name: getattr(self, name) for name in _OF_MONTHS})

    def describe(self) -> dict[str, str]:
        """All settings as text; URLs are without credentials."""
        shown = {name: without_credentials(getattr(self, name)) for name in ("input", "source", "to")}
        return {name: str(value) for name, value in (self.model_dump() | shown).items()}
