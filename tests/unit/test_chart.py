"""What the Helm chart makes: valid for Kubernetes, and understood by the connector."""

import functools
import json
import re

import kubernetes_validate
import pytest

from queue_connector import __version__, cli
from queue_connector.configdb import environment as configdb
from queue_connector.configuration.document import parse
from queue_connector.device import server
from queue_connector.device.device import SDPQueueConnector
from queue_connector.device.registration import wanted_devices
from queue_connector.device.trio_device import SHUTDOWN_MARGIN
from queue_connector.engine.supervisor import STOP_GRACE
from queue_connector.runtime.loop import CANCEL_GRACE
from tests.support import charts
from tests.support.charts import CASES, CHART, command, containers, of_kind, registered, rendered

DATABASE, EMPTY, PLAIN, STANDBY = CASES
OLDEST, NEWEST = "1.25", "1.37"
PROPERTIES = {*SDPQueueConnector.TangoClassClass.device_property_list}
OWN = {"exchanges_json", "exchanges_config_path", "subarray_id", "metrics_port", "metrics_host"}
"""The properties that the chart itself gives a device."""

made = functools.cache(rendered)


def by_name(path):
    return pytest.mark.parametrize("values", path, ids=lambda path: path.stem)


@by_name(CASES)
def test_helm_finds_nothing_to_complain_of(values):
    ended = charts.helm("lint", "--strict", CHART, "-f", values)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@by_name(CASES)
def test_each_object_is_one_of_kubernetes(values, version):
    objects = made(values)
    foreign = [one for one in objects if one["apiVersion"].startswith("monitoring.coreos.com/")]
    for each in objects:
        if each not in foreign:
            kubernetes_validate.validate(each, version, strict=True)
    assert len(objects) > len(foreign) > -1
    names = [(one["kind"], one["metadata"]["name"]) for one in objects]
    assert len({*names}) == len(names)


def test_a_mistake_in_an_object_would_be_found():
    (wrong, *_) = of_kind(rendered(PLAIN), "StatefulSet").values()
    wrong["spec"]["template"]["spec"]["containers"][0]["port"] = []
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, NEWEST, strict=True)


@by_name(CASES)
def test_each_subarray_has_its_own_objects_and_they_fit_together(values):
    objects = made(values)
    services, sets = of_kind(objects, "Service"), of_kind(objects, "StatefulSet")
    maps = of_kind(objects, "ConfigMap")
    assert services.keys() == sets.keys()
    for name, each in sets.items():
        labels = each["spec"]["template"]["metadata"]["labels"]
        wanted = each["spec"]["selector"]["matchLabels"]
        assert wanted.items() <= labels.items()
        assert services[name]["spec"]["selector"] == wanted
        assert each["spec"]["serviceName"] == name
        assert name in maps
        assert len([one for one in sets.values() if wanted == one["spec"]["selector"]]) <= 1
        open_ports = {one["name"]: one["containerPort"] for one in containers(each)[-1]["ports"]}
        told = {one["targetPort"]: one["port"] for one in services[name]["spec"]["ports"]}
        assert told == open_ports
        assert len({*open_ports.values()}) == 4


@by_name(CASES)
def test_a_pod_can_do_without_every_right(values):
    for each in of_kind(made(values), "StatefulSet").values():
        pod = each["spec"]["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert "runAsUser" not in pod["securityContext"]  # OpenShift chooses one
        for container in containers(each):
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"].keys() == {"cpu", "memory"}
            paths = [mount["mountPath"] for mount in container["volumeMounts"]]
            assert "/tmp" in paths  # omniORB's sockets
            inside = [p for p in paths for q in paths if p != q and p.startswith(f"{q}/")]
            assert inside == []  # nothing can be mounted in what is mounted read-only


@by_name([DATABASE, STANDBY])
def test_the_properties_of_each_device_are_its_own(values):
    for pod, devices in registered(made(values)).items():
        for name, properties in devices.items():
            assert wanted_devices(json.dumps({pod: {name: properties}}), pod)
            assert properties["metrics_host"] == "0.0.0.0"
            assert properties.keys() & {"exchanges_json", "subarray_id"}


def test_the_schema_of_the_values_names_the_properties_that_the_chart_leaves_to_others():
    schema = json.loads((CHART / "values.schema.json").read_text("utf-8"))
    subarray = schema["properties"]["subarrays"]["items"]["properties"]
    assert {*subarray["properties"]["propertyNames"]["enum"]} == PROPERTIES - OWN - {"standby"}


@by_name([DATABASE, STANDBY])
def test_a_server_gets_its_instance_its_ports_and_its_name(values):
    objects = made(values)
    for name, each in of_kind(objects, "StatefulSet").items():
        for number in range(each["spec"]["replicas"]):
            pod = f"{name}-{number}"
            assert len(registered(objects)[pod]) == 1
            register, connector = containers(each)
            assert command(register, pod)[-1] == pod
            program, instance, *options = command(connector, pod)
            port, event, heart, metrics = [one["containerPort"] for one in connector["ports"]]
            assert (program, instance) == ("SDPQueueConnector", pod)
            assert options == [
                *("-ORBendPoint", f"giop:tcp::{port}"),
                *("-ORBendPointPublish", f"giop:tcp:{pod}.{name}.{charts.NAMESPACE}.svc:{port}"),
            ]
            variables = charts.environment(connector, pod)
            assert variables["TANGO_ZMQ_EVENT_PORT"] == str(event)
            assert variables["TANGO_ZMQ_HEARTBEAT_PORT"] == str(heart) == str(event + 1)
            (properties,) = registered(objects)[pod].values()
            assert properties["metrics_port"] == str(metrics)


def test_a_device_without_a_database_gets_arguments_that_the_tool_takes():
    found = {}
    for name, each in of_kind(made(PLAIN), "StatefulSet").items():
        (connector,) = containers(each)
        program, *arguments = command(connector, f"{name}-0")
        assert program == "queue-connector"
        options = cli._parser().parse_args(arguments)
        port, event, _, metrics = [one["containerPort"] for one in connector["ports"]]
        assert (options.port, options.event_port, options.metrics_port) == (port, event, metrics)
        assert options.host == options.metrics_host == "0.0.0.0"
        assert options.publish == f"{name}-0.{name}.{charts.NAMESPACE}.svc"
        found[options.device] = (options.config, options.config_path, options.subarray)
    assert found == {
        "low-sdp/queueconnector/1": ("/etc/queue-connector/configuration.json", None, None),
        "low-sdp/queueconnector/A2": (None, "/component/lmc-queueconnector-A2/owner", None),
        "low-sdp/queueconnector/03": (None, None, "03"),
    }


def test_a_configuration_comes_through_as_it_was_written(tmp_path):
    expected = [1, 2, 1_000_000, 123_456_789_012]
    plain = of_kind(made(PLAIN), "ConfigMap")["rel-queue-connector-1"]["data"]
    given = registered(made(DATABASE))["rel-queue-connector-02-0"]
    (properties,) = given.values()
    for text in plain["configuration.json"], properties["exchanges_json"]:
        (exchange,) = parse(text).groups["default"]
        assert [int(value) for value in exchange.sources[0].data] == expected
    assert properties["stop_grace"] == "20.5"

    file = tmp_path / "exact.json"
    file.write_text('{"exchanges": [],\n "a": "{{ $(POD_NAME) ü }}", "b": 9007199254740993}')
    option = f"subarrays[0].configuration={file}"
    made_of_it = rendered(EMPTY, "--set", "subarrays[0].id=07", "--set-file", option)
    assert of_kind(made_of_it, "ConfigMap")["rel-queue-connector-07"]["data"] == {
        "configuration.json": file.read_text()
    }


def test_a_changed_configuration_renews_its_pods_and_no_others():
    def sums(*options):
        objects = rendered(PLAIN, *options)
        return {
            name: each["spec"]["template"]["metadata"]["annotations"]["checksum/configuration"]
            for name, each in of_kind(objects, "StatefulSet").items()
        }

    before, after = sums(), sums("--set-string", "subarrays[0].configuration=\\{\\}")
    assert [name for name in before if before[name] != after[name]] == ["rel-queue-connector-1"]


@by_name(CASES)
def test_kubernetes_waits_for_an_orderly_end(values):
    for each in of_kind(made(values), "StatefulSet").values():
        grace = STOP_GRACE if values is not DATABASE else 20.5
        longest = server.ORB_GRACE + SHUTDOWN_MARGIN + CANCEL_GRACE
        told = each["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        assert told >= longest + STOP_GRACE
        if each["metadata"]["name"].endswith("-02"):
            assert told >= longest + grace


@by_name(CASES)
def test_the_probes_ask_what_is_served(values):
    for each in of_kind(made(values), "StatefulSet").values():
        connector = containers(each)[-1]
        asked = {
            kind: connector[f"{kind}Probe"]["httpGet"]
            for kind in ("startup", "liveness", "readiness")
        }
        assert {probe["port"] for probe in asked.values()} == {"metrics"}
        assert [probe["path"] for probe in asked.values()] == ["/live", "/live", "/ready"]


def test_the_configuration_database_is_named_by_variables_that_are_read():
    (_, connector) = containers(of_kind(made(DATABASE), "StatefulSet")["rel-queue-connector-01"])
    written = {one["name"] for one in connector["env"] if one["name"].startswith("SDP_CONFIG_")}
    assert len(written) == 6
    assert all(f"``{name}``" in configdb.__doc__ for name in written - {"SDP_CONFIG_PASSWORD"})
    secrets = {
        one["name"]: one["valueFrom"]["secretKeyRef"]
        for one in connector["env"]
        if "secretKeyRef" in one.get("valueFrom", {})
    }
    assert secrets == {
        "SDP_CONFIG_PASSWORD": {"name": "etcd", "key": "password"},
        "KAFKA_PASSWORD": {"name": "kafka-credentials", "key": "password"},
    }


def test_a_standby_is_a_second_pod_elsewhere_and_off_unless_it_is_wanted():
    objects = made(STANDBY)
    (each,) = of_kind(objects, "StatefulSet").values()
    assert each["spec"]["replicas"] == 2
    assert "podAntiAffinity" in each["spec"]["template"]["spec"]["affinity"]
    first, second = registered(objects).values()
    ((name, properties),) = first.items()
    assert second == {f"{name}-standby": properties}
    assert properties["standby"] == "true"
    (budget,) = of_kind(objects, "PodDisruptionBudget").values()
    assert budget["spec"]["maxUnavailable"] == 1
    without = made(DATABASE)
    assert {one["spec"]["replicas"] for one in of_kind(without, "StatefulSet").values()} == {1}
    assert "standby" not in json.dumps(registered(without))


REFUSED = [
    (DATABASE, "subarrays[0].id=0-1", "'0-1' does not match"),
    (DATABASE, "subarrays[0].properties.metrics_port=1", "must be one of 'attributes'"),
    (DATABASE, "subarray=1", "additional properties 'subarray' not allowed"),
    (DATABASE, "tango.host=databaseds", "does not match"),
    (DATABASE, "subarrays[1].configPath=/a", "02: give configuration or configPath, not both"),
    (DATABASE, "tango.host=", "02: properties need tango.host"),
    (STANDBY, "tango.host=", "01: standby needs tango.host"),
    (STANDBY, "subarrays[0].configPath=", "does not match"),
    (DATABASE, "subarrays[1].standby=true", "02: standby needs configPath, or flows"),
    (PLAIN, "configDatabase.host=", "A2: give configuration, or configDatabase.host"),
]


@pytest.mark.parametrize(("values", "option", "told"), REFUSED, ids=lambda each: str(each)[-40:])
def test_values_that_make_no_sense_are_refused_with_the_reason(values, option, told):
    ended = charts.helm("template", "rel", CHART, "-f", values, "--set", option)
    assert ended.returncode == 1
    assert told in ended.stderr


def test_who_may_reach_a_pod_is_limited_by_the_names_of_its_ports():
    for values, directions in (DATABASE, ["Ingress", "Egress"]), (STANDBY, ["Ingress"]):
        (policy,) = of_kind(made(values), "NetworkPolicy").values()
        (each, *_) = of_kind(made(values), "StatefulSet").values()
        named = {one["name"] for one in containers(each)[-1]["ports"]}
        opened = [port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]]
        assert sorted(opened) == sorted(named)
        assert policy["spec"]["policyTypes"] == directions
        assert all(rule["from"] for rule in policy["spec"]["ingress"])
        labels = each["spec"]["template"]["metadata"]["labels"]
        assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    assert of_kind(made(PLAIN), "NetworkPolicy") == {}


def test_prometheus_finds_the_pages_and_the_rules_as_they_stand_in_the_files():
    objects = made(DATABASE)
    (monitor,) = of_kind(objects, "ServiceMonitor").values()
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint == {"port": "metrics", "path": "/metrics", "interval": "30s"}
    for service in of_kind(objects, "Service").values():
        wanted = monitor["spec"]["selector"]["matchLabels"]
        assert wanted.items() <= service["metadata"]["labels"].items()
        assert "metrics" in {one["name"] for one in service["spec"]["ports"]}
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    (rule,) = of_kind(objects, "PrometheusRule").values()
    assert rule["spec"] == charts.yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())
    dashboard = of_kind(objects, "ConfigMap")["rel-queue-connector-dashboard"]
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    (text,) = dashboard["data"].values()
    assert text == (CHART / "files" / "dashboard.json").read_text("utf-8")


def test_the_version_of_the_chart_is_that_of_the_software():
    versions = re.findall(
        r'^(?:version|appVersion): "?([^"\n]+)', (CHART / "Chart.yaml").read_text(), re.M
    )
    assert {*versions} == {__version__}


GUIDE = (charts.ROOT / "docs" / "how-to" / "run-on-kubernetes.md").read_text("utf-8")
VALUES = re.findall(r"^```yaml\n(.*?)^```$", GUIDE, re.M | re.S)


@pytest.mark.parametrize("text", VALUES)
def test_the_values_of_the_guide_make_what_it_says(tmp_path, text):
    file = tmp_path / "values.yaml"
    file.write_text(text)
    objects = rendered(file)
    for each in objects:
        if not each["apiVersion"].startswith("monitoring.coreos.com/"):
            kubernetes_validate.validate(each, NEWEST, strict=True)
    assert "StatefulSet" in {one["kind"] for one in objects}
    for name in "ServiceMonitor", "PrometheusRule":
        assert (name.lower() in text.lower()) == bool(of_kind(objects, name))


def test_the_guide_names_the_pods_ports_and_paths_as_they_are():
    (pod, *_) = re.findall(r"kubectl exec (\S+)", GUIDE)
    objects = [
        one
        for one in charts.yaml.safe_load_all(
            charts.helm("template", "sdp", CHART, "-f", STANDBY).stdout
        )
        if one
    ]
    assert pod in registered(objects)
    values = charts.yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
    first = values["tango"]["eventPort"]
    for number in (values["tango"]["port"], first, first + 1, values["metrics"]["port"]):
        assert str(number) in GUIDE
    (secret, *_) = re.findall(r"file:(/run/secrets/[^/]+)", GUIDE)
    (*_, connector) = containers(of_kind(made(DATABASE), "StatefulSet")["rel-queue-connector-01"])
    assert secret in {mount["mountPath"] for mount in connector["volumeMounts"]}
