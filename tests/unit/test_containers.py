"""Dockerfile and compose.yaml, read as there is no engine here: what they name is there."""

import importlib.util
import json
import re
from pathlib import Path

import pytest
import yaml

from queue_connector import cli
from queue_connector.observability import healthcheck

ROOT = Path(__file__).parents[2]
DOCKERFILE = re.sub(r"\\\n *", "", (ROOT / "Dockerfile").read_text("utf-8"))
SERVICES = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))["services"]
DEVICES = {name: one for name, one in SERVICES.items() if "serve" in one.get("command", ())}
OURS = {name: one for name, one in SERVICES.items() if one.get("build") == "."}


def said(instruction):
    return re.findall(rf"^{instruction} (.*)$", DOCKERFILE, re.M)


def options(service):
    """What the tool understands of a command, with the defaults of its variables put in."""
    command = [re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", word) for word in service["command"]]
    assert service["entrypoint"] == ["queue-connector"]
    return cli._parser().parse_args(command)


def test_what_the_image_is_built_from_is_in_the_repository_and_sent_to_the_engine():
    sent = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    for line in said("COPY"):
        *sources, _ = line.split()
        if not line.startswith("--from"):
            assert all((ROOT / source).exists() for source in sources)
            assert {*sources} <= sent


def test_process_1_of_the_image_is_the_server_as_an_unprivileged_user():
    scripts = (ROOT / "pyproject.toml").read_text("utf-8").split("[project.scripts]")[1]
    (entrypoint,) = said("ENTRYPOINT")
    (program,) = json.loads(entrypoint)  # the form without a shell, which would keep SIGTERM
    assert f"{program} = " in scripts
    assert said("STOPSIGNAL") == ["SIGTERM"]
    (user,) = said("USER")
    assert int(user) > 0  # a number: Kubernetes can see that it is not root


def test_the_health_check_of_the_image_is_a_module_of_the_package():
    (line,) = said("HEALTHCHECK")
    program, option, module = json.loads(line.partition("CMD ")[2])
    assert (program, option) == ("python", "-m")
    assert importlib.util.find_spec(module).name == healthcheck.__name__
    seconds = int(re.search(r"--timeout=(\d+)s", line)[1])
    assert seconds > healthcheck.ANSWER


def test_the_environment_of_the_image_is_where_the_path_looks():
    (path,) = re.findall(r"PATH=(\S+):\$PATH", DOCKERFILE)
    assert f"python -m venv --without-pip {path.removesuffix('/bin')} " in DOCKERFILE


@pytest.mark.parametrize("name", DEVICES)
def test_a_connector_is_reached_from_the_host_at_the_address_that_clients_are_told(name):
    found = options(DEVICES[name])
    assert (found.host, found.metrics_host, found.publish) == ("0.0.0.0", "0.0.0.0", "127.0.0.1")
    assert DEVICES[name]["network_mode"] == "service:kafka"
    for port in found.port, found.event_port, found.event_port + 1, found.metrics_port:
        assert f"127.0.0.1:{port}:{port}" in SERVICES["kafka"]["ports"]
    assert DEVICES[name]["environment"][healthcheck.PORT] == str(found.metrics_port)


def test_no_port_is_open_beyond_the_machine_or_taken_twice():
    ports = [port for one in SERVICES.values() for port in one.get("ports", ())]
    assert all(re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port) for port in ports)
    assert len({*ports}) == len(ports)


def test_a_connector_follows_the_path_at_which_the_example_is_put():
    put = options(SERVICES["configure"])
    assert put.path.rpartition("/")[0] == options(SERVICES["device"]).config_path
    (mounted,) = SERVICES["configure"]["volumes"]
    here, there, _ = mounted.split(":")
    assert (ROOT / here / Path(put.file).relative_to(there)).is_file()


def test_the_second_connector_stands_by_for_the_first_and_only_where_it_is_wanted():
    first, second = options(SERVICES["device"]), options(SERVICES["second"])
    assert SERVICES["second"]["profiles"] == ["standby"]
    assert [name for name, one in SERVICES.items() if "profiles" in one] == ["second"]
    assert first.config_path == second.config_path
    assert first.standby is second.standby is True
    assert first.device != second.device
    assert {first.port, first.event_port, first.metrics_port}.isdisjoint(
        {second.port, second.event_port, second.metrics_port}
    )


@pytest.mark.parametrize("name", OURS)
def test_what_is_ours_can_write_nothing_and_waits_for_what_it_needs(name):
    assert OURS[name]["read_only"] is True
    for other, condition in OURS[name]["depends_on"].items():
        if condition["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[other]
