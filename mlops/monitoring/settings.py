"""Settings of monitoring one month, validated before it starts.

The variables of the Mage pipeline and the options of the command line have the same names and defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from mlops.config import CheckedSettings, Service, Settings

_OF_MONTHS = ("service", "month", "source", "source_patience", "connect_timeout", "tracking_patience")


class MonitoringSettings(CheckedSettings):
    """Settings of monitoring; `MonitoringSettings()` compares a generated month with the sample's champion.

    The description of each ``Field`` is also the help of its command-line option.

    Raises
    ------
    ConfigError
        From `MonitoringSettings.parse`, which the command line and the Mage blocks call.
    """

    service: Service = Field("green", description="Taxi service: green, yellow or fhvhv.")
    month: str = Field(
        "2023-07",
        description="Month to compare, YYYY-MM, or next: the first published month after all compared ones, from "
        "the champion's test month on.",
    )
    source: str = Field(
        "sample",
        description="Where the months come from: sample (generated trips), tlc (TLC's site), a folder, or an "
        "https://, s3:// or gs:// URL.",
    )
    model: str = Field("", description="Registered model; without it, that of the month's service.")
    rollback: bool = Field(
        True,
        description="Make the predecessor champion again if the champion is significantly worse on this month.",
    )
    retrain: bool = Field(
        False,
        description="Train on this month at once if the error grew and another mix of rides is not why.",
    )
    min_improvement: float = Field(
        0.03,
        ge=0,
        lt=1,
        description="Share of the champion's RMSE by which the predecessor's must be lower for a rollback; more "
        "than for a promotion, because winter favours models of other months by up to 2.5 percent.",
    )
    max_error_growth: float = Field(
        0.1,
        ge=0,
        description="Share by which RMSE at constant mix may grow without an alarm (0.1 is 10 percent); "
        "Septembers had 16 to 20 percent.",
    )
    source_patience: float = Field(
        0.0, ge=0, le=86_400, description="Maximum seconds to keep trying a source that does not answer."
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

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> MonitoringSettings:
        """Settings from names and values; missing names get their defaults.

        Raises
        ------
        ConfigError
            For the first unknown name (naming the nearest known one) or bad value.

        Examples
        --------
        >>> MonitoringSettings.parse({"service": "yellow", "month": "2019-02"}).rollback
        True
        """
        of_months = Settings.parse({name: values[name] for name in _OF_MONTHS if name in values})
        given = {name: getattr(of_months, name) for name in ("source", "month") if name in values}
        return super().parse({**values, **given})

    def of_months(self) -> Settings:
        """The settings with which training would fetch the same month."""
        return Settings.parse({name: getattr(self, name) for name in _OF_MONTHS})
