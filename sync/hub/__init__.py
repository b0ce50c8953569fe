"""The hub as an upstream, over HTTP 1.1 with or without TLS. This docstring is the specification of the protocol.

Requests
    `POST /v1/mirror/hello`    body: hello; answer: holdings, everything that the hub holds of the node
    `POST /v1/mirror/unit`     body: unit; answer: holdings of the unit's streams, sent after the unit is durable
    Both carry `Content-Type: application/vnd.edge.mirror`, `X-Edge-Node` with the node's name, and, where the hub asks
    for it, `Authorization: Bearer` with the node's token; a token speaks for one node. Content-Length is required.

Messages (`envelope`, `wire`); integers are big endian
    bytes 0-3 `EDGM`, 4 version (1), 5 kind (1 hello, 2 unit, 3 holdings), 6 codec (0), 7 zero, 8-11 length of the head,
    12-15 length of the body, 16-19 CRC-32 over everything else; then the head, JSON; then the body, for a unit the
    raw entries one behind the other. At most 64 KiB for a hello, 96 MiB for a unit, 32 MiB for holdings. A message
    with anything missing, changed or left over is refused as a whole. Entries carry a CRC-32C of their own, made when
    they were first stored, which the hub's store checks.

Answers
    200                the message above; anything else with 200 is not a hub
    400 damaged        the message can't be read; it is sent again
    401 unauthorized   token missing or wrong; tried again every minute
    409 refused        this store may not speak for that node; `remedy` says what to do
    409 diverged       the unit does not continue what is held: handshake again
    413 too large      tried again with a smaller unit
    503 busy           with Retry-After
    500 failed         the hub's store can't take it now
    with `{"error", "remedy", "kind"}` as JSON. Whatever does not look like this did not come from a hub.
"""
