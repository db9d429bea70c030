"""Builds the documentation site and follows every link in it; `make docs` runs this."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from sphinx.cmd.build import main as sphinx

HERE = Path(__file__).parent
SITE = HERE.parent / "site"
sys.path.insert(0, str(HERE / "_ext"))

from links import dead_in_site, external  # noqa: E402


def sources() -> list[Path]:
    """Every Markdown page of the site, and those beside it."""
    return sorted([*HERE.parent.glob("*.md"), *HERE.rglob("*.md")])


def main(arguments: list[str]) -> int:
    """Builds; or lists the links to other sites, which need a network to be tried."""
    if arguments == ["external"]:
        for page in sources():
            for link in external(page):
                print(f"{page.relative_to(HERE.parent)}: {link}")
        return 0
    if arguments:
        print(f"{arguments[0]!r} is not known: external, or nothing", file=sys.stderr)
        return 2
    shutil.rmtree(SITE, ignore_errors=True)
    # Warnings are errors; -E: nothing is remembered, since the pages depend on the installed package.
    status = sphinx(
        ["-q", "-E", "-W", "--keep-going", "-b", "html", "-d", str(SITE / ".doctrees"), str(HERE), str(SITE)]
    )
    if status:
        return status
    dead, followed = dead_in_site(SITE)
    for link in dead:
        print(link, file=sys.stderr)
    print(f"site/index.html: {len(list(SITE.rglob('*.html')))} pages, {followed} links followed, {len(dead)} dead")
    return 1 if dead else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
