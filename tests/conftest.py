"""Fixtures and places that several tests share."""

from pathlib import Path

import pytest

import bulkpages as bp

RECORDINGS = Path(__file__).parent / "conformance" / "recordings"


@pytest.fixture
def recordings() -> list[Path]:
    return sorted(RECORDINGS.glob("*.jsonl.gz"))


@pytest.fixture
def first() -> Path:
    return RECORDINGS / "first-60-ops.jsonl.gz"


@pytest.fixture
def m() -> bp.Machine:
    return bp.Machine("64MiB", cpus=2)
