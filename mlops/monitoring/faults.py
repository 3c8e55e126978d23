"""What may be wrong with a month's data: each detector looks for one kind of fault, and says how much is there."""

from __future__ import annotations

from mlops.registry.monitoring_record import Finding as Finding
