"""Send a message when a month is judged or a failure prevents the verdict, and keep what the check found."""

if "callback" not in globals():
    from mage_ai.data_preparation.decorators import callback

from mage_ai.data_preparation.repo_manager import get_repo_config
from mage_ai.orchestration.notification.config import NotificationConfig

from mlops.operations import checks, notifications


@callback("success")
def notify_of_a_judged_month(table, *args, **variables):
    _send(notifications.of_result(table, variables))
    checks.after_block(table, variables)


@callback("failure")
def notify_of_a_failure(*args, **variables):
    _send(notifications.of_failure(variables["__error"], variables))
    checks.after_failure(variables["__error"], variables)


def _send(message):
    """Send to the channels that the project's metadata.yaml configures."""
    if message:
        channels = NotificationConfig.load(config=get_repo_config().notification_config)
        notifications.deliver(message, channels)
