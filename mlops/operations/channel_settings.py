"""The channels for messages that a Mage project sets in its metadata.yaml, read without Mage.

Mage fills its environment into that file and makes a configuration of it. What is valid here is what is valid
there.
Source: mage_ai/orchestration/notification/config.py and services/*/config.py, mage-ai 0.9.80.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import jinja2
import yaml

from mlops.errors import MlopsError, one_line
from mlops.operations.channels import WEBHOOKS

UNSET: Final = (None, "None")  # the second: docker-compose.yml and Mage's templates write it for nothing
_MAIL: Final = {"smtp_user": None, "smtp_password": None, "smtp_port": 587, "to_emails": None}
_ALERT: Final[Mapping[str, Any]] = {
    "url": None, "api_key": None, "priority": "P3", "responders": [], "tags": [], "details": {},
}  # fmt: skip
"""What Mage fills in for keys that the file does not have."""


def read(project: Path, variables: Mapping[str, str]) -> dict[str, Any]:
    """The part ``notification_config`` of a project's metadata.yaml, with environment variables filled in.

    Raises
    ------
    MlopsError
        When the file cannot be read so.
    """
    path = project / "metadata.yaml"
    try:
        text = jinja2.Template(path.read_text(encoding="utf-8")).render(env_var=variables.get)
        return dict((yaml.safe_load(text) or {}).get("notification_config") or {})
    except (OSError, ValueError, TypeError, AttributeError, jinja2.TemplateError, yaml.YAMLError) as error:
        # Its own text may quote the file, with the secrets that were filled in.
        why = one_line(error) if isinstance(error, OSError) else type(error).__name__
        raise MlopsError(
            f"{path}: Mage's settings cannot be read ({why}); correct notification_config"
        ) from error


def load(project: Path, variables: Mapping[str, str]) -> Any:
    """The channels, as `channels.send` takes them: with the attributes of Mage's own configuration.

    Raises
    ------
    MlopsError
        As `read`.
    """
    known = read(project, variables)
    found: dict[str, Any] = {
        f"{name}_config": _webhook(name, known.get(f"{name}_config")) for name in WEBHOOKS
    }
    found["email_config"] = _filled(known.get("email_config"), _MAIL)
    alert = _filled(known.get("opsgenie_config"), _ALERT)
    if alert:
        alert.is_valid = alert.url not in UNSET and alert.api_key not in UNSET
    return SimpleNamespace(**found, opsgenie_config=alert)


def _webhook(name: str, keys: Any) -> SimpleNamespace | None:
    if not keys:
        return None
    given = keys.get("webhook_url")
    urls = given if isinstance(given, list) else [given]
    unset = (*UNSET, "") if name == "teams" else UNSET
    return SimpleNamespace(webhook_url=urls, is_valid=bool(urls) and not any(url in unset for url in urls))


def _filled(keys: Any, usual: Mapping[str, Any]) -> SimpleNamespace | None:
    return SimpleNamespace(**{**usual, **keys}) if keys else None
