"""The example of a plugin, built and installed as a user would, beside the connector."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "plugin"
NAME = "queue-connector-example"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Where the example is installed; built from a copy, so that nothing is left in the sources."""
    source = tmp_path_factory.mktemp("source") / "plugin"
    shutil.copytree(EXAMPLE, source)
    target = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--target", str(target)]
    done = subprocess.run([*pip, *options, str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target


def run(*arguments, target=None, **environment):
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **({"PYTHONPATH": str(target)} if target else {}), **environment},
        timeout=60,
    )


def test_it_keeps_the_contracts(installed):
    done = run("pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLE / "tests"), target=installed)
    assert done.returncode == 0, done.stdout
    assert re.search(r"\b10 passed", done.stdout), done.stdout


def test_a_configuration_may_name_what_it_offers_once_that_is_asked_for(installed):
    tool, file = "queue_connector", str(EXAMPLE / "clock.json")
    done = run(tool, "validate", file, target=installed)
    assert done.returncode == 1
    assert "no source is called 'ClockSource'" in done.stdout
    assert "one of a plugin needs the plugin's name: --plugins" in done.stdout
    for plugins, environment in (
        (["--plugins", NAME], {}),
        ([], {"QUEUE_CONNECTOR_PLUGINS": NAME}),
    ):
        done = run(tool, *plugins, "validate", file, target=installed, **environment)
        assert (done.returncode, done.stderr) == (0, "")
    schema = json.loads(run(tool, "--plugins", NAME, "schema", target=installed).stdout)
    text = json.dumps(schema)
    assert all(f'"{name}"' in text for name in ("ClockSource", "LogSink", "ScalePipe"))


def test_the_device_runs_it(installed, tmp_path):
    configuration = json.loads((EXAMPLE / "clock.json").read_text())
    configuration["exchanges"][0]["source"]["period"] = 0.05
    configuration["exchanges"][0]["sink"] = {"type": "LogSink"}
    file = tmp_path / "clock.json"
    file.write_text(json.dumps(configuration))
    command = [sys.executable, "-m", "queue_connector", "--plugins", NAME, "serve", str(file)]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(installed)}
    ) as serving:
        assert serving.stderr is not None
        told = []
        for line in serving.stderr:
            told.append(line)
            if re.search(r"\|default\[0\]: 1\d{9}\.\d", line):
                serving.send_signal(signal.SIGTERM)
                break
        serving.stderr.read()
        assert serving.wait(30) == 0, "".join(told)


def broken(directory, name, module, group="queue_connector.codecs"):
    """A distribution as pip leaves it, whose entry point names this module."""
    info = directory / f"{name}-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[{group}]\nx = {module}\n")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nowhere", "the plugin 'nowhere' is not installed here; installed: fails, odd, queue"),
        ("fails", "the plugin 'fails' cannot be loaded: failing: ZeroDivisionError: division by"),
        ("others", "the plugin 'others' has no entry points of the groups queue_connector.conn"),
        ("taken", "the plugin 'taken' cannot be loaded: taking: ValueError: two encodings are"),
        ("odd", "the plugin 'odd' cannot be loaded: oddity: TypeError: the field 'path' of the"),
    ],
)
def test_a_plugin_that_cannot_be_used_is_told_by_its_name(installed, tmp_path, name, told):
    shutil.copytree(installed, tmp_path, dirs_exist_ok=True)
    broken(tmp_path, "fails", "failing")
    (tmp_path / "failing.py").write_text("1 / 0\n")
    broken(tmp_path, "others", "failing", group="pytest11_none")
    broken(tmp_path, "taken", "taking")
    (tmp_path / "taking.py").write_text(
        "import queue_connector as qc\n@qc.codecs.register('json')\nclass Taking(qc.Codec): ...\n"
    )
    broken(tmp_path, "odd", "oddity", group="queue_connector.connectors")
    (tmp_path / "oddity.py").write_text(
        "import pathlib, attrs, queue_connector as qc\n"
        "@qc.sources.register('Odd')\n@attrs.frozen(kw_only=True)\n"
        "class Odd(qc.SourceDescriptor):\n    path: pathlib.Path = qc.option(doc='x')\n"
    )
    done = run("queue_connector", "--plugins", f"{NAME},{name}", "schema", target=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"queue-connector: {told}"), done.stderr
    assert len(done.stderr.splitlines()) == 1
