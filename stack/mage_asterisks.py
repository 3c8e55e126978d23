"""The editor shows the folders and addresses that a person needs to find a result.

Mage shows asterisks in a block's output for the value of every environment variable with eight characters or more,
except a few, such as ``HOME``. So a path was hidden wherever a variable such as ``OLDPWD`` held a part of it, and
``/home/<name>`` for every user with a long name. What holds no secret is added to Mage's exceptions.

Source: `filter_out_env_var_values` in shared/security.py of mage_ai 0.9.80.
"""

from __future__ import annotations

import os
from pathlib import Path

from mage_ai.shared.security import WHITELISTED_ENV_VARS

from mlops import masking

SHOWN = ("MLOPS_STATE_DIR", "MLFLOW_TRACKING_URI", "USER", "LOGNAME", "USERNAME", "HOSTNAME")


def mend() -> None:
    """Let the server in this process show the values of `SHOWN` and existing paths, if none has a secret in it."""
    shown = {name: value for name, value in os.environ.items() if name in SHOWN or Path(value).exists()}
    WHITELISTED_ENV_VARS.update(name for name, value in shown.items() if masking.mask(value) == value)
