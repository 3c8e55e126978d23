"""The command `mage` with our mends: ``python -m stack.mage start .``.

`stack.mage_queue` loses no run and starts none twice; `stack.mage_editor` leaves a user's files alone;
`stack.mage_charts` draws the charts beside the blocks;
`stack.mage_guard` keeps strangers and foreign pages out; `stack.mage_messages` keeps secrets out of logs;
`stack.mage_terminal` leaves out lines that say nothing; `stack.mage_asterisks` lets the editor show addresses.
"""

from __future__ import annotations

import os
import sys

from mlops import files, masking
from mlops.errors import ConfigError
from mlops.operations.doctor import mage_database
from stack import schema


def main() -> None:
    """Run Mage's command line with our mends, unless Mage or MLflow cannot handle a path, or Mage its database."""
    try:
        files.close_state()
    except ConfigError as error:
        sys.exit(f"error: {error}")
    if problem := _table_problem():
        sys.exit(f"error: {problem}")
    # After the check, because the import creates Mage's data folder.
    from mage_ai.orchestration.queue import process_queue

    from stack import mage_terminal
    from stack.mage_queue import SafeQueue

    process_queue.ProcessQueue = SafeQueue  # Mage's factory looks it up here
    mage_terminal.mend()
    if sys.argv[1:2] == ["start"]:
        from stack import mage_asterisks, mage_charts, mage_editor, mage_messages

        mage_editor.mend()
        mage_charts.mend()
        mage_asterisks.mend()
        mage_messages.mend()
        from stack import mage_guard  # last: it imports Mage's server, which takes the mended functions

        mage_guard.install()
    from mage_ai.cli.main import app

    masking.mask_logs()
    with masking.outputs():
        app()


def _table_problem() -> str:
    """Why Mage cannot use its SQLite file; Mage would migrate an older one without a backup."""
    file = mage_database.data_folder() / "mage-ai.db"
    if os.environ.get("MAGE_DATABASE_CONNECTION_URL") or not file.exists():
        return ""
    return schema.problem("mage", f"sqlite:///{file}", f"Mage's database {file}")


if __name__ == "__main__":
    main()
