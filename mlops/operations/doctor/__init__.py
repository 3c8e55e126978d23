"""Check the installation: what is wrong, and how to fix it.

In reading order:

- `checkup`: all checks, in order
- `finding`: one line of the output
- `host`: what a run needs from its machine
- `tracking_server`: can the tracking server be used?
- `history`: what people have deleted of a model's runs, versions and aliases
- `stack`: the stack of this state folder, and the Mage to look at
- `mage_database`: Mage's database: stuck runs, triggers that are off or missing
- `mage_service`: the running Mage: its scheduler, its clock, its messages
- `serving`: the stack's online service: which versions answer, and are they the champions?
"""
