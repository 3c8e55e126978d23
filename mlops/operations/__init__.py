"""Operations: catch up on months, send notifications, check the installation, delete old files.

In reading order:

- `backfill`: train a range of months, one after the other
- `by_hand`: a person moves `champion`, and the model card says so
- `notifications`: messages about unattended runs
- `channels`: where they go, and how each place shows text as text
- `channel_settings`: the channels that Mage's project sets, read without Mage
- `trial_message`: a message to each of them, to see whether it arrives
- `heartbeat`: a request after each check for a new month, so that a dead scheduler is noticed
- `checks`: what each check for a new month found
- `backtest`: results that other policies would have had over past months
- `policies`: these policies, and a comparison of their results
- `reproduce`: train a version again and compare its predictions
- `doctor`: check the installation
- `servers`: are the servers up?
- `status`: is all well? One look at registry, servers and disk
- `retention`: delete old files that can be created again
"""
