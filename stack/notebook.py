"""The notebook in JupyterLab, and its script: `make notebook` and `make script`.

JupyterLab listens on this machine only and lets in who has the link that it prints. Its own files are in the state
folder. Of the notebook it saves what belongs in git: the cells and, through jupytext, the same cells in the `.py`
beside it. Outputs stay in the browser's page: they would be different in each commit.
"""

# ruff: noqa: T201 - commands of make

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

from mlops import config, files
from mlops.errors import ConfigError
from stack.compose import LOOPBACK, ROOT
from stack.processes import is_free

FOLDER = ROOT / "notebooks"
NAME = "trip_duration"
USUAL_PORT = 8888
KEPT = {
    "kernelspec": ("display_name", "language", "name"),
    "jupytext": ("formats", "notebook_metadata_filter"),
}
"""What is kept of a notebook's metadata, beside the language: programs add their versions and what they showed."""
WITHOUT = ("@jupyterlab/apputils-extension:announcements",)  # it asks whether to fetch news from the network
LANGUAGE = {"file_extension": ".py", "name": "python", "nbconvert_exporter": "python"}


def main(act: str, *words: str) -> None:
    """Become JupyterLab at a port (``lab [PORT] [FOLDER]``), or write the script (``script``)."""
    try:
        files.close_state()
        os.environ.update(places(config.state_dir()))
    except ConfigError as error:
        sys.exit(f"error: {error}")
    if act == "script":
        write_script(config.state_dir() / "notebook")
        return
    port, folder = [*words, *["", ""][len(words) :]]
    if port and not (port.isdecimal() and is_free(int(port))):
        sys.exit(
            f"error: port {port} is taken, or is no port; choose another: make notebook JUPYTER_PORT=8889"
        )
    open_lab(port, Path(folder or FOLDER))


def places(state: Path) -> dict[str, str]:
    """Environment that keeps Jupyter's and IPython's files in the state folder, which is created there."""
    root = state / "jupyter"
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    names = {"CONFIG_DIR": "config", "DATA_DIR": "data", "RUNTIME_DIR": "runtime"}
    found = {f"JUPYTER_{name}": str(root / folder) for name, folder in names.items()}
    page = root / "config" / "labconfig" / "page_config.json"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(json.dumps({"disabledExtensions": dict.fromkeys(WITHOUT, True)}), encoding="utf-8")
    own = {
        "IPYTHONDIR": str(root / "ipython"),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "MLFLOW_LOGGING_LEVEL": "ERROR",
    }
    return {**found, **own, "MLOPS_STATE_DIR": str(state)}


def open_lab(port: str, folder: Path) -> None:
    """Become JupyterLab in this folder; without a port it takes the first free one from `USUAL_PORT`."""
    for about in ("The `version` property of an event schema", "Overriding existing pre_save_hook"):
        warnings.filterwarnings("ignore", message=about)  # Jupyter's own code causes them
    from jupyterlab.labapp import LabApp  # type: ignore[import-untyped]

    os.chdir(folder)
    settings = {
        "config": ROOT / "stack" / "jupyter_config.py",
        "ServerApp.ip": LOOPBACK,
        "ServerApp.port": port or USUAL_PORT,
        "ServerApp.port_retries": 0 if port else 50,
        "ServerApp.root_dir": folder,
        "ServerApp.open_browser": False,
        "ServerApp.allow_root": True,
        "Application.log_level": "WARN",
        "FileCheckpoints.root_dir": os.environ["JUPYTER_DATA_DIR"],
        "LabApp.default_url": f"/lab/tree/{NAME}.ipynb",
        "LabApp.check_for_updates_class": "jupyterlab.NeverCheckForUpdate",  # it asks nobody on the network
        "LabApp.news_url": None,
        "LabApp.extension_manager": "readonly",
        "LanguageServerManager.autodetect": False,  # it would start npm to look for language servers
    }
    LabApp.launch_instance([f"--{name}={value}" for name, value in settings.items()])


def keep_cells_only(model: dict[str, Any], **named: Any) -> None:
    """Before a notebook is saved: take out outputs, and metadata that change with each run."""
    if model["type"] == "notebook":
        clean(model["content"])


def clean(notebook: dict[str, Any]) -> None:
    """Leave of a notebook what belongs in git.

    Examples
    --------
    >>> cell = {"cell_type": "code", "execution_count": 3, "outputs": [{}], "metadata": {"tags": ["exploration"]}}
    >>> notebook = {"cells": [cell], "metadata": {"widgets": {}, "kernelspec": {"name": "python3"}}}
    >>> clean(notebook)
    >>> cell["execution_count"], cell["outputs"], cell["metadata"], sorted(notebook["metadata"])
    (None, [], {'tags': ['exploration']}, ['kernelspec', 'language_info'])
    """
    metadata = notebook["metadata"]
    kept = {
        part: {name: metadata[part][name] for name in names if name in metadata[part]}
        for part, names in KEPT.items()
        if part in metadata
    }
    notebook["metadata"] = {**kept, "language_info": LANGUAGE}
    for cell in notebook["cells"]:
        cell["metadata"] = {"tags": tags} if (tags := cell["metadata"].get("tags")) else {}
        if cell["cell_type"] == "code":
            cell.update(execution_count=None, outputs=[])


def write_script(folder: Path) -> None:
    """Write the notebook without its exploration as a script, and say how to call it."""
    from nbconvert.nbconvertapp import NbConvertApp

    options = {"config": FOLDER / "script.json", "to": "script", "output-dir": folder, "log-level": "WARN"}
    words = [f"--{name}={value}" for name, value in options.items()]
    NbConvertApp.launch_instance([*words, str(FOLDER / f"{NAME}.ipynb")])
    print(f"{sys.executable} {folder / NAME}.py --service green --month 2023-06 --source sample")


if __name__ == "__main__":
    main(*sys.argv[1:])
