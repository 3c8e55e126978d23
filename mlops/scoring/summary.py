"""What a scoring run did, as text for a terminal."""

from __future__ import annotations

import pandas as pd

_SHOWN = {
    "input": "input", "rows": "rows", "answered": "answered", "rejected": "rejected",
    "out_of_range": "out of range", "distance_missing": "no distance", "mean_minutes": "mean minutes",
    "rmse_minutes": "RMSE", "outcome": "outcome",
}  # fmt: skip


def as_text(summary: pd.DataFrame) -> str:
    """The table from `score.score`: a line for each file, then the version, and where the results are."""
    table = summary[[*_SHOWN]].rename(columns=_SHOWN).astype({"mean minutes": float, "RMSE": float})
    last = summary.iloc[-1]
    lines = [
        table.to_string(index=False, na_rep="-", float_format="%.3f"),
        f"answered by {last['model']} version {last['version']}, run key {last['run_key'][:12]}",
        *(f"rejected of {row['input']}: {row['reasons']}" for _, row in summary.iterrows() if row["reasons"]),
        *summary["output"],
    ]
    return "\n".join(lines)
