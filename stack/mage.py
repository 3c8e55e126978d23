"""The command `mage`, with a queue that loses no run and starts none twice: ``python -m stack.mage start .``."""

from __future__ import annotations

import sys

from mlops import config
from mlops.errors import ConfigError


def main() -> None:
    """Run Mage's command line with this queue, unless Mage or MLflow cannot handle a path."""
    try:
        config.state_dir()
    except ConfigError as error:
        sys.exit(f"error: {error}")
    # After the check, because the import creates Mage's data folder.
    from mage_ai.orchestration.queue import process_queue

    from stack.mage_queue import SafeQueue

    process_queue.ProcessQueue = SafeQueue  # Mage's factory looks it up here
    from mage_ai.cli.main import app

    app()


if __name__ == "__main__":
    main()
