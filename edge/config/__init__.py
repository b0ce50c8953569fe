"""The configuration: strict TOML, read once at the start, into frozen dataclasses.

Files
    One file, and beside it `*.toml` of `edge.d/` (named after the file) or `conf.d/`, in the order of their names.
    Tables of the same name are merged, arrays of tables (`[[source]]`) are joined; the same key twice is an error.
    A relative path is relative to the file that it stands in. `$CREDENTIALS_DIRECTORY` (systemd) may begin a path.

Strictness
    An unknown key is an error with its place and the nearest key there is. A value of another type is an error that
    says what was expected and what was found: `9600` is a number, `"9600"` is not. All problems are reported at once.
    A key of a later version is an error that says so: nothing that was written down is silently left out.

Secrets
    Only by file, never in the configuration itself. What leaves the machine has TLS and a credential: plain `http` and
    no credential are refused except on a loopback address.

Limits
    A file of at most 1 MiB, 100 files, 1,000 sources, 10,000 streams, 16 upstreams.
"""

from edge.config.describe import describe
from edge.config.load import load
from edge.config.model import Config, SourceConfig
from edge.config.sample import sample
from edge.config.schema import schema
from edge.config.tables import HubTable, NodeTable, StreamTable, UpstreamTable

__all__ = [
    "Config",
    "HubTable",
    "NodeTable",
    "SourceConfig",
    "StreamTable",
    "UpstreamTable",
    "describe",
    "load",
    "sample",
    "schema",
]
