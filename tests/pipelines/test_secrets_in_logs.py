"""A run that fails, in whatever way, writes no secret: not to a file, not to its output."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import pytest
from support.doors import PIPELINE, PROJECT, Ended, Machine
from support.failures import closed_port
from support.inbox import TOKEN, receiving

# Each has characters that an address gives a meaning; no part of it is an ordinary word.
PASSWORD = "Qx7/vK@2%zJ#9w:Lp?m8Rt"
ENCODED = quote(PASSWORD, safe="")
KEY = "wJq9+Xz/Bv7Kd2/Rt5Yp3Lm8Nc4Hs6Gf1Td0"
SECRETS = (PASSWORD, ENCODED, KEY, TOKEN)
OF_THE_ENVIRONMENT = {
    "AWS_SECRET_ACCESS_KEY": KEY,
    "MLFLOW_TRACKING_PASSWORD": PASSWORD,
    "MAGE_DB_PASSWORD": PASSWORD,
    "POSTGRES_PASSWORD": KEY,
    "SMTP_PASSWORD": PASSWORD,
    "MLFLOW_TRACKING_USERNAME": "owner",
}

# Calls Mage's callback for a failed run, and Mage's own sender, with the most talkative log.
NOTIFY = f"""
import importlib.util, logging, os, sys
logging.basicConfig(level=logging.DEBUG)
from mage_ai.data_preparation.repo_manager import get_repo_config
from mage_ai.orchestration.notification.config import NotificationConfig
from mage_ai.orchestration.notification.sender import NotificationSender
try:
    from stack import mage_messages
except ImportError:
    mage_messages = None
else:
    mage_messages.mend()
    keep = mage_messages._masked(lambda scheduler, block, error: print("in Mage's database:", error))
    url = "https://me:" + os.environ["SMTP_PASSWORD"] + "@host/"
    keep(None, "load_trips", error={{"error": OSError(url), "errors": ["at " + url], "message": url}})
spec = importlib.util.spec_from_file_location("notify", "callbacks/notify.py")
notify = importlib.util.module_from_spec(spec)
notify.callback = lambda event: lambda function: function
spec.loader.exec_module(notify)
run = {{"pipeline_uuid": "{PIPELINE}", "pipeline_run_id": 7, "service": "green", "source": "sample"}}
notify.notify_of_a_failure(__error=OSError("the disk is full"), **run)
config = NotificationConfig.load(config=get_repo_config().notification_config)
NotificationSender(config).send("a run takes too long", "why", "why")
print("sent to", config.slack_config.webhook_url[:4], config.teams_config.webhook_url[0][:4])
"""


@pytest.fixture
def port() -> Iterator[int]:
    with closed_port() as port:
        yield port


def written(machine: Machine, ended: Ended) -> dict[str, str]:
    """All that a machine's processes wrote, by place."""
    files = [path for path in machine.folder.rglob("*") if path.is_file()]
    texts = {str(path.relative_to(machine.folder)): path.read_bytes().decode("latin-1") for path in files}
    return {**texts, "output": ended.output}


def leaks(texts: dict[str, str]) -> list[tuple[str, str]]:
    """Where a part of a secret is: eight characters of one are no accident."""
    parts = {secret[start : start + 8] for secret in SECRETS for start in range(len(secret) - 7)}
    return [(place, part) for place, text in texts.items() for part in parts if part in text]


TRACKING = "MLFLOW_TRACKING_URI"


@pytest.mark.parametrize(
    ("variables", "source", "reported"),
    [
        ({TRACKING: "postgresql://mlflow:{raw}@127.0.0.1:{port}/mlflow"}, "sample", f"{TRACKING}: expected"),
        ({TRACKING: "postgresql://mlflow:{odd}@127.0.0.1:{port}/mlflow"}, "sample", "no answer within"),
        ({TRACKING: "http://owner:{enc}@127.0.0.1:{port}"}, "sample", "no answer within"),
        ({"LOCK_URL": "postgresql://mage:{odd}@127.0.0.1:{port}/mage"}, "sample", "does not answer"),
        ({}, "http://me:{enc}@127.0.0.1:{port}/trips?X-Signature={enc}", "no answer after 4 attempts"),
    ],
)  # fmt: skip
def test_a_failed_run_writes_no_secret(
    variables: dict[str, str], source: str, reported: str, ready: Machine, port: int
) -> None:
    values = {"raw": PASSWORD, "enc": ENCODED, "odd": PASSWORD.replace("@", ""), "port": port}
    ready.variables.update(OF_THE_ENVIRONMENT)
    ready.variables.update({name: text.format(**values) for name, text in variables.items()})
    ended = ready.train("--verbose", month="2023-03", source=source.format(**values))
    assert ended.status != 0, ended.output
    assert reported in ended.output
    assert leaks(written(ready, ended)) == []
    assert ready.state.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("status", [0, 200, 404])
def test_a_webhook_that_fails_leaves_its_url_in_no_log(status: int, ready: Machine, port: int) -> None:
    with ExitStack() as stack:
        inbox = stack.enter_context(receiving())
        inbox.status = status or 200
        url = inbox.url if status else f"http://127.0.0.1:{port}/services/{TOKEN}"
        ready.variables.update(OF_THE_ENVIRONMENT)
        ready.variables.update(SLACK_WEBHOOK_URL=url, TEAMS_WEBHOOK_URL=f"{url}?sig={ENCODED}")
        with ready.start(sys.executable, "-c", NOTIFY, cwd=PROJECT) as process:
            ended = process.end()
    assert "sent to http http" in ended.stdout, ended.output
    assert "in Mage's database: {'error': 'https://me:****@host/', 'errors': ['at https:" in ended.stdout
    assert len(inbox.posted) == (4 if status == 200 else 0)
    texts = written(ready, ended)
    if status != 200:
        assert "slack did not take the message 'a run takes too long'" in ended.output
    assert leaks(texts) == []
    assert Path(ready.state / "told").is_dir()
