"""The editor shows the addresses of MLflow and of the state folder, which a person needs to find a result.

Mage shows asterisks in a block's output for the value of every environment variable with eight characters or more,
except a few, such as ``HOME``. Ours that hold no secret are added to these.

Source: `filter_out_env_var_values` in shared/security.py of mage_ai 0.9.80.
"""

from __future__ import annotations

import os

from mage_ai.shared.security import WHITELISTED_ENV_VARS

from mlops import masking

SHOWN = ("MLOPS_STATE_DIR", "MLFLOW_TRACKING_URI")


def mend() -> None:
    """Let the server in this process show the values of `SHOWN`, unless one has a secret in it."""
    values = {name: os.environ.get(name, "") for name in SHOWN}
    WHITELISTED_ENV_VARS.update(name for name, value in values.items() if masking.mask(value) == value)
