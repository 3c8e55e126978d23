"""The check-up: is anything wrong, and what mends it?

In reading order:

- `checkup`: all checks in their order
- `finding`: one line of the check-up
- `host`: what a run needs of its machine
- `tracking_server`: can the tracking server be used?
- `mage_database`: Mage's database: no stuck run, no inactive trigger
"""
