"""What Mage and a notebook show of an error begins with the error's message."""

from __future__ import annotations

import json
import sys

import pytest
from IPython.core.interactiveshell import InteractiveShell
from support.doors import Machine

WRONG = {"max_trials": 0}
CAUSE = "max_trials: input should be greater than or equal to 1; got 0"

# Runs in a process of its own, because importing Mage's logger opens its database.
SCRIPT = f"""
import json, logging
from mage_ai.data_preparation.logging.logger import DictLogger
from mage_ai.shared.retry import retry
from mlops.mage import from_mage

class Page(logging.Handler):
    def emit(self, record):
        entry = json.loads(record.getMessage())
        has_details = entry.get("error", "").startswith("Traceback")
        print("line", json.dumps([entry["message"], has_details, bool(record.exc_info)]))

logger = logging.getLogger("a_pipeline/1/a_block")
logger.propagate = False
logger.addHandler(Page())
log = DictLogger(logger)
try:
    retry(retries=1, delay=0, logger=log)(from_mage)({WRONG} | {{"logger": log}}, argv=[])
except Exception as error:
    log.exception("Failed to execute block a_block", error=error)
try:
    1 / 0
except ZeroDivisionError as error:
    log.exception("Failed to execute block a_block", error=error)
log.error("something else")
"""


def test_a_block_s_log_names_the_cause_at_every_attempt(machine: Machine) -> None:
    ended = machine.run(sys.executable, "-c", SCRIPT)
    said = [line.removeprefix("line ") for line in ended.stdout.splitlines() if line.startswith("line ")]
    assert len(said) == 5, ended.output
    (first, *below), (second, *_), last, unforeseen, other = map(json.loads, said)
    assert first.startswith(f"{CAUSE} (Exception thrown")
    assert first.endswith("attempt 1 of 2)")
    assert second.startswith(CAUSE)
    # The traceback is among the line's details only; that of an unforeseen error is also printed below it.
    assert below == [True, False]
    assert last == [f"{CAUSE} (Failed to execute block a_block)", True, False]
    assert unforeseen == ["division by zero (Failed to execute block a_block)", True, True]
    assert other == ["something else", False, False]


def test_a_notebook_shows_the_message_alone(capsys: pytest.CaptureFixture[str]) -> None:
    shell = InteractiveShell.instance()
    shell.run_cell(f"from mlops.config import Settings\nSettings.parse({WRONG})")
    InteractiveShell.clear_instance()
    assert capsys.readouterr().out.strip() == f"ConfigError: {CAUSE}"
