"""PORT VERSION QOS TOPIC CA: publishes each line of standard input with gmqtt."""

from __future__ import annotations

import asyncio
import ssl
import sys

import gmqtt
from gmqtt.storage import PersistentStorage

TIMEOUT_S = 30.0
AT_ONCE = 50
"""It raises where more are under way than the server takes (Receive Maximum)."""


async def main() -> None:
    port, version, qos, topic, ca = sys.argv[1:]
    unanswered = PersistentStorage()
    client = gmqtt.Client("gmqtt", persistent_storage=unanswered)
    client.set_config({"reconnect_retries": 0})
    context = ssl.create_default_context(cafile=ca) if ca else False
    await client.connect("127.0.0.1", int(port), ssl=context, version=5 if version == "5" else 4)
    async with asyncio.timeout(TIMEOUT_S):
        for number, line in enumerate(sys.stdin.buffer, 1):
            client.publish(topic, line.rstrip(b"\n"), qos=int(qos))
            if number % AT_ONCE == 0:
                await unanswered.wait_empty()
        await unanswered.wait_empty()
    await client.disconnect()


if __name__ == "__main__":
    asyncio.run(main())
