"""Getting in at a real mosquitto: TLS, certificates, passwords; and what a person is told who is not let in."""

from __future__ import annotations

import base64
import hashlib
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from drivers.contract import DriverConfigError, SourceSettings
from drivers.mqtt import MqttConfig, MqttDriver
from drivers.status import SourceState
from edge import ConfigurationError
from edge.config import load
from storage.clock import FakeClock
from tests.drivers.running import Running
from tests.drivers.scripted_broker import ScriptedBroker
from tests.drivers.subscribing import SETTINGS, Login, publish, running
from tests.servers.mosquitto import Mosquitto

TLS = Path(__file__).parents[1] / "sync" / "tls"
CA = str(TLS / "ca.pem")
Protocol = Literal["3.1.1", "5"]
PROTOCOLS: tuple[Protocol, ...] = ("3.1.1", "5")


def listening(certificate: str) -> tuple[str, ...]:
    """TLS with that certificate of the test authority's."""
    return f"cafile {CA}", f"certfile {TLS / certificate}.pem", f"keyfile {TLS / certificate}.key"


def password_line(user: str, password: str) -> str:
    """A line of mosquitto's password file (mosquitto_passwd(1)): PBKDF2 with SHA-512."""
    salt = b"twelve bytes"
    made = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 101, 64)
    return f"{user}:$7$101${base64.b64encode(salt).decode()}${base64.b64encode(made).decode()}\n"


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Mosquitto]:
    """Lets in pump with hunter2, who may read site/#."""
    passwords, access = tmp_path / "passwords", tmp_path / "access"
    passwords.write_text(password_line("pump", "hunter2"), encoding="ascii")
    access.write_text("user pump\ntopic readwrite site/#\n", encoding="ascii")
    for file in (passwords, access):
        file.chmod(0o600)
    settings = ("allow_anonymous false", f"password_file {passwords}", f"acl_file {access}")
    with Mosquitto(tmp_path / "mosquitto", settings=settings) as broker:
        yield broker


@pytest.fixture
def demanding(tmp_path: Path) -> Iterator[Mosquitto]:
    """Asks every client for a certificate, whose name is the user's."""
    settings = (*listening("hub"), "require_certificate true", "use_identity_as_username true")
    with Mosquitto(tmp_path / "mosquitto", settings=settings) as broker:
        yield broker


def refused(config: MqttConfig) -> str:
    """What a person reads of the source while it tries."""
    source = Running(lambda settings, clock: MqttDriver(config, settings, clock), SETTINGS)
    source.until(lambda: source.source.state is SourceState.BACKOFF, "the refusal")
    source.source.close()
    return str(source.source.status().last_error)


def gateway_tls() -> ssl.SSLContext:
    """A device that shows the gateway's certificate."""
    context = ssl.create_default_context(cafile=CA)
    context.load_cert_chain(TLS / "gateway.pem", TLS / "gateway.key")
    return context


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("in_a_file", [True, False])
def test_user_and_password_let_in(guarded: Mosquitto, protocol: Protocol, in_a_file: bool, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2\n", encoding="utf-8")
    url = guarded.url.replace("//", "//pump@" if in_a_file else "//pump:hunter2@")
    file = str(secret) if in_a_file else ""
    source = running(MqttConfig(broker=url, password_file=file, topics=("site/#",), protocol=protocol))
    publish(guarded, "site/a", [b"12.7"], login=Login(user="pump", password="hunter2"))
    source.until(lambda: len(source.sink.events) == 1, "the message")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_wrong_password_is_named_and_not_shown(guarded: Mosquitto, protocol: Protocol, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter3\n", encoding="utf-8")
    url = guarded.url.replace("//", "//pump@")
    said = refused(MqttConfig(broker=url, topics=("site/#",), protocol=protocol, password_file=str(secret)))
    assert "refused edge-pump-7-field" in said
    assert "check user, password and certificate" in said
    assert "hunter3" not in said


def test_a_password_file_that_is_not_there_is_named(guarded: Mosquitto, tmp_path: Path) -> None:
    said = refused(MqttConfig(broker=guarded.url, password_file=str(tmp_path / "nothing")))
    assert f"password_file {tmp_path / 'nothing'} can't be read" in said


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_client_certificate_lets_in_under_its_name(demanding: Mosquitto, protocol: Protocol) -> None:
    config = MqttConfig(
        broker=f"mqtts://localhost:{demanding.port}",
        topics=("site/#",),
        protocol=protocol,
        ca=CA,
        certificate=str(TLS / "gateway.pem"),
        certificate_key=str(TLS / "gateway.key"),
    )
    source = running(config)
    assert "u'gateway'" in demanding.log
    payloads = [b"%d" % number * 100 for number in range(300)]
    publish(demanding, "site/a", payloads, login=Login(tls=gateway_tls()))
    source.until(lambda: len(source.sink.events) == 300, "all through TLS")
    assert source.sink.payloads() == payloads


def test_a_broker_that_asks_for_a_certificate_is_explained(demanding: Mosquitto) -> None:
    said = refused(MqttConfig(broker=f"mqtts://localhost:{demanding.port}", ca=CA))
    assert "hung up without an answer: it may ask for a certificate: name ours in `certificate`" in said


def test_plain_mqtt_where_tls_is_spoken_is_explained(demanding: Mosquitto) -> None:
    assert "it may expect TLS (mqtts://)" in refused(MqttConfig(broker=demanding.url))


@pytest.mark.parametrize("ca", ["", str(TLS / "gateway.pem")])
def test_a_broker_whose_authority_is_not_the_named_one_is_not_trusted(demanding: Mosquitto, ca: str) -> None:
    said = refused(MqttConfig(broker=f"mqtts://localhost:{demanding.port}", ca=ca))
    assert "its certificate is not trusted; name the authority that signed it in `ca`" in said


def test_a_certificate_for_another_name_is_not_trusted(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "mosquitto", settings=listening("gateway")) as broker:
        said = refused(MqttConfig(broker=f"mqtts://localhost:{broker.port}", ca=CA))
    assert "its certificate is for another name; write that name into `broker`" in said


def test_tls_where_plain_mqtt_is_spoken_is_explained(guarded: Mosquitto) -> None:
    said = refused(MqttConfig(broker=f"mqtts://localhost:{guarded.port}", ca=CA))
    assert "is TLS spoken there? check scheme and port of `broker`" in said


def test_files_that_are_not_there_or_do_not_belong_together_are_named(demanding: Mosquitto, tmp_path: Path) -> None:
    url = f"mqtts://localhost:{demanding.port}"
    assert f"'{tmp_path / 'ca.pem'}'): correct the path" in refused(MqttConfig(broker=url, ca=str(tmp_path / "ca.pem")))
    ours, theirs = str(TLS / "gateway.pem"), str(TLS / "hub.key")
    said = refused(MqttConfig(broker=url, ca=CA, certificate=ours, certificate_key=theirs))
    assert f"{CA}, {ours}, {theirs} can't be used" in said


def test_a_host_that_nobody_knows_is_named() -> None:
    said = refused(MqttConfig(broker="mqtt://broker.invalid"))
    assert "mqtt://broker.invalid:1883 can't be reached" in said
    assert "the name is not known; check it, and the network" in said


def test_a_broker_that_is_not_there_is_tried_again_and_said_so(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path / "mosquitto")
    config = MqttConfig(broker=broker.url, topics=("site/#",))
    source = Running(lambda settings, clock: MqttDriver(config, settings, clock), SETTINGS)
    source.until(lambda: source.source.state is SourceState.BACKOFF, "the failure")
    error = str(source.source.status().last_error)
    assert broker.url in error
    assert "is the broker running" in error
    with broker:
        source.until(lambda: source.source.state is SourceState.RUNNING, "the connection")


def test_a_subscription_that_is_refused_is_named() -> None:
    broker = ScriptedBroker(granted=0x80)
    said = refused(MqttConfig(broker=broker.url, topics=("site/#",)))
    broker.close()
    assert "refuses the subscription of site/#: give this user access there" in said


def test_qos_2_is_refused_before_anything_runs_and_told_why(tmp_path: Path) -> None:
    file = tmp_path / "edge.toml"
    source = '[[source]]\nname = "field"\ndriver = "mqtt"\nstream = "site/{1}"\nqos = 2\n'
    file.write_text(f'[node]\nname = "pump-7"\n{source}', encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load(file)
    (problem,) = caught.value.problems
    assert "qos = 2 would lose messages: the client library answers PUBREC before we have the message" in problem
    assert "Use qos = 1" in problem


@pytest.mark.parametrize(
    ("config", "settings", "said"),
    [
        (MqttConfig(qos=2), SETTINGS, "qos = 2 would lose messages"),
        (MqttConfig(broker="http://x"), SETTINGS, "mqtt://user@broker.local:1883"),
        (MqttConfig(topics=()), SETTINGS, "topics is empty"),
        (MqttConfig(topics=("a/#/b",)), SETTINGS, "no topic filter"),
        (MqttConfig(max_unacked=0), SETTINGS, "max_unacked = 0"),
        (MqttConfig(certificate="x"), SETTINGS, "belong together"),
        (MqttConfig(), SourceSettings(name="f", driver="mqtt", stream="a/{x}"), "no place for a word"),
        (MqttConfig(), SourceSettings(name="f", driver="mqtt", stream="a b"), "no stream name"),
    ],
)
def test_what_cannot_work_is_refused_with_what_to_write(
    config: MqttConfig, settings: SourceSettings, said: str
) -> None:
    with pytest.raises(DriverConfigError, match=said):
        MqttDriver(config, settings, FakeClock())
