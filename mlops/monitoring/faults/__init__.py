"""What may be wrong with a month's data: each detector looks for one kind of fault, and says how much is there.

In reading order: `search` (the story: all detectors, and which finding explains others), `spread` (what is usual),
`profile` (a month as arrays and tables), `compared` (a month beside the others), then the detectors: `rows`,
`columns`, `distances`, `zones`, `clocks`, `counts`, `speed`, and `inputs` for what no other names.
"""

from mlops.monitoring.faults.search import find, find_in
from mlops.registry.monitoring_record import Finding

__all__ = ["Finding", "find", "find_in"]
