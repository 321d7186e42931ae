import ssl
import subprocess

import pytest

from queue_connector.configdb import from_environment
from queue_connector.configdb.etcd import EtcdDatabase
from queue_connector.configdb.memory import MemoryDatabase
from queue_connector.model.errors import ConfigError, EndpointError


def faults(**variables: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        from_environment({f"SDP_CONFIG_{name}": value for name, value in variables.items()})
    return [str(fault) for fault in raised.value.faults]


def shown(**variables: str) -> str:
    return repr(from_environment({f"SDP_CONFIG_{name}": v for name, v in variables.items()}))


def test_without_variables_it_is_etcd_on_this_machine():
    assert isinstance(from_environment({}), EtcdDatabase)
    assert shown() == "EtcdDatabase(Gateway(http://127.0.0.1:2379))"
    assert shown(HOST="", PORT=" ", BACKEND="") == shown()


def test_the_process_own_environment_is_read_unless_another_is_given(monkeypatch):
    monkeypatch.setenv("SDP_CONFIG_BACKEND", "memory")
    assert isinstance(from_environment(), MemoryDatabase)


def test_several_members():
    assert shown(HOST="a, b.c:2380,[::1],10.0.0.1", PORT="1234", PROTOCOL="https") == (
        "EtcdDatabase(Gateway("
        "https://10.0.0.1:1234, https://[::1]:1234, https://a:1234, https://b.c:2380))"
    )


def test_what_is_wrong_is_named_all_at_once():
    assert faults(BACKEND="etcd2", PORT="0", PROTOCOL="grpc", USERNAME="me") == [
        "SDP_CONFIG_BACKEND: expected etcd3 or memory or ska-sdp-config, found 'etcd2'",
        "SDP_CONFIG_PROTOCOL: expected http or https, found 'grpc'",
        "SDP_CONFIG_PORT: expected a number from 1 to 65535, found '0'",
        "SDP_CONFIG_PASSWORD: not set (set both, or neither)",
    ]


@pytest.mark.parametrize("port", ["x", "65536", "-1", "²", "1" * 5000])
def test_a_port_is_a_number(port):
    assert faults(PORT=port)[0].startswith("SDP_CONFIG_PORT: expected a number from 1 to 65535")


@pytest.mark.parametrize(
    "host", ["http://a", "a b", "a,,b", "a:x", "a:0", "me:secret@a", "a/b?secret", "::1"]
)
def test_a_host_is_a_name_or_an_address_and_never_repeated(host):
    (fault,) = faults(HOST=host)
    assert fault.startswith("SDP_CONFIG_HOST: expected names or addresses")
    assert "secret" not in fault


def test_a_password_never_shows():
    assert "s3cret" not in shown(USERNAME="me", PASSWORD="s3cret")
    assert "s3cret" not in str(faults(PASSWORD="s3cret"))


def test_the_library_is_asked_for_by_name_and_missed_by_name():
    with pytest.raises(EndpointError, match=r"install queue-connector\[sdp\]"):
        from_environment({"SDP_CONFIG_BACKEND": "ska-sdp-config"})


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    """A certificate with its key; the certificate alone; the two with the key encrypted."""
    directory = tmp_path_factory.mktemp("pem")
    key, certificate, locked = (directory / name for name in ("key", "certificate", "locked"))
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", key, "-out", certificate, "-days", "1", "-subj", "/CN=test")  # fmt: skip
    openssl("pkey", "-in", key, "-aes256", "-passout", "pass:s3cret", "-out", locked)
    for name, parts in (("both", (certificate, key)), ("both-locked", (certificate, locked))):
        (directory / name).write_bytes(b"".join(part.read_bytes() for part in parts))
    return directory


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=30)


@pytest.mark.parametrize("name", ["certificate", "both"])
def test_a_certificate_is_for_https(pem, name):
    assert shown(PROTOCOL="https", CERT=str(pem / name)).startswith("EtcdDatabase")
    (fault,) = faults(CERT=str(pem / name))
    assert fault == ("SDP_CONFIG_CERT: it is for https only (set SDP_CONFIG_PROTOCOL to https)")


@pytest.mark.parametrize("name", ["missing", "both-locked", "key", "", "text"])
def test_a_certificate_that_cannot_be_used_is_a_fault_and_no_question(pem, name):
    (pem / "text").write_text("no PEM")
    (fault,) = faults(PROTOCOL="https", CERT=str(pem / name))
    assert "cannot be used" in fault


def test_certificates_without_a_key_are_all_that_is_trusted(pem):
    database = from_environment(
        {"SDP_CONFIG_PROTOCOL": "https", "SDP_CONFIG_CERT": str(pem / "certificate")}
    )
    context = database._gateway._http._transport._pool._ssl_context
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert [dict(*ca["subject"])["commonName"] for ca in context.get_ca_certs()] == ["test"]
