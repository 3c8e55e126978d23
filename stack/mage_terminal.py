"""What the terminal shows: the way on, and without lines of Mage that look like a problem and are none.

`mend` leaves these out:

- Its database's migrations, thirty lines at the first start.
- "Message signing is disabled": it concerns the kernel's sockets, which `stack.mage_editor` makes private.
- The port that Mage looks at before it listens, and the name of its queue.
- Parts of Mage that are not installed, because no block of this project uses them: dbt, and a tunnel to a cluster.

Source: orchestration/db/database_manager.py, server/server.py, server/setup.py, shared/utils.py and
data_preparation/models/block/block_factory.py in mage_ai 0.9.80.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import sys
from types import ModuleType
from typing import Any

TUNNEL = "mage_ai.services.ssh.aws.emr.models"
PRINTING = ("mage_ai.shared.utils", "mage_ai.server.setup")
PRINTING_WHEN_IMPORTED = "mage_ai.data_preparation.models.block.block_factory"
SIGNING = "Message signing is disabled"
WAY_ON = """\
The link shows the four blocks that train a model. Run them from the top, each with the triangle in its header.
A form, for a run without code: Triggers (the lightning on the left), then Create trigger with no-code.
The trained models and their cards: make mlflow, in another terminal. Ctrl-C stops the editor.
docs/editor.md has more: rules, features and experiments of your own."""
"""What `make editor` prints below its link."""


def mend() -> None:
    """Mend this process before it starts Mage's command."""
    logging.getLogger("alembic.runtime.migration").setLevel(logging.WARNING)
    logging.getLogger("traitlets").addFilter(lambda record: SIGNING not in record.getMessage())
    for name in PRINTING:
        module: Any = importlib.import_module(name)
        module.print = lambda *_: None
    with contextlib.redirect_stdout(io.StringIO()):
        importlib.import_module(PRINTING_WHEN_IMPORTED)
    tunnel = ModuleType(TUNNEL)
    vars(tunnel)["create_tunnel"] = lambda **_: None
    sys.modules.setdefault(TUNNEL, tunnel)
