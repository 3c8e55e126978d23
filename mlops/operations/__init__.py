"""What keeps it alive.

In reading order:

- `backfill`: a range of months, one after the other
- `notifications`: what is sent about a run that nobody watches
- `backtest`: what other policies would have led to, over past months
- `policies`: those policies, and how they compare
- `reproduce`: a version made again, and compared
- `doctor`: the check-up
- `retention`: what is old and can be made again is deleted
"""
