"""Machines of other kernels: made by name or from their recordings, and never mixed."""

import copy
import gzip
import json
import pickle
from pathlib import Path

import pytest
from click.testing import CliRunner

import bulkpages as bp
from bulkpages.cli import main
from bulkpages.eras import ERAS, RULES
from bulkpages.formats.recording import load_snapshot

FOLDER = Path(__file__).parent / "recordings"


@pytest.mark.parametrize("kernel", ERAS)
def test_a_machine_boots_as_each_kernel_and_stays_one(kernel: str) -> None:
    machine = bp.Machine("256MiB", kernel=kernel)
    assert machine.kernel == kernel
    assert dict(machine.rules) == dict(ERAS[kernel].rules)
    array = bp.PageArray(64)
    assert machine.alloc_pages_bulk(bp.GFP_KERNEL, array) == 64
    for other in (
        bp.Machine.from_snapshot(machine.snapshot()),
        pickle.loads(pickle.dumps(machine)),
        copy.copy(machine),
    ):
        assert (other.kernel, dict(other.rules)) == (kernel, dict(machine.rules))
        assert other.snapshot() == machine.snapshot()
    assert ("kernel" in machine.snapshot()["facts"]) == (kernel != "6.12")
    machine.audit()


@pytest.mark.parametrize("kernel", ["6.1", "7.3"])
def test_proc_files_are_those_of_the_kernel(kernel: str) -> None:
    path = FOLDER / kernel / "uma-256m-mixed.jsonl.gz"
    recorded = json.loads(gzip.decompress(path.read_bytes()).splitlines()[-1])["proc"]["before"]
    machine = bp.Machine.from_snapshot(path)

    def shape(text: str) -> list[str]:
        return ["".join("0" if c.isdigit() else c for c in line).split("0")[0] for line in text.splitlines()]

    assert shape(machine.zoneinfo()) == shape(recorded["zoneinfo"])
    assert shape(machine.vmstat_text()) == shape(recorded["vmstat"])
    assert shape(machine.buddyinfo()) == shape(recorded["buddyinfo"])


def test_one_rule_alone_makes_a_mosaic() -> None:
    plain = bp.Machine("64MiB", kernel="6.12")
    mosaic = bp.Machine("64MiB", kernel="6.12", rules={"bulk_mark_excludes_prefix": True})
    changed = {name for name, holds in mosaic.rules.items() if holds != plain.rules[name]}
    assert changed == {"bulk_mark_excludes_prefix"}
    assert mosaic.snapshot()["facts"]["rules"] == {"bulk_mark_excludes_prefix": True}
    assert dict(bp.Machine.from_snapshot(mosaic.snapshot()).rules) == dict(mosaic.rules)
    path = FOLDER / "first-60-ops.jsonl.gz"
    assert bp.Machine.from_snapshot(path, rules={"claim_then_steal": False}).rules["claim_then_steal"] is False


def test_without_smp_a_bulk_call_of_7_3_returns_one_page() -> None:
    for kernel, expected in (("6.1", 64), ("6.12", 64), ("7.3", 1)):
        machine = bp.Machine("64MiB", cpus=1, kernel=kernel, rules={"smp": False})
        assert machine.alloc_pages_bulk(bp.GFP_KERNEL, bp.PageArray(64)) == expected


def test_what_does_not_fit_together_is_refused() -> None:
    path = FOLDER / "7.3" / "first-60-ops.jsonl.gz"
    with pytest.raises(bp.SnapshotError, match=r"of kernel 7\.3, not of 6\.12"):
        bp.Machine.from_snapshot(path, kernel="6.12")
    with pytest.raises(bp.InvalidArgument, match=r"\"5\.10\" is not one of 6\.1, 6\.12, 7\.3"):
        bp.Machine("64MiB", kernel="5.10")
    with pytest.raises(bp.InvalidArgument, match="no_such_rule"):
        bp.Machine("64MiB", rules={"no_such_rule": True})
    with pytest.raises(TypeError, match="True or False"):
        bp.Machine("64MiB", rules={"smp": 1})  # type: ignore[dict-item]
    snapshot = load_snapshot(path)
    snapshot["facts"]["kernel"] = "9.9"
    with pytest.raises(bp.SnapshotError, match=r"9\.9"):
        bp.Machine.from_snapshot(snapshot)


def test_the_command_lists_eras_and_rules() -> None:
    table = CliRunner().invoke(main, ["eras"])
    assert table.exit_code == 0
    lines = table.stdout.splitlines()
    assert lines[0].split() == ["rule", "since", *ERAS]
    assert {line.split()[0] for line in lines[1 : 1 + len(RULES)]} == set(RULES)
    one = CliRunner().invoke(main, ["eras", "pcp_high_tuned"])
    assert "nr_pcp_alloc()" in one.stdout
    assert "since 6.7" in one.stdout
    document = json.loads(CliRunner().invoke(main, ["eras", "--json"]).stdout)
    assert set(document["eras"]["7.3"]["rules"]) == set(document["rules"]) == set(RULES)
    assert CliRunner().invoke(main, ["eras", "nonsense"]).exit_code == 2
