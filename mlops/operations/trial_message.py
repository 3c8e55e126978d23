"""A message for a trial, through the channels that unattended runs use, and what became of it in each."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Final

from mlops import config
from mlops.errors import MlopsError
from mlops.files import read_variables
from mlops.operations import channel_settings, channels, heartbeat
from mlops.operations.channels import Message
from mlops.operations.doctor import stack
from mlops.operations.doctor.stack import Mage
from mlops.registry import local_stack

HEARTBEAT: Final = "heartbeat"
TAKEN, REFUSED, NOT_TRIED = "took it", "did not take it", "not tried"


@dataclass(frozen=True)
class Tried:
    """What became of the message in one channel.

    Parameters
    ----------
    channel : str
        Its name, or `HEARTBEAT`.
    outcome : str
        `TAKEN`, `REFUSED` or `NOT_TRIED`.
    text : str
        Why, or what it means; perhaps empty. No address is in it.
    """

    channel: str
    outcome: str
    text: str


@dataclass(frozen=True)
class Trial:
    """The Mage whose channels are tried.

    Parameters
    ----------
    mage : Mage
        Its project and its variables, which no text shows.
    place : str
        Where a person sets the channels.
    """

    mage: Mage
    place: str

    @classmethod
    def of_this_machine(cls) -> Trial:
        """The stack of this state folder, started or not; without one, the Mage of this environment.

        Raises
        ------
        MlopsError
            When the stack is of another user, so that its variables cannot be read.
        """
        if not local_stack.exists():
            return cls(stack.mage(is_started=False), "Mage's environment")
        secrets = config.state().stack / ".env"
        place = f"{secrets}, then run make stack-stop stack"
        try:
            if not stack.is_started():
                return cls(_of_stopped_stack(secrets), place)
            mage = stack.mage(is_started=True)
        except (OSError, ValueError) as error:
            raise MlopsError(
                f"{secrets}: the stack's variables cannot be read ({type(error).__name__})"
            ) from error
        if not mage.variables:
            raise MlopsError(
                f"{config.state().stack}: the variables of this stack's Mage cannot be read; run this as the user "
                "who started it"
            )
        return cls(mage, place)

    def send(self) -> Iterator[Tried]:
        """Send the message to one channel after the other, then ask for the heartbeat's address.

        Raises
        ------
        MlopsError
            When the project's settings cannot be read; and at the end, when no channel is set.
        """
        configured = channel_settings.load(self.mage.project, self.mage.variables)
        is_any_set = False
        for delivery in channels.deliver(_message(), configured):
            is_any_set = True
            yield Tried(delivery.channel, TAKEN if not delivery.problem else REFUSED, delivery.problem)
        yield from self._heartbeat()
        if not is_any_set:
            raise MlopsError(
                "no channel for messages is set, so nobody learns of a verdict or of a failed run. Set "
                f"SLACK_WEBHOOK_URL, TEAMS_WEBHOOK_URL, or SMTP_HOST, SMTP_FROM and SMTP_TO in {self.place}"
            )

    def _heartbeat(self) -> Iterator[Tried]:
        given = self.mage.variables.get(heartbeat.VARIABLE)
        if given in heartbeat.UNSET:
            return
        if heartbeat.PLACE in str(given):
            yield Tried(
                HEARTBEAT, NOT_TRIED, f"its address has {heartbeat.PLACE}, so only a check can fill it in"
            )
            return
        problem = channels.ask(heartbeat.address(str(given), "", has_failed=False))
        yield Tried(HEARTBEAT, REFUSED if problem else TAKEN, problem or "as after a check that went well")


def _of_stopped_stack(secrets: Path) -> Mage:
    """The Mage that the next start of the stack starts; it serves a copy of the project, once there is one."""
    copy = secrets.parent / "trip_duration"
    project = copy if (copy / "metadata.yaml").exists() else config.PROJECT
    return Mage({**os.environ, **read_variables(secrets)}, project, is_stack=True)


def _message() -> Message:
    now = datetime.now(timezone.utc)
    return Message(
        "trip-duration: a test message",
        f"Messages about judged months and failed runs come here. Sent on {now:%Y-%m-%d %H:%M} UTC from "
        f"{socket.gethostname()} with `notify --test`.",
    )
