"""Reports of the kernel log about memory: of the OOM killer, of failed allocations, of sysrq-m.

They are read as kernels from 3.x to 7.x print them: zones with marks, reserves and free blocks by order, the types
where letters tell them (`N*4kB (UME)`), and the request with its flags and order.
"""

from __future__ import annotations

from bulkpages.formats.report.reading import Report, read_report
from bulkpages.formats.report.request import Request

__all__ = ["Report", "Request", "read_report"]
