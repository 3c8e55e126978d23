"""Compare the month with what the champion had promised, say why it differs, and decide whether to alarm."""

if "transformer" not in globals():
    from mage_ai.data_preparation.decorators import test, transformer

from mlops.monitoring import blocks, steps


@transformer
def compare_month(months, *args, **variables):
    """Errors of the versions, the parts of the change, what is unusual about the month, and the causes."""
    settings = blocks.from_mage(variables)
    return steps.compare_month(months, settings)


@test
def the_change_adds_up(compared, *args):
    blocks.check_comparison(compared)
