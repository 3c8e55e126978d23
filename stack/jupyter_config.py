"""Settings of JupyterLab that are code; JupyterLab reads this file, see `stack.notebook`."""

from stack.notebook import keep_cells_only

c = get_config()  # type: ignore[name-defined]  # noqa: F821 - Jupyter defines it
c.FileContentsManager.pre_save_hook = keep_cells_only
