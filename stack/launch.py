"""What supervisord runs for a service: end what its last process left, then become the service.

Mage, when it is killed, leaves its scheduler behind, which goes on working and holds Mage's port.

The command and the environment come from a private file, because supervisord's own file cannot hold every
value: its `environment=` knows no escapes for quotes, and cuts at ` #` and ` ;`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from stack.processes import FOLDER_VARIABLE, NAME_VARIABLE, end


def main(file: Path) -> None:
    """Replace this process by the service that the file describes."""
    folder, name = os.environ[FOLDER_VARIABLE], os.environ[NAME_VARIABLE]
    launch = json.loads(file.read_text())
    end(Path(folder), name)
    os.chdir(launch["cwd"])
    environment = {**launch["environment"], FOLDER_VARIABLE: folder, NAME_VARIABLE: name}
    os.execve(launch["command"][0], launch["command"], environment)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
