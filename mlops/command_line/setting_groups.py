"""The training settings in groups, in the order in which Mage's panel, `--help` and the reference show them."""

from __future__ import annotations

GROUPS: dict[str, tuple[str, ...]] = {
    "what the run is about": (
        "service", "month", "source", "experiment", "experiment_note", "start_month", "end_month",
    ),
    "data and model": ("train_months", "use_distance", "half_life_months", "compare_course"),
    "search of parameters": ("max_trials", "warm_start", "tuning_seconds", "seed"),
    "months that are refused": (
        "min_rows_ratio", "max_rows_ratio", "max_rejections_ratio", "allow_unusual_months",
    ),
    "limits of the verdict": (
        "min_improvement", "max_slice_regression", "max_coverage_error", "min_test_rows",
        "max_champion_age_months", "require_approval",
    ),
    "waiting and repeating": (
        "publication_wait", "source_patience", "connect_timeout", "tracking_patience", "on_busy", "force",
    ),
}  # fmt: skip
"""Names of the settings by the title of their group."""
