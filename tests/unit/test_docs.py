"""What the documentation says is true, where that is cheap to find out."""

import ast
import importlib
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from queue_connector.cli import main
from queue_connector.codecs import codecs
from queue_connector.configuration import document
from queue_connector.configuration.schema import descriptors, rows
from queue_connector.connectors.kafka.options import OptionsForm, faults_of_options
from queue_connector.connectors.kafka.settings import SETTINGS
from queue_connector.connectors.tango.static_attributes import StaticAttribute
from queue_connector.device.device import SDPQueueConnector
from queue_connector.engine.state import TRANSITIONS
from queue_connector.model.endpoints import error_policies, pipes, sinks, sources
from queue_connector.observability.metrics import FAMILIES
from queue_connector.testing.cases import read_suite
from tests.support.graphviz import need_dot
from tests.support.matrix import ENCODINGS
from tests.support.pictures import arrows_of, texts_of

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
CONFIGURATIONS = [
    *sorted((ROOT / "examples").glob("*.json")),
    *sorted((DOCS / "how-to" / "configurations").glob("*.json")),
]
_BLOCK = re.compile(r"^```(\S+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(language):
    found = []
    for page in PAGES:
        for index, (kind, text) in enumerate(_BLOCK.findall(page.read_text("utf-8"))):
            if kind == language:
                found.append(pytest.param(text, id=f"{page.relative_to(ROOT)}:{index}"))
    return found


def generator():
    """The extension that makes the reference, without Sphinx's part of it."""
    pytest.importorskip("sphinx", reason="the documentation's tools are not installed")
    path = DOCS / "_ext" / "registry_tables.py"
    spec = importlib.util.spec_from_file_location("registry_tables", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("file", CONFIGURATIONS, ids=lambda file: file.name)
def test_every_example_is_valid(file):
    document.parse(file.read_bytes())


@pytest.mark.parametrize("text", blocks("json"))
def test_every_block_of_json_is_json_and_a_configuration_if_it_looks_like_one(text):
    value = json.loads(text)
    if isinstance(value, dict) and "exchanges" in value:
        document.parse(text)


@pytest.mark.parametrize("text", blocks("python"))
def test_every_block_of_python_compiles(text):
    compile(text, "block", "exec")


def test_every_program_of_the_python_page_prints_what_the_page_says():
    page = (DOCS / "reference" / "python.md").read_text("utf-8")
    programs = re.findall(r"^```python\n(.*?)^```\n+```text\n(.*?)^```", page, re.M | re.S)
    assert len(programs) == page.count("```python")
    for program, printed in programs:
        told = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=False
        )
        assert (told.stdout, told.stderr) == (printed, "")


def test_what_the_page_on_tests_of_configurations_prints_is_printed():
    page = (DOCS / "how-to" / "test-configurations.md").read_text("utf-8")
    blocks_of = r"^```bash\n\.venv/bin/queue-connector ([^\n]*)\n```\n+```text\n(.*?)^```"
    shown = re.findall(blocks_of, page, re.M | re.S)
    assert len(shown) == page.count("```bash")
    for command, printed in shown:
        told = subprocess.run(
            [sys.executable, "-m", "queue_connector", *command.split()],
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=60,
            check=False,
        )
        assert (told.stdout, told.stderr) == (printed, "")
        assert told.returncode == (1 if "FAILED" in printed else 0)


def test_the_picture_of_a_page_is_what_its_command_draws(tmp_path):
    need_dot()
    page = (DOCS / "how-to" / "write-a-configuration.md").read_text("utf-8")
    ((config, name),) = re.findall(r"-connector graph (\S+) --output (\S+\.svg)$", page, re.M)
    ((shown,),) = [re.findall(rf"^!\[.*\]\((\S*{re.escape(name)})\)$", page, re.M)]
    assert main(["graph", str(ROOT / config), "--output", str(tmp_path / name)]) == 0
    there, drawn = (DOCS / "how-to" / shown).read_bytes(), (tmp_path / name).read_bytes()
    assert texts_of(there) == texts_of(drawn)
    assert arrows_of(there) == arrows_of(drawn)


@pytest.mark.parametrize("file", sorted((DOCS / "how-to" / "tests").glob("*.json")), ids=str)
def test_every_file_of_tests_can_be_read(file):
    read_suite(file.read_bytes(), file.parent)


def test_the_first_two_commands_of_the_readme_are_the_demonstration_and_the_tests():
    (_, first), *_ = [found for found in _BLOCK.findall(PAGES[0].read_text()) if found[0] == "bash"]
    assert first.splitlines() == ["make demo SECONDS=20", "make test"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_target_of_make_that_a_page_names_exists(page):
    makefile = (ROOT / "Makefile").read_text()
    targets = {*re.findall(r"^([a-z-]+):.*##", makefile, re.MULTILINE)}
    text = page.read_text("utf-8")
    shell = "".join(block for language, block in _BLOCK.findall(text) if language == "bash")
    for command in re.findall(r"^make((?: [a-z-]+)+)", shell, re.M) + re.findall(
        r"`make((?: [a-z-]+)+)", text
    ):
        assert {*command.split()} <= targets


@pytest.mark.parametrize("text", blocks("{constants}"))
def test_every_limit_that_the_reference_names_is_in_the_code_with_a_docstring(text):
    body = "\n".join(generator().constants(text.split("\n")[:-1]))
    assert body.count("queue_connector.") == len(text.splitlines())


@pytest.mark.parametrize("text", blocks("bash"))
def test_every_command_of_a_page_is_where_make_install_puts_it(text):
    bare = re.findall(
        r"^ *(?:[A-Z_]+=\S+ +)*(queue-connector|SDPQueueConnector|pytest)\b", text, re.M
    )
    assert bare == []


def test_the_table_that_a_new_encoding_goes_into_is_where_the_guide_says():
    guide = (DOCS / "how-to" / "add-a-connector.md").read_text("utf-8")
    assert "`ENCODINGS` in `tests/support/matrix.py`" in guide
    assert {*ENCODINGS} == {*codecs} - {"bytes"}


@pytest.mark.parametrize(
    ("page", "module"),
    [("command-line.md", "queue_connector.cli"), ("device.md", "queue_connector.device.server")],
)
def test_every_exit_status_is_in_the_reference(page, module):
    told = importlib.import_module(module).__doc__.split("status", 1)[1]
    statuses = {"0", "1", *re.findall(r"\b(2|130|141|143|255)\b", told)}
    text = (DOCS / "reference" / page).read_text("utf-8")
    assert len(statuses) >= 4
    assert statuses <= {*re.findall(r"^\| (\d+) \|", text, re.M)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_finds_it(page):
    for target in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), target


def test_every_picture_is_shown_with_words_and_small_enough():
    there = {file: file.stat().st_size for file in (DOCS / "pictures").iterdir()}
    shown = set()
    for page in PAGES:
        text = page.read_text("utf-8")
        images = re.findall(r"^!\[(.*)\]\((.*)\)$", text, re.M)
        images += [
            (words, file)
            for file, words in re.findall(r'^<img src="(\S+)" .*alt="(.*)">$', text, re.M)
        ]
        assert len(images) == text.count("![") + text.count("<img ")
        for words, file in images:
            assert len(words) > 20, file
            assert (page.parent / file).exists(), file
            shown.add((page.parent / file).resolve())
    assert {*there} <= shown
    assert max(there.values()) < 500_000


def test_the_reference_has_every_descriptor_with_every_key():
    made = generator()
    families = ["outermost", "sources", "pipes", "sinks", "policies"]
    text = "\n".join(line for family in families for line in made.descriptors_of(family))
    for name, cls in descriptors():
        assert f"## {name}\n" in text
        for row in rows(cls):
            assert f"| `{row.key}` |" in text
    static = "\n".join(made.descriptors_of("attributes"))
    assert all(f"| `{row.key}` |" in static for row in rows(StaticAttribute))
    for registry in (sources, pipes, sinks, error_policies):
        assert all(f"## {name}\n" in text for name in registry)


def test_the_reference_has_every_connector_encoding_and_transition():
    made = generator()
    connectors = "\n".join(made.compatibility("connectors"))
    assert all(f"`{name}`" in connectors for name in (*sources, *sinks))
    encodings = "\n".join([*made.compatibility("encodings"), *made.encodings("")])
    assert all(f"| `{name}` |" in encodings and f"## {name}\n" in encodings for name in codecs)
    transitions = "\n".join(made.states("transitions"))
    for (before, trigger), after in TRANSITIONS.items():
        assert f"| `{before}` | {trigger.value} | `{after}` |" in transitions


def test_the_reference_has_every_metric_and_the_guide_names_no_other():
    text = "\n".join(generator().metric_families(""))
    assert all(f"| `{family.name}` |" in text for family in FAMILIES)
    guide = (DOCS / "how-to" / "watch-the-numbers.md").read_text("utf-8")
    named = {*re.findall(r"queue_connector_\w+", guide)}
    assert len(named) >= 6
    assert {name.removesuffix("_bucket") for name in named} <= {family.name for family in FAMILIES}


@pytest.mark.parametrize("table", ["properties", "commands", "attributes"])
def test_the_reference_says_of_all_that_tango_shows_what_it_is(table):
    names = {
        "properties": SDPQueueConnector.TangoClassClass.device_property_list,
        "commands": SDPQueueConnector.TangoClassClass.cmd_list,
        "attributes": SDPQueueConnector.TangoClassClass.attr_list,
    }
    shown = [line for line in generator().device(table) if line.startswith("| `")]
    assert {line.split("`")[1] for line in shown} == names[table].keys()
    assert all(line.split(" | ")[-1].rstrip(" |") for line in shown)


def test_every_reason_of_the_ledger_that_the_reference_names_is_in_the_code():
    page = (DOCS / "reference" / "ledger.md").read_text("utf-8")
    reasons = re.findall(r"`([^`]+)`", "".join(re.findall(r"^  `.*`$", page, re.MULTILINE)))
    code = "\n".join(path.read_text() for path in (ROOT / "queue_connector").rglob("*.py"))
    assert len(reasons) >= 7
    assert all(f'"{reason}"' in code for reason in reasons)


def test_the_table_of_kafka_options_has_each_setting_and_marks_the_secrets():
    lines = [line for line in generator().kafka_options("") if line.startswith("| `")]
    assert [line.split("`")[1] for line in lines] == list(SETTINGS)
    marked = [line.split("`")[1] for line in lines if line.split("|")[3].strip() == "yes"]
    assert marked == [name for name, setting in SETTINGS.items() if setting.secret]


def test_what_the_how_to_says_of_options_is_what_may_be_written():
    text = (DOCS / "how-to" / "secure-the-connections.md").read_text("utf-8")
    values = [json.loads(block) for kind, block in _BLOCK.findall(text) if kind == "json"]
    groups = [value for value in values if "exchanges" not in value]
    assert len(groups) == 3
    for options in groups:
        tls = {"security.protocol": "SSL", **options}
        assert list(OptionsForm().faults(tls)) == []
        assert list(faults_of_options(tls, sink=False)) == []


def words_of_the_package():
    """All that stands in its texts, one after another; what is filled in is a gap."""
    found = []
    for file in sorted((ROOT / "queue_connector").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (
                    each.value if isinstance(each, ast.Constant) else "" for each in node.values
                )
                found.append("\0".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\0".join(found)


def test_what_the_page_of_symptoms_quotes_is_what_the_package_says():
    page = (DOCS / "how-to" / "find-out-why-nothing-flows.md").read_text("utf-8")
    rows = re.findall(r"^\| [^|]*?`([^`|]+)`", page, re.M)
    quoted = [piece.strip() for row in rows for piece in row.split("…")]
    assert len(quoted) > 30
    told = words_of_the_package()

    def said(piece):
        """Whether it is a text of the package, or put together of two."""
        cuts = [
            each.start() for each in re.finditer(" ", piece) if 8 <= each.start() < len(piece) - 8
        ]
        halves = ((piece[:cut], piece[cut + 1 :]) for cut in cuts)
        return piece in told or any(one in told and other in told for one, other in halves)

    assert [piece for piece in quoted if not said(piece.strip(" :"))] == []


def test_what_the_page_of_migration_shows_of_older_words_is_what_is_said(capsys, monkeypatch):
    monkeypatch.chdir(DOCS / "how-to" / "configurations")
    assert main(["validate", "older-words.json"]) == 0
    told = capsys.readouterr()
    page = (DOCS / "how-to" / "migrate-from-upstream.md").read_text("utf-8")
    (shown,) = re.findall(r"^```text\n(.*?)^```", page, re.M | re.S)
    assert shown == told.out + told.err


@pytest.mark.parametrize("dtype", ["bytearray", "dict", "list"])
def test_what_the_page_of_migration_calls_refused_is(dtype, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    text = (DOCS / "how-to" / "configurations" / "in-memory.json").read_text("utf-8")
    value = json.loads(text)
    value["exchanges"][0]["dtype"] = dtype
    Path("refused.json").write_text(json.dumps(value))
    assert main(["validate", "refused.json"]) == 1
    assert "$.exchanges[0].dtype: " in capsys.readouterr().out
