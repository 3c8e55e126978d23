"""Rejected trips by month, one line for each rule."""

if "xy" not in globals():
    from mage_ai.data_preparation.decorators import xy

from mlops.pipeline import glimpses


@xy
def rejections_by_month(cleaned, *args, **variables):
    return glimpses.rejections_by_month(cleaned)
