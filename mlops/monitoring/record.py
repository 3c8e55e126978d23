"""What is kept of a compared month: small, JSON, read by the history page, the service and later months.

The service reads it, too, and may not import this room: so it is defined in `registry.monitoring_record`.
"""

from __future__ import annotations

from mlops.registry.monitoring_record import Finding as Finding
from mlops.registry.monitoring_record import Record as Record
from mlops.registry.monitoring_record import from_json as from_json
from mlops.registry.monitoring_record import to_json as to_json
