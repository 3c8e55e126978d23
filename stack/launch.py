"""The program that supervisord runs for a service: end old processes of the service, then become the service.

When Mage is killed, its scheduler process stays alive and keeps Mage's port.

The command and the environment come from private files, because supervisord's own file does not allow every
value: `environment=` has no escapes for quotes, and cuts a value at ` #` and ` ;`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from mlops.files import read_variables
from stack.processes import FOLDER_VARIABLE, NAME_VARIABLE, end


def main(file: Path) -> None:
    """Replace this process with the service that the file and the `.env` of the folder beside it describe."""
    folder, name = os.environ[FOLDER_VARIABLE], os.environ[NAME_VARIABLE]
    launch = json.loads(file.read_text(encoding="utf-8"))
    # Earlier versions wrote both into one file; their stack may still run.
    own = launch.get("environment") or read_variables(file.with_suffix("") / ".env")
    end(Path(folder), name)
    os.chdir(launch["cwd"])
    environment = {**own, FOLDER_VARIABLE: folder, NAME_VARIABLE: name}
    os.execve(launch["command"][0], launch["command"], environment)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
