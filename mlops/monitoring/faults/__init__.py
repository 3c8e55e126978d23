"""What may be wrong with a month's data: each detector looks for one kind of fault, and says how much is there.

In reading order:

- `search`: the story; all detectors, and which finding explains others
- `spread`: what is usual among the months before
- `profile`: a month as arrays and tables
- `compared`: a month beside the months before
- `rows`: trips that cleaning rejects, that occur twice, or that are copies of another month
- `columns`: missing, constant and rounded values
- `distances`: distances in another unit
- `zones`: new, renumbered and swapped zones
- `clocks`: a clock that is wrong
- `counts`: missing trips
- `speed`: slower and faster rides
- `inputs`: what no other detector names
"""

from mlops.monitoring.faults.search import find, find_in
from mlops.registry.monitoring_record import Finding

__all__ = ["Finding", "find", "find_in"]
