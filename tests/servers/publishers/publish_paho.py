"""PORT VERSION QOS TOPIC CA: publishes each line of standard input with paho-mqtt."""

from __future__ import annotations

import sys

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

TIMEOUT_S = 30.0


def main() -> None:
    port, version, qos, topic, ca = sys.argv[1:]
    protocol = MQTTProtocolVersion.MQTTv5 if version == "5" else MQTTProtocolVersion.MQTTv311
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=protocol)
    if ca:
        client.tls_set(ca)
    client.connect("127.0.0.1", int(port))
    client.loop_start()
    sent = [client.publish(topic, line.rstrip(b"\n"), int(qos)) for line in sys.stdin.buffer]
    for info in sent:
        info.wait_for_publish(TIMEOUT_S)
        assert info.is_published()
    client.disconnect()
    client.loop_stop()


if __name__ == "__main__":
    main()
