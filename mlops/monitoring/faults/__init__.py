"""What may be wrong with a month's data: each detector looks for one kind of fault and says how much of it is there.

In reading order: `spread` (what is usual among the months before).
"""

from mlops.registry.monitoring_record import Finding

__all__ = ["Finding"]
