"""Sphinx directives that make the reference out of the code: no table of it is written by hand.

Each directive writes Markdown, which MyST parses as if it stood in the page.

* ``descriptors``     the keys of a family: ``outermost``, ``sources``, ``pipes``, ``sinks``,
                      ``policies``
* ``dtypes``          names of data types → numpy → Tango: ``names``, ``removed``
* ``compatibility``   what goes with what: ``connectors``, ``encodings``
* ``encodings``       what each encoding writes and refuses
* ``kafka-options``   the settings that ``options`` of a Kafka topic may hold
* ``states``          ``meanings``, ``transitions``
* ``device``          ``properties``, ``commands``, ``attributes``
* ``metrics``         name, type, labels and meaning of each metric
* ``environment``     the variables that name the configuration database
* ``command-line``    the help of ``queue-connector``
* ``python-api``      what `queue_connector`, or another module, exports, with methods
* ``headers``         the headers of a dead letter
* ``errors``          the tree of exceptions
* ``constants``       names of module attributes, one on each line: value and docstring
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective

# The first is read for its effect too: what it imports is what the registries hold.
from queue_connector import cli
from queue_connector.codecs import codec_for, codecs
from queue_connector.configdb import environment
from queue_connector.configuration import document  # noqa: F401
from queue_connector.configuration.schema import descriptors, rows, summary
from queue_connector.connectors.kafka.dead_letter import HEADERS
from queue_connector.connectors.kafka.settings import SETTINGS
from queue_connector.connectors.tango.static_attributes import StaticAttribute
from queue_connector.connectors.tango.types import tango_type
from queue_connector.device.device import SDPQueueConnector
from queue_connector.engine import state
from queue_connector.model import datatypes, errors
from queue_connector.model.datatypes import DataSpec, Kind
from queue_connector.model.endpoints import UNIONS, EndpointDescriptor, sinks, sources
from queue_connector.model.option import Descriptor
from queue_connector.model.registry import Registry
from queue_connector.observability import metrics

NOT = "—"


def table(head: Sequence[str], body: Iterable[Sequence[str]]) -> Iterator[str]:
    """A table in Markdown."""
    yield ""
    for line in (head, ["---"] * len(head), *body):
        cells = (" ".join(cell.split()).replace("|", "\\|") for cell in line)
        yield f"| {' | '.join(cells)} |"
    yield ""


def code(text: str) -> str:
    """A text in the typeface of code; nothing for nothing."""
    return f"`{text}`" if text else ""


def markdown(text: str) -> str:
    """A docstring as Markdown; a list of ``* name   text`` gets its names in bold."""
    return re.sub(r"^\* (\S+) {2,}", r"* **\1:** ", text, flags=re.MULTILINE)


# -- descriptors -----------------------------------------------------------------------------------


def _family(cls: type[Descriptor]) -> str:
    found = (registry.what for base, registry in UNIONS.items() if issubclass(cls, base))
    return {"": "outermost", "policy": "policies"}.get(what := next(found, ""), f"{what}s")


def descriptors_of(family: str) -> Iterator[str]:
    """Every descriptor of a family, with its keys; for ``attributes``, those of one entry."""
    if family == "attributes":
        yield from _keys(StaticAttribute)
    for name, cls in descriptors():
        if _family(cls) == family:
            yield from (f"## {name}", "", summary(cls), "")
            for base, registry in UNIONS.items():
                for older in registry.aliases_of(name) if issubclass(cls, base) else ():
                    yield from (f"The older spelling `{older}` is read too, with a warning.", "")
            yield from _keys(cls)


def _keys(cls: type[Descriptor]) -> Iterator[str]:
    keys = rows(cls)
    if not keys:
        yield "It has no keys but `type`."
        return
    yield from table(
        ("key", "type", "default", "unit", "meaning"),
        (
            (
                code(row.key),
                row.type,
                code(row.default) if row.default else "**required**",
                row.unit,
                row.doc,
            )
            for row in keys
        ),
    )


# -- data types ------------------------------------------------------------------------------------


def dtypes(which: str) -> Iterator[str]:
    """What may be written as a dtype, or what may no longer be."""
    if which == "removed":
        removed = datatypes._REMOVED.items()
        yield from table(("written", "instead"), ((code(name), hint) for name, hint in removed))
        return
    known: dict[Any, list[str]] = {}
    for name in (*datatypes._OFFERED, *datatypes._ALIASES):
        known.setdefault(datatypes.parse_dtype(name), []).append(name)
    body = []
    for dtype, names in known.items():
        spec = DataSpec(dtype)
        tango = tango_type(spec)
        body.append(
            (
                code(str(datatypes.dtype_name(dtype))),
                ", ".join(code(name) for name in names if name != datatypes.dtype_name(dtype)),
                spec.kind.value,
                code(dtype.str) if spec.kind not in (Kind.BYTES, Kind.OBJECT) else NOT,
                NOT if tango is None else code(str(tango)),
            )
        )
    yield from table(("dtype", "also written", "kind", "numpy", "Tango"), body)


# -- what goes with what ---------------------------------------------------------------------------

SAMPLES: dict[str, Any] = {
    **{
        kind.value: {Kind.INT: "int64", Kind.FLOAT: "float64"}.get(kind, kind.value)
        for kind in Kind
    },
    "struct": [["x", "float64"]],
    "struct with datetime64": [["ts", "datetime64[ns]"]],
}
"""A dtype for each column of the table of encodings."""

SHAPES: dict[str, tuple[int, ...]] = {
    "scalar": (),
    "1-D": (3,),
    "2-D": (2, 3),
    "n-D": (2, 3, 4),
    "dynamic": (-1, 3),
}


def compatibility(which: str) -> Iterator[str]:
    """Connector × kind, or encoding × kind × shape."""
    yield from _connectors() if which == "connectors" else _encodings()


def _connectors() -> Iterator[str]:
    members: list[tuple[str, type[EndpointDescriptor]]] = [*sources.items(), *sinks.items()]
    yield from table(
        ("", *(kind.value for kind in Kind), "dimensions", "dynamic"),
        (
            (
                code(name),
                *("✓" if kind in cls.kinds else "" for kind in Kind),
                "any" if cls.max_dimensions is None else f"≤ {cls.max_dimensions}",
                "✓" if cls.dynamic_shapes else "",
            )
            for name, cls in members
        ),
    )


def _encodings() -> Iterator[str]:
    yield from table(
        ("encoding", *SAMPLES),
        ((code(name), *(_shapes(name, dtype) for dtype in SAMPLES.values())) for name in codecs),
    )


def _shapes(encoding: str, dtype: Any) -> str:
    carried = []
    for name, shape in SHAPES.items():
        spec = DataSpec(dtype, shape)
        if not codec_for(encoding, spec).refusal(spec):
            carried.append(name)
    if carried == list(SHAPES):
        return "any"
    if carried == [name for name in SHAPES if name != "n-D"]:
        return "≤ 2-D"
    return ", ".join(carried) or NOT


def encodings(_which: str) -> Iterator[str]:
    """The contract of each encoding, as the module that holds it states it."""
    for name, cls in codecs.items():
        title, _, text = inspect.cleandoc(inspect.getmodule(cls).__doc__ or "").partition("\n")
        told = title.removeprefix(f"``{name}``:").strip()
        yield from (f"## {name}", "", told[:1].upper() + told[1:], "", markdown(text.strip()), "")


# -- options of librdkafka -------------------------------------------------------------------------


def kafka_options(_which: str) -> Iterator[str]:
    """Every setting that may be given, what to write, and whether it is a secret."""
    yield from table(
        ("setting", "write", "secret", "meaning"),
        (
            (
                code(setting.name),
                setting.kind,
                "yes" if setting.secret else "",
                setting.doc + (" Sinks only." if setting.sink_only else ""),
            )
            for setting in SETTINGS.values()
        ),
    )


# -- states ----------------------------------------------------------------------------------------


def states(which: str) -> Iterator[str]:
    """What the states mean, or what leads from one to another."""
    if which == "meanings":
        lines = re.findall(r"^([A-Z]+)  +(.+)$", state.__doc__ or "", re.MULTILINE)
        meanings = ((code(name), meaning.replace("``", "`")) for name, meaning in lines)
        yield from table(("state", "meaning"), meanings)
        return
    yield from table(
        ("from", "trigger", "to"),
        (
            (code(before), trigger.value, code(after))
            for (before, trigger), after in state.TRANSITIONS.items()
        ),
    )


# -- device ----------------------------------------------------------------------------------------


def device(which: str) -> Iterator[str]:
    """The Tango interface, as the device's class declares it."""
    tango_class = SDPQueueConnector.TangoClassClass
    match which:
        case "properties":
            yield from table(
                ("property", "type", "default", "meaning"),
                (
                    (code(name), code(str(kind)), code(repr(default)), doc)
                    for name, (kind, doc, default, *_) in tango_class.device_property_list.items()
                ),
            )
        case "commands":
            yield from table(
                ("command", "takes", "gives", "what it does"),
                (
                    (code(name), _argument(given), _argument(answer), _first_line(name))
                    for name, (given, answer, *_) in sorted(tango_class.cmd_list.items())
                ),
            )
        case "attributes":
            yield from table(
                ("attribute", "type", "what it tells"),
                (
                    (code(name), code(str(declared.attr_type)), declared.att_prop.description)
                    for name, declared in tango_class.attr_list.items()
                ),
            )


def _argument(told: Sequence[Any]) -> str:
    kind, doc = str(told[0]), str(told[1])
    if kind == "DevVoid":
        return ""
    return code(kind) if doc.startswith(":") else f"{code(kind)}: {doc}"  # PyTango's own is no doc


def _first_line(name: str) -> str:
    declared = getattr(SDPQueueConnector, name)
    return " ".join(inspect.cleandoc(declared.__doc__ or "").split("\n\n")[0].split())


def metric_families(_which: str) -> Iterator[str]:
    """Every metric of our own."""
    yield from table(
        ("metric", "type", "labels", "meaning"),
        (
            (
                code(family.name),
                family.kind.__name__.removesuffix("MetricFamily").lower(),
                ", ".join(code(label) for label in family.labels),
                family.doc,
            )
            for family in metrics.FAMILIES
        ),
    )


def environment_variables(_which: str) -> Iterator[str]:
    """The table in the docstring of the module that reads the variables."""
    lines = (environment.__doc__ or "").splitlines()
    first, second, last = (number for number, line in enumerate(lines) if line.startswith("==="))
    starts = [match.start() for match in re.finditer(r"=+", lines[first])]
    ends = [*starts[1:], None]
    cells: list[list[str]] = []
    for line in lines[second + 1 : last]:
        parts = [line[start:end].strip() for start, end in zip(starts, ends, strict=True)]
        if parts[0]:
            cells.append(parts)
        else:
            cells[-1] = [" ".join(pair).strip() for pair in zip(cells[-1], parts, strict=True)]
    yield from table(("variable", "default", "meaning"), cells)


# -- command line ----------------------------------------------------------------------------------


def command_line(_which: str) -> Iterator[str]:
    """What ``--help`` says, of the tool and of each command."""
    columns, os.environ["COLUMNS"] = os.environ.get("COLUMNS"), "88"
    try:
        yield from _help(cli._parser())
    finally:
        os.environ.pop("COLUMNS")
        if columns is not None:
            os.environ["COLUMNS"] = columns


def _help(parser: argparse.ArgumentParser) -> Iterator[str]:
    yield from (f"## {parser.prog}", "", "```text", parser.format_help().rstrip(), "```", "")
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _help(command)


# -- errors and limits -----------------------------------------------------------------------------


def error_tree(_which: str) -> Iterator[str]:
    """Every exception of the package's tree, below the one that it derives from."""
    yield from _errors(errors.QueueConnectorError, 0)


def _errors(cls: type[BaseException], depth: int) -> Iterator[str]:
    text = " ".join(inspect.cleandoc(cls.__doc__ or "").split())
    yield f"{'  ' * depth}* **{cls.__name__}**: {text}"
    for below in sorted(cls.__subclasses__(), key=lambda known: known.__name__):
        if below.__module__.startswith("queue_connector"):
            yield from _errors(below, depth + 1)


def constants(names: Sequence[str]) -> Iterator[str]:
    """Values and docstrings of module attributes."""
    body = []
    for line in names:
        path, unit = [*line.split(maxsplit=1), ""][:2]
        module_name, _, name = path.rpartition(".")
        value = getattr(importlib.import_module(module_name), name)
        doc = " ".join(ModuleAnalyzer.for_module(module_name).find_attr_docs().get(("", name), ()))
        if not doc:
            raise ExtensionError(f"{path} has no docstring to show")
        written = f"{value:,}".replace(",", " ") if isinstance(value, int) else str(value)
        body.append((written + (f" {unit}" if unit else ""), doc.strip(), code(path)))
    yield from table(("limit", "of what", "in the code"), body)


# -- Python ----------------------------------------------------------------------------------------


def python_api(which: str) -> Iterator[str]:
    """What a module exports: signatures and docstrings, with the public methods of classes."""
    module = importlib.import_module(which or "queue_connector")
    for name in sorted(module.__all__, key=str.lower):
        found = getattr(module, name)
        yield f"### {name}"
        yield ""
        if isinstance(found, Registry):
            known = ", ".join(code(known) for known in found)
            yield f"The registry of each {found.what} that a configuration can name: {known}."
        else:
            yield code(f"{name}{_signature(found)}")
            yield ""
            yield markdown(inspect.getdoc(found) or "")
        if inspect.isclass(found):
            yield from _methods(found)
        yield ""


def _signature(function: Callable[..., Any]) -> str:
    try:
        found = inspect.signature(function)
    except ValueError:  # of an enumeration
        return ""
    plain = [
        each.replace(annotation=inspect.Parameter.empty)
        for each in found.parameters.values()
        if each.name != "self"
    ]
    return str(found.replace(parameters=plain, return_annotation=inspect.Signature.empty))


def _methods(cls: type) -> Iterator[str]:
    body = []
    for name, member in inspect.getmembers_static(cls):
        if name.startswith("_"):
            continue
        if isinstance(member, property):
            body.append((code(name), _told(member.fget)))
        elif isinstance(member, classmethod | staticmethod) or inspect.isfunction(member):
            function = getattr(cls, name)
            body.append((code(f"{name}{_signature(function)}"), _told(function)))
    if body:
        yield from table(("method or property", "what it does"), body)


def _told(function: Any) -> str:
    """The first paragraph of a docstring, and what it says of errors, in one line."""
    paragraphs = (inspect.getdoc(function) or "").split("\n\n")
    raised = [each for each in paragraphs[1:] if each.startswith("Raises:")]
    return " ".join(" ".join([paragraphs[0], *raised]).split())


# -- Sphinx ----------------------------------------------------------------------------------------


class Generated(SphinxDirective):
    """A directive whose content is what a function says of its argument."""

    optional_arguments = 1
    function: ClassVar[Callable[[str], Iterator[str]]]

    def run(self) -> list[nodes.Node]:
        """The nodes that the Markdown means."""
        which = self.arguments[0] if self.arguments else ""
        text = "\n".join(type(self).function(which))
        return self.parse_text_to_nodes(text, allow_section_headings=True)


class Constants(SphinxDirective):
    """A table of constants, named one on each line, each with its unit behind it."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """The nodes of the table."""
        return self.parse_text_to_nodes("\n".join(constants(self.content)))


def headers(_which: str) -> Iterator[str]:
    """The headers of a dead letter."""
    yield from table(("header", "what it says"), ((code(n), doc) for n, doc in HEADERS.items()))


DIRECTIVES: dict[str, Callable[[str], Iterator[str]]] = {
    "headers": headers,
    "descriptors": descriptors_of,
    "dtypes": dtypes,
    "compatibility": compatibility,
    "encodings": encodings,
    "kafka-options": kafka_options,
    "states": states,
    "device": device,
    "metrics": metric_families,
    "environment": environment_variables,
    "command-line": command_line,
    "errors": error_tree,
    "python-api": python_api,
}


def _outdated(_app: Sphinx, env: Any, *_changes: Any) -> list[str]:
    """The reference is read anew in every build: the code may have changed."""
    return [name for name in env.found_docs if name.startswith("reference/")]


def setup(app: Sphinx) -> dict[str, bool]:
    """Entry point of the extension."""
    for name, function in DIRECTIVES.items():
        made = type(name, (Generated,), {"function": staticmethod(function), "__doc__": name})
        app.add_directive(name, made)
    app.add_directive("constants", Constants)
    app.connect("env-get-outdated", _outdated)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
