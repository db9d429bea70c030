"""File formats that bulkpages reads and writes."""
