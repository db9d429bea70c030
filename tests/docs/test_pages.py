"""What a page says is so: its code runs, its commands exist, its links lead somewhere."""

import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from blocks import Block, BlockError, commands, fences, run_page
from bulkpages.cli import main
from links import dead_in_markdown, dead_in_site, external

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
CONSOLES = [(page, block) for page in PAGES for block in fences(page.read_text()) if block.kind == "console"]
# Commands as they are named in prose and in plain blocks: up to what ends them there.
MENTIONED = re.compile(r"(?:^\s*(?:\$ )?|`)((?:bulkpages|make) [a-z][^`\n#|]*)", re.MULTILINE)


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_python_blocks_do_what_the_page_says(page: Path, tmp_path: Path) -> None:
    run_page(page, tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    assert dead_in_markdown(page) == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_code_fits_the_page(page: Path) -> None:
    """The site shows about 92 columns; what is longer hides what a comment states."""
    for block in fences(page.read_text()):
        if block.kind == "python":
            for number, line in enumerate(block.text.splitlines(), block.line):
                assert len(line) <= 92, f"{name(page)}:{number} has {len(line)} columns"


def resolve(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that the words name, and the rest of them."""
    command: click.Command = main
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(click.Context(command), words[0])
        assert found is not None, f"no command {words[0]!r}"
        command, words = found, words[1:]
    return command, words


def check_options(words: list[str]) -> None:
    """Fails unless the command exists and has every option that the words name."""
    command, rest = resolve(words)
    known = {option for parameter in command.params for option in parameter.opts} | {"--help", "-h", "--version"}
    for word in rest:
        if word.startswith("--"):
            option = word.partition("=")[0].rstrip(".,;:)]")
            assert option in known, f"bulkpages {' '.join(words)}: no option {option}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    code = "\n".join(
        [block.text for block in fences(page.read_text()) if block.kind not in ("python", "text")]
        + [f"`{span}`" for span in re.findall(r"`([^`\n]+)`", page.read_text())]
    )
    for found in MENTIONED.findall(code):
        words = re.sub(r"[\[\]()]", " ", found).split()
        if words[0] == "make":
            assert words[1] in targets, f"no target {words[1]!r} in {found!r}"
        else:
            check_options(words[1:])


@pytest.mark.parametrize(("page", "block"), CONSOLES, ids=lambda x: name(x) if isinstance(x, Path) else str(x.line))
def test_consoles(page: Path, block: Block) -> None:
    """Commands whose output is stated print it."""
    given = list(commands(block))
    assert given, f"{name(page)}:{block.line}: no line begins with $"
    for i, command in enumerate(given):
        assert command.words[0] in ("bulkpages", "make"), command
        if command.words[0] == "bulkpages":
            check_options(list(command.words[1:]))
        printed = command.printed or (block.printed if i == len(given) - 1 else None)
        if printed:
            result = CliRunner().invoke(main, command.words[1:])
            # What a terminal shows; a command that fails says why on stderr.
            shown = result.output if result.exit_code else result.stdout
            assert shown == printed, f"{name(page)}:{command.line}"


def test_the_site_has_consoles_with_output() -> None:
    assert sum(block.printed is not None for _, block in CONSOLES) >= 2


# The collector itself.


def page_of(tmp_path: Path, text: str) -> Path:
    page = tmp_path / "page.md"
    page.write_text(text)
    return page


@pytest.mark.parametrize(
    ("code", "compared"),
    [
        ("1 + 1  # 2", 1),
        ("1 + 1  # 2: as everybody knows", 1),
        ("1 + 1  # not a value", 0),
        ("x = 1  # 2", 0),
        ("{'a': 1}  # {'a': 1}", 1),
        ("1 / 3  # 0.33", 1),
        ("2, (3, [4])  # 2, (3, [4])", 1),
        ("if True:\n    1 + 1  # 2", 1),
        ("sum(\n    [1, 2],\n)  # 3", 1),
        (">>> 1 + 1\n2", 1),
        ("None  # None", 1),
    ],
)
def test_values_are_compared(tmp_path: Path, code: str, compared: int) -> None:
    assert run_page(page_of(tmp_path, f"```python\n{code}\n```\n"), tmp_path) == compared


@pytest.mark.parametrize(
    "code",
    [
        "1 + 1  # 3",
        "1  # True",
        "1 / 3  # 0.34",
        "if True:\n    1 + 1  # 3: nested",
        "def f():\n    1 + 1  # 3\n\nf()",
        "2, 3  # 2, 4",
        "[1]  # []",
        ">>> 1 + 1\n3",
    ],
)
def test_wrong_values_are_found_and_placed(tmp_path: Path, code: str) -> None:
    with pytest.raises(BlockError, match=r"page\.md:|line \d"):
        run_page(page_of(tmp_path, f"# Title\n\n```python\n{code}\n```\n"), tmp_path)


def test_output_is_compared(tmp_path: Path) -> None:
    assert run_page(page_of(tmp_path, "```python\nprint(1)\n```\n\n```text\n1\n```\n"), tmp_path) == 1
    with pytest.raises(BlockError, match="the page says"):
        run_page(page_of(tmp_path, "```python\nprint(1)\n```\n\n```text\n2\n```\n"), tmp_path)


def test_blocks_share_names_in_order(tmp_path: Path) -> None:
    assert run_page(page_of(tmp_path, "```python\nx = 1\n```\n\n```python\nx  # 1\n```\n"), tmp_path) == 1
    with pytest.raises(NameError):
        run_page(page_of(tmp_path, "```python\ny\n```\n\n```python\ny = 1\n```\n"), tmp_path)


def test_dead_links_are_found(tmp_path: Path) -> None:
    page_of(tmp_path, "# A title, `code`\n\n[a](#a-title-code) [b](page.md#a-title-code)\n")
    assert dead_in_markdown(tmp_path / "page.md") == []
    other = tmp_path / "other.md"
    other.write_text(
        "[a](missing.md) [b](page.md#gone) ![c](gone.png) [d](https://example.org/)\n\n| x |\n|---|\n| [e](no.md) |\n"
    )
    assert [(dead.link, dead.why) for dead in dead_in_markdown(other)] == [
        ("missing.md", "no such file"),
        ("page.md#gone", "no such heading"),
        ("gone.png", "no such file"),
        ("no.md", "no such file"),
    ]


def test_dead_links_of_a_site_are_found(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "index.html").write_text(
        '<a href="deep/page.html#here">a</a> <a href="deep/page.html#gone">b</a> <img src="gone.svg"> '
        '<a href="#top">c</a> <a href="https://example.org/x">d</a> <a href="#">e</a>'
    )
    (tmp_path / "deep" / "page.html").write_text('<p id="here"><a href="../index.html">up</a></p>')
    dead, followed = dead_in_site(tmp_path)
    assert [(link.link, link.why) for link in dead] == [
        ("deep/page.html#gone", "no such anchor"),
        ("gone.svg", "no such file"),
        ("#top", "no such anchor"),
    ]
    assert followed == 5
    other = tmp_path / "page.md"
    other.write_text("[a](https://example.org/) [b](page.md)\n")
    assert external(other) == ["https://example.org/"]


def all_commands(command: click.Command, words: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = [words]
    if isinstance(command, click.Group):
        context = click.Context(command)
        for word in command.list_commands(context):
            inner = command.get_command(context, word)
            assert inner is not None
            found += all_commands(inner, (*words, word))
    return found


@pytest.mark.parametrize("words", all_commands(main), ids=lambda words: " ".join(words) or "bulkpages")
def test_help_reads_well(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, [*words, "--help"])
    assert result.exit_code == 0
    # A mark that keeps lines apart is for click, not for the reader; it does its work when it is no longer there.
    assert "\\b" not in result.stdout
    assert len(result.stdout.splitlines()) > 5


def test_commands_that_do_not_exist_are_found() -> None:
    check_options(["compare", "--quick", "--only", "null-*"])
    with pytest.raises(AssertionError, match="no option --quickly"):
        check_options(["compare", "--quickly"])
    with pytest.raises(AssertionError, match="no command"):
        check_options(["comparing"])
