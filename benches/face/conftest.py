"""What the stored baseline says of the machine: what times depend on, and no names."""

from typing import Any

import pytest


@pytest.hookimpl
def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    cpu = machine_info["cpu"]
    kept = {"cpu": {"brand_raw": cpu.get("brand_raw"), "count": cpu.get("count")}}
    kept |= {key: machine_info[key] for key in ("machine", "system", "python_implementation", "python_version")}
    machine_info.clear()
    machine_info.update(kept)


@pytest.hookimpl
def pytest_benchmark_update_commit_info(config: pytest.Config, commit_info: dict[str, Any]) -> None:
    commit_info.clear()
