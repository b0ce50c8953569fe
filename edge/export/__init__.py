"""`edge export`: a range of a stream into a file, through the local socket. This docstring is the specification.

By the file's ending
    .jsonl  a line of JSON for each event, as `edge read --json` prints it
    .csv    a heading, and a row for each event: time (ISO 8601, UTC), position, key, writer, number, content_type, headers
            (JSON), payload, payload_base64. As with JSON, the payload is in the last column where its bytes are not UTF-8.
    .raw    the payloads, one behind the other, with nothing between them
    .mp4    video as the camera encoded it, from the key frame before the range on (`drivers.camera.mp4`)
    .jpg    one picture: the first frame at or behind `--from`, the newest where there is none (`drivers.camera.picture`)

What a person can rely on
    The file appears when it is whole and on disk, and takes the place of an older one; what breaks off leaves nothing.
    Memory does not grow with the range, but for the index of an MP4. Gaps are told on standard error.
    With `--key` only that routing key's events are taken. A file of video holds one camera: where a range has the
    events of several keys, one must be chosen.
"""
