"""What the pages take from the product itself: pictures, signatures, flags, the help of commands."""

from __future__ import annotations

import ast
import inspect
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import click
from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from myst_parser.parsers.sphinx_ import MystParser
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

import bulkpages
from bulkpages import _core, gfp
from bulkpages.cli import main
from notebook import to_markdown
from pictures import PICTURES, render

LOG = logging.getLogger(__name__)


class Picture(SphinxDirective):
    """`{picture} NAME`: a picture of `pictures`, in the colours of the page; the content is its caption."""

    required_arguments = 1
    has_content = True
    option_spec = {"alt": directives.unchanged_required}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        """Draws it, once in each colour scheme."""
        name = self.arguments[0]
        if name not in PICTURES:
            raise self.error(f"no picture {name!r}: {', '.join(PICTURES)}")
        if "alt" not in self.options:
            raise self.error(f"the picture {name!r} needs :alt:, words for who cannot see it")
        drawn = self.env.temp_data.setdefault("pictures", set())
        if name not in drawn:
            render(name, Path(self.env.srcdir) / "_pictures")
            drawn.add(name)
        figure = nodes.figure()
        for scheme in ("light", "dark"):
            image = nodes.image(uri=f"/_pictures/{name}-{scheme}.svg", alt=self.options["alt"])
            image["classes"].append(f"only-{scheme}")
            figure += image
        if self.content:
            caption = nodes.caption("", "")
            text = nodes.Element()
            self.state.nested_parse(self.content, self.content_offset, text)
            caption += text.children[0].children
            figure += caption
        self.set_source_info(figure)
        return [figure]


class NotebookParser(MystParser):
    """Reads `.ipynb`."""

    supported = ("ipynb",)

    def parse(self, inputstring: str, document: nodes.document) -> None:
        """Parses the notebook as Markdown."""
        folder = Path(document.settings.env.srcdir) / "_pictures"
        super().parse(to_markdown(json.loads(inputstring), folder), document)


class GfpFlags(SphinxDirective):
    """`{gfp-flags}`: every flag of `bulkpages.gfp`, its value, and the flags that it is made of."""

    def run(self) -> list[nodes.Node]:
        """Makes the table."""
        bits = {name: getattr(gfp, name) for name in gfp.__all__ if getattr(gfp, name).bit_count() == 1}
        bits = {name: value for name, value in bits.items() if name.startswith("__")}
        says = {name: text for (_, name), text in ModuleAnalyzer.for_module("bulkpages.gfp").find_attr_docs().items()}
        lines = []
        for name in sorted(gfp.__all__, key=lambda name: (name.startswith("__"), getattr(gfp, name))):
            value = getattr(gfp, name)
            parts = [bit for bit, one in bits.items() if value & one and bit != name]
            of = f" Made of {', '.join(f'``{part}``' for part in parts)}." if parts else ""
            lines += [
                f".. py:data:: {name}",
                "   :type: int",
                f"   :value: {value:#x}",
                "",
                f"   {' '.join(says[name]).strip().replace('`', '``')}{of}",
                "",
            ]
        text = StringList([".. py:currentmodule:: bulkpages", "", *lines], "gfp-flags")
        box = nodes.Element()
        self.state.nested_parse(text, self.content_offset, box)
        return box.children


class CommandHelp(SphinxDirective):
    """`{command-help}`: what `--help` prints, a section for each command."""

    def run(self) -> list[nodes.Node]:
        """Makes the sections."""
        out: list[nodes.Node] = []

        def add(command: click.Command, context: click.Context) -> None:
            if context.parent is not None:
                section = nodes.section(ids=[nodes.make_id(context.command_path)])
                section += nodes.title(text=context.command_path)
                section += nodes.literal_block(text=command.get_help(context), language="text")
                self.state.document.note_implicit_target(section)
                out.append(section)
            if isinstance(command, click.Group):
                for name in command.list_commands(context):
                    inner = command.get_command(context, name)
                    if inner is not None:
                        add(inner, click.Context(inner, info_name=name, parent=context, terminal_width=88))

        add(main, click.Context(main, info_name="bulkpages", terminal_width=88))
        return out


@cache
def _stub() -> dict[str, ast.FunctionDef]:
    """The functions of the compiled part as its stub types them; methods as `Class.method`."""
    path = Path(inspect.getfile(bulkpages)).parent / "_core.pyi"
    found: dict[str, ast.FunctionDef] = {}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = node
        elif isinstance(node, ast.ClassDef):
            found.update({f"{node.name}.{f.name}": f for f in node.body if isinstance(f, ast.FunctionDef)})
    return found


def signature(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, text: str | None, returned: str | None
) -> tuple[str | None, str | None] | None:
    """Compiled functions know no types; their stub does."""
    if what == "class" and obj is _core.PageArray:
        function: ast.FunctionDef | None = _stub()["PageArray.__new__"]
    else:
        owner = getattr(obj, "__objclass__", None) if inspect.ismethoddescriptor(obj) else None
        key = f"{owner.__name__}.{obj.__name__}" if owner is not None and owner.__module__.endswith("_core") else ""
        function = _stub().get(key)
    if function is None:
        return None
    arguments = ast.unparse(function.args).replace("SupportsIndex", "int")
    for first in ("self, ", "self", "cls, "):
        arguments = arguments.removeprefix(first)
    arguments = arguments.removeprefix("/, ")
    shown = None if what == "class" or function.returns is None else ast.unparse(function.returns)
    return f"({arguments})", shown


_PLAIN: dict[str, list[str]] = {}


def keep(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Before napoleon: keeps what a property says."""
    if what in ("attribute", "data", "property"):
        _PLAIN[name] = list(lines)


def give_back(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """After napoleon, which takes the words in front of a property's first colon for its type."""
    if what in ("attribute", "data", "property"):
        lines[:] = _PLAIN.pop(name, lines)


def public_names() -> set[str]:
    """Every name that the package offers."""
    names = {f"bulkpages.{name}" for name in bulkpages.__all__} - {"bulkpages.__version__", "bulkpages.callers"}
    return names | {f"bulkpages.callers.{name}" for name in bulkpages.callers.__all__}


def check_names(app: Sphinx, env: Any) -> None:
    """Warns, which is an error, about each public name without an entry in the reference."""
    documented = {entry[0] for entry in env.domains["py"].get_objects()}
    for name in sorted(public_names() - documented):
        LOG.warning("%s is public and not in the API reference", name)


class BreakLongNames(SphinxPostTransform):
    """Lets code in a table break behind the parts of a name, which a narrow column cannot do without."""

    default_priority = 900
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        """Changes every table."""
        for entry in self.document.findall(nodes.entry):
            for code in list(entry.findall(nodes.literal)):
                parts = re.findall(r".+?(?:::|[_/]+|$)", code.astext())
                if len(parts) > 1 and len(code.astext()) > 12:
                    code.clear()
                    for i, part in enumerate(parts):
                        if i:
                            code += nodes.raw("", "<wbr>", format="html")
                        code += nodes.Text(part)


def top_pages(app: Sphinx, page: str, source: list[str]) -> None:
    """Pages that lie at the top of the repository: the site has them under their own names."""
    top = Path(app.srcdir).parent
    names = {
        path.name: path.name.lower() for path in top.glob("*.md") if (Path(app.srcdir) / path.name.lower()).exists()
    }
    if f"{page}.md" not in names.values():
        return
    path = next(top / name for name, lower in names.items() if lower == f"{page}.md")
    text = path.read_text().replace("](docs/", "](")
    for name, lower in names.items():
        text = text.replace(f"]({name}", f"]({lower}")
    source[0] = text


def setup(app: Sphinx) -> dict[str, Any]:
    """Entry point of Sphinx."""
    app.add_source_suffix(".ipynb", "ipynb")
    app.add_source_parser(NotebookParser)
    app.add_directive("picture", Picture)
    app.add_directive("gfp-flags", GfpFlags)
    app.add_directive("command-help", CommandHelp)
    app.add_post_transform(BreakLongNames)
    app.connect("source-read", top_pages)
    app.connect("autodoc-process-signature", signature)
    app.connect("autodoc-process-docstring", keep, priority=400)
    app.connect("autodoc-process-docstring", give_back, priority=600)
    app.connect("env-check-consistency", check_names)
    return {"parallel_read_safe": False}
