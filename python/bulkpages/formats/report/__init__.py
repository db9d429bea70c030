"""Reports in the kernel log about memory: from the OOM killer, failed allocations and sysrq-m.

They are read as kernels from 3.x to 7.x print them: zones with marks, reserves and free blocks by order, types where
letters give them (`N*4kB (UME)`), and the request with its flags and order.
"""

from __future__ import annotations

from bulkpages.formats.report.reading import Report, read_report
from bulkpages.formats.report.request import Request

__all__ = ["Report", "Request", "read_report"]
