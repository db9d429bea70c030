"""What the pages of kernels take from the product: tables of rules and of recordings, so that they are never stale."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from bulkpages.eras import ERAS, RULES, Rule

RECORDINGS = Path(__file__).parents[2] / "tests" / "conformance" / "recordings"


def before(era: str) -> str | None:
    """The era before this one."""
    names = list(ERAS)
    return names[names.index(era) - 1] if era != names[0] else None


def origin(rule: Rule) -> str:
    """When a rule came, and with what, as far as it is known."""
    digest, _, subject = rule.commit.partition(" ")
    known = re.fullmatch("[0-9a-f]{12}", digest)
    commit = f"`{digest}` “{subject}”" if known else f"“{rule.commit}”" if rule.commit else ""
    return ", ".join(word for word in (rule.since, commit) if word) or "not known"


def rule_rows(era: str, *, changed: bool) -> Iterator[str]:
    """Lines of a table: all rules and whether they hold, or those that this era took up."""
    yield (
        "| rule | holds | what it says | in | came with |"
        if not changed
        else "| rule | what it says | in | came with |"
    )
    yield "|---|---|---|---|---|" if not changed else "|---|---|---|---|"
    older = before(era)
    for rule in RULES.values():
        holds = ERAS[era].rules[rule.name]
        if changed and (older is None or holds == ERAS[older].rules[rule.name]):
            continue
        functions = ", ".join(f"`{name}()`" for name in rule.functions)
        cells = [f"`{rule.name}`", *([] if changed else ["yes" if holds else "no"]), rule.text, functions, origin(rule)]
        yield f"| {' | '.join(cells)} |"


def recording_rows(era: str) -> Iterator[str]:
    """Lines of a table: the recordings that hold an era."""
    yield "| recording | memory | nodes | CPUs | operations |"
    yield "|---|---|---|---|---|"
    folder = RECORDINGS if era == "6.12" else RECORDINGS / era
    for path in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            lines = file.read().splitlines()
        head: dict[str, Any] = json.loads(lines[0])
        nodes_ = head["nodes"] if isinstance(head["nodes"], int) else len(head["nodes"])
        yield f"| `{head['case']}` | {head['mem']} | {nodes_} | {head['cpus']} | {len(lines) - 4:,} |"


class _Rows(SphinxDirective):
    """A table made from lines of Markdown; the argument is an era."""

    required_arguments = 1

    def rows(self, era: str) -> Iterator[str]:
        """The lines."""
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        """Makes the table."""
        era = self.arguments[0]
        if era not in ERAS:
            raise self.error(f"no era {era!r}: {', '.join(ERAS)}")
        box = nodes.Element()
        self.state.nested_parse(StringList(list(self.rows(era)), "eras"), self.content_offset, box)
        return box.children


class EraRules(_Rows):
    """`{era-rules} 7.3`: every rule, and whether it holds."""

    def rows(self, era: str) -> Iterator[str]:
        """The lines."""
        return rule_rows(era, changed=False)


class EraChanges(_Rows):
    """`{era-changes} 7.3`: the rules that hold otherwise than in the era before."""

    def rows(self, era: str) -> Iterator[str]:
        """The lines."""
        return rule_rows(era, changed=True)


class EraRecordings(_Rows):
    """`{era-recordings} 7.3`: what was recorded of it."""

    def rows(self, era: str) -> Iterator[str]:
        """The lines."""
        return recording_rows(era)


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the directives."""
    app.add_directive("era-rules", EraRules)
    app.add_directive("era-changes", EraChanges)
    app.add_directive("era-recordings", EraRecordings)
    return {"parallel_read_safe": True}
