"""What is mended in Mage's messages and in its records of failures: neither may hold a secret.

- Mage sends one message itself: a run passed its trigger's `sla`. Where that fails, Mage logs the webhook's URL,
  which is a password. `mlops.operations.channels` sends it instead.
- Mage keeps the traceback of a failed block in its database. Errors of libraries in it may quote an address.

Source: orchestration/notification/sender.py and orchestration/pipeline_scheduler_original.py in mage_ai 0.9.80.
"""

from __future__ import annotations

from typing import Any

from mage_ai.orchestration.notification.sender import NotificationSender
from mage_ai.orchestration.pipeline_scheduler_original import PipelineScheduler

from mlops import masking
from mlops.operations import channels
from mlops.operations.channels import Message


def mend() -> None:
    """Mend this process and those that it will fork."""
    masking.mask_logs()
    NotificationSender.send = _send
    PipelineScheduler.on_block_failure = _masked(PipelineScheduler.on_block_failure)


def _send(sender: Any, title: str = "", summary: str | None = None, details: str | None = None) -> None:
    if summary is not None:
        channels.send(Message(title or "Mage", details or summary), sender.config)


def _masked(record: Any) -> Any:
    def on_block_failure(scheduler: Any, block_uuid: str, **named: Any) -> None:
        error = named.get("error") or {}
        shown = {name: _shown(value) for name, value in error.items()}
        record(scheduler, block_uuid, **{**named, "error": shown})

    return on_block_failure


def _shown(value: Any) -> Any:
    if isinstance(value, list):
        return [_shown(each) for each in value]
    return masking.mask(str(value))
