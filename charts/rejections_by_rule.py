"""Rejected trips by rule: the test month, and the months before it."""

if "xy" not in globals():
    from mage_ai.data_preparation.decorators import xy

from mlops.pipeline import glimpses


@xy
def rejections_by_rule(cleaned, *args, **variables):
    return glimpses.rejections_by_rule(cleaned)
