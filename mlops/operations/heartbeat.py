"""A heartbeat: an address that is asked for after each check, so that another program notices when checks end.

A scheduler that is dead sends no message. Services for this (a "dead man's switch") give an address, wait for a
request to it every so often, and alarm if none comes, or at once if one comes with ``/fail`` at its end.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit, urlunsplit

from mlops.operations import channels

if TYPE_CHECKING:
    from mlops.registry.last_check import Work  # late: it imports MLflow, which a test message does not need

logger = logging.getLogger(__name__)

VARIABLE: Final = "HEARTBEAT_URL"
PLACE: Final = "{check}"  # in the address: each kind of check is watched on its own
UNSET: Final = (None, "", "None")  # docker-compose.yml passes the text None where it is not set


def send(service: str, work: Work, *, has_failed: bool) -> None:
    """Ask for the address of the environment, if it has one; what goes wrong is logged, without the address.

    Parameters
    ----------
    service : str
    work : {"training", "monitoring"}
        With the service, which check it is: ``green-training``.
    has_failed : bool
        Whether it ended with an error. The address then ends with ``/fail``.
    """
    given = os.environ.get(VARIABLE)
    if given in UNSET:
        return
    if problem := channels.ask(address(str(given), f"{service}-{work}", has_failed=has_failed)):
        logger.warning("the heartbeat was not taken: %s; it is the address in %s", problem, VARIABLE)


def address(given: str, check: str, *, has_failed: bool) -> str:
    """The address to ask for.

    Examples
    --------
    >>> address("https://hc.example/ping/{check}?create=1", "green-training", has_failed=True)
    'https://hc.example/ping/green-training/fail?create=1'
    >>> address("https://hc.example/5f1c0a9b", "green-training", has_failed=False)
    'https://hc.example/5f1c0a9b'
    """
    filled = given.strip().replace(PLACE, check)
    if not has_failed:
        return filled
    try:
        parts = urlsplit(filled)
    except ValueError:  # no address; asking for it says so
        return filled
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/fail"))
