"""What listens: the local API over a Unix socket, and the hub over TCP. Nothing else of the program knows aiohttp.

The local API (`curl --unix-socket /run/edge/edge.sock http://edge/v1/status` works). Answers are JSON objects; an error
is `{"error": "…"}` with the text for a person. Whoever may open the socket (mode 0660) may do everything.

    GET  /v1/status                              `edge.snapshot.NodeSnapshot`
    GET  /v1/streams                             {"streams": [StreamSnapshot without its gaps]}
    GET  /v1/streams/NAME                        StreamSnapshot; the name with its slashes
    GET  /v1/read?stream=&from=&to=&limit=&follow=1   one event or gap per line (`edge.events`), from `head`, to the end
    POST /v1/write                               one append per line, all or none: {"stream", "key", "writer", "number",
                                                 "content_type", and "payload", "payload_base64", "payloads" or
                                                 "payloads_base64"}; answers once durable:
                                                 {"commit", "positions", "stored", "duplicates"}
    POST /v1/transactions                        {"streams", "lease_s" (30), "id" (a UUID, or one is made)}: begins one
    GET  /v1/transactions/ID                     {"id", "state", "streams"}; OPEN, COMMITTING, COMMITTED, ABORTING, ABORTED
    POST /v1/transactions/ID/append              lines as of a write; one without "stream" where it is of one stream
    POST /v1/transactions/ID/ping                its lease begins anew, as with an append
    POST /v1/transactions/ID/commit              {"cursors_base64": {name: value}} or nothing; as a write, and "state"
    POST /v1/transactions/ID/abort               {"id", "state"}
    GET  /v1/cursors/NAME                        {"value_base64"}: what a commit kept under that name, or null; "" removes
    GET  /v1/writers?stream=&writer=             {"last": the newest durable event number, or null}
    GET  /v1/key-frames?stream=&before=          {"position": of the last key frame captured at or before that time (ns since
                                                 1970), or null}
    GET  /v1/sources, /v1/uplinks                {"sources": [SourceSnapshot]}, {"uplinks": [UplinkSnapshot]}
    POST /v1/sources/NAME/{pause,resume,restart}
    POST /v1/uplinks/NAME/{now,pause,resume}
    GET  /v1/check                               the consistency checker: {"ok", "findings", "blocks", "events",
                                                 "commits"}
    GET  /metrics                                Prometheus text format 0.0.4

Statuses of refusals: 400 it is not understood, 404 no such name, 409 a gap in a writer's numbers, a stream that was
sealed, a transaction that has ended or whose streams can't be in one, 413 too large, 503 too much at once (try again),
507 the disk is full.

Limits
    A write of 96 MiB of JSON and 16 at a time, appends of transactions among them; 1,000 cursors of programs, of 64 KiB;
    64 readers at a time; a line of an answer below 16 MiB. A follower that
    does not read costs one step of the store's reader, of at most 1,000 events.
"""
