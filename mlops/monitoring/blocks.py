"""What the Mage blocks of `trip_duration_monitoring` need beside the steps: their settings, and what they test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlops import mage
from mlops.monitoring.settings import MonitoringSettings


def from_mage(variables: Mapping[str, Any]) -> MonitoringSettings:
    """Settings from the keyword arguments that Mage gives to a block, like `mage.from_mage` for training."""
    return MonitoringSettings.parse(mage.own_variables(variables))
