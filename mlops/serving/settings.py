"""Settings of the service, validated before it starts.

Each has an option of ``python -m mlops.serving`` and an environment variable, ``--most-bytes`` and
``SERVE_MOST_BYTES``; the option counts more. State folder and registry come from ``MLOPS_STATE_DIR`` and
``MLFLOW_TRACKING_URI``, as everywhere.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator

from mlops.config import CheckedSettings
from mlops.serving.questions import SERVED

PREFIX = "SERVE_"


def _listed(value: Any) -> Any:
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value


class ServeSettings(CheckedSettings):
    """Settings of the service; `ServeSettings()` answers on this machine with every champion there is.

    The description of each ``Field`` is also the help of its command-line option.

    Raises
    ------
    ConfigError
        From `ServeSettings.parse` and `ServeSettings.from_environment`.
    """

    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65_535, description="Port to listen on; 0 is any that is free.")
    services: Annotated[tuple[str, ...], BeforeValidator(_listed)] = Field(
        (),
        description=f"Services to answer for, with commas: {', '.join(SERVED)}; none is every champion there is.",
    )
    refresh_seconds: float = Field(
        30.0, ge=0.1, le=3600, description="Seconds between two questions which version is champion."
    )
    workers: int = Field(1, ge=1, le=64, description="Processes that answer; each loads the models itself.")
    keys_file: Path | None = Field(
        None, description="File of API keys, which each request then needs; without it, none is needed."
    )
    without_keys: bool = Field(
        False, description="Listen on another address than this machine's although no key is needed."
    )
    host_names: Annotated[tuple[str, ...], BeforeValidator(_listed)] = Field(
        (),
        description="Names with a dot under which it may be asked without a key, with commas.",
    )
    requests_per_second: float = Field(
        0.0,
        ge=0,
        le=1e6,
        allow_inf_nan=False,
        description="Requests per second of one client; 0 is no limit.",
    )
    burst: int = Field(20, ge=1, le=100_000, description="Requests that a client may send at once.")
    most_at_once: int = Field(
        100, ge=1, le=10_000, description="Requests that one process answers at the same time."
    )
    most_bytes: int = Field(2**20, ge=1_000, le=2**28, description="Bytes of the largest body.")
    most_requests: int = Field(1_000, ge=1, le=1_000_000, description="Requests of the longest list.")
    body_seconds: float = Field(10.0, gt=0, le=3600, description="Seconds until a whole body must be there.")
    log_share: float = Field(
        0.01, ge=0, le=1, description="Share of the requests that the request log keeps; 0 is no log."
    )
    log_megabytes: float = Field(
        100.0, ge=1, le=1e6, description="Megabytes of the request log; its oldest file is deleted first."
    )

    @field_validator("services")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in SERVED:
                near = difflib.get_close_matches(name, SERVED, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise ValueError(f"expected some of {', '.join(SERVED)}, with commas{hint}")
        return tuple(dict.fromkeys(names))

    @field_validator("keys_file", mode="before")
    @classmethod
    def _a_path(cls, value: Any) -> Any:
        return Path(value).expanduser().absolute() if value else None

    @classmethod
    def from_environment(cls, given: Mapping[str, Any] | None = None) -> ServeSettings:
        """Settings from the options that are given, else the variables ``SERVE_*``, else the defaults.

        Raises
        ------
        ConfigError
            As `parse`; an unknown variable that begins with ``SERVE_`` is refused.

        Examples
        --------
        >>> ServeSettings.from_environment({"port": "8001", "services": "green, sample"}).services
        ('green', 'sample')
        """
        variables = {
            name.removeprefix(PREFIX).lower(): text
            for name, text in os.environ.items()
            if name.startswith(PREFIX) and text
        }
        return cls.parse({**variables, **(given or {})})

    def as_variables(self) -> dict[str, str]:
        """The settings as environment variables, for processes of their own: `from_environment` reads them."""
        shown = self.model_dump(exclude_none=True)
        return {
            f"{PREFIX}{name.upper()}": ",".join(value) if isinstance(value, tuple) else str(value)
            for name, value in shown.items()
        }
