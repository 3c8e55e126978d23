"""What the terminal shows: the way on, and without lines of Mage that look like a problem and are none.

`mend` leaves these out:

- Its database's migrations, thirty lines at the first start; which event loop runs a pipeline.
- "Message signing is disabled": it concerns the kernel's sockets, which `stack.mage_editor` makes private.
- The port that Mage looks at before it listens, and the state of its queue.
- What is below the server's level (SERVER_VERBOSITY): without this, the log of each run, which its page shows.
- Parts of Mage that are not installed, because no block of this project uses them: dbt, and a tunnel to a cluster.

Source: orchestration/db/database_manager.py, orchestration/queue/process_queue.py, server/setup.py and
server.py, shared/logger.py and utils.py, and data_preparation/models/block/block_factory.py in mage_ai 0.9.80.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

TUNNEL = "mage_ai.services.ssh.aws.emr.models"
QUEUE = "mage_ai.orchestration.queue.process_queue"
PRINTING = ("mage_ai.shared.utils", "mage_ai.server.setup", QUEUE)
SETTING_THE_FORMAT = ("mage_ai.shared.logger", QUEUE)  # others take it from the first, later
PRINTING_WHEN_IMPORTED = "mage_ai.data_preparation.models.block.block_factory"
CHATTY = ("alembic.runtime.migration", "mage_ai.data_preparation.executors.pipeline_executor")
SIGNING = "Message signing is disabled"
WAY_ON = """\
The link shows the four blocks that train a model. Run them from the top, each with the triangle in its header.
A form, for a run without code: Triggers (the lightning on the left), then Create trigger with no-code.
The trained models and their cards: make mlflow, in another terminal. Ctrl-C stops the editor.
docs/editor.md has more: rules, features and experiments of your own."""
"""What `make editor` prints below its link."""


def mend() -> None:
    """Mend this process before it starts Mage's command."""
    for name in CHATTY:
        logging.getLogger(name).addFilter(lambda record: record.levelno >= logging.WARNING)
    logging.getLogger("traitlets").addFilter(lambda record: SIGNING not in record.getMessage())
    for name in PRINTING:
        module: Any = importlib.import_module(name)
        module.print = lambda *_: None
    with contextlib.redirect_stdout(io.StringIO()):
        importlib.import_module(PRINTING_WHEN_IMPORTED)
    for name in SETTING_THE_FORMAT:
        module = importlib.import_module(name)
        module.set_logging_format = _with_level(module.set_logging_format)
    tunnel = ModuleType(TUNNEL)
    vars(tunnel)["create_tunnel"] = lambda **_: None
    sys.modules.setdefault(TUNNEL, tunnel)


def _with_level(set_format: Callable[..., None]) -> Callable[..., None]:
    def set_format_and_level(logging_format: str | None = None, level: str | None = None) -> None:
        set_format(logging_format, level)
        root = logging.getLogger()  # its level counts for its own lines only
        for handler in root.handlers:
            handler.setLevel(root.level)

    return set_format_and_level
