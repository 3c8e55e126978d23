"""Compare the month with what the champion had promised, say why it differs, and decide whether to alarm."""

if "transformer" not in globals():
    from mage_ai.data_preparation.decorators import test, transformer

from mlops.monitoring import blocks, steps
from mlops.pipeline import block_tables


@transformer
def compare_month(loaded, *args, **variables):
    """Errors of the versions, the parts of the change, what is unusual about the month, and the causes."""
    settings = blocks.from_mage(variables)
    months = block_tables.full_table(loaded)
    return block_tables.of_columns(steps.compare_month(months, settings), blocks.TITLES_OF_MEASURES)


@test
def the_change_adds_up(shown, *args):
    blocks.check_comparison(block_tables.full_table(shown))
