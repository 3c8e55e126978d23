"""A month of the synthetic city that no test changes."""

from __future__ import annotations

import pandas as pd
import pytest
from support.sample_months import MAY, green


@pytest.fixture(scope="session")
def may() -> pd.DataFrame:
    return green(MAY)
