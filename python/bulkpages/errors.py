"""What bulkpages raises. Every message carries the offending value and the limit."""

__all__ = ["ApiMisuse", "AuditError", "BulkpagesError", "InvalidArgument", "KernelError", "SnapshotError"]


class BulkpagesError(Exception):
    """Base of all errors of bulkpages."""


class InvalidArgument(BulkpagesError, ValueError):
    """An argument outside what the kernel interface can mean; nothing changed."""


class ApiMisuse(BulkpagesError, RuntimeError):
    """A call that the kernel's rules forbid, such as a double free; nothing changed."""


class SnapshotError(BulkpagesError, ValueError):
    """A snapshot or recording that cannot be read or contradicts itself."""


class AuditError(BulkpagesError):
    """An invariant of the allocator is broken."""


class KernelError(BulkpagesError):
    """A real kernel that cannot be built, started or measured, or a patch that does not apply to its tree."""
