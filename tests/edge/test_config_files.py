"""What good configuration becomes: several files as one, paths, the sample, the schema."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import cast

import pytest

from drivers.registry import driver_class, driver_names
from edge import ConfigurationError
from edge.config import describe, load, sample, schema
from edge.places import socket_of
from storage.model import RetentionPolicy, ScalingPolicy, StreamConfig

NODE = '[node]\nname = "pump-7"\n'


def source(name: str) -> str:
    return f'[[source]]\nname = "{name}"\ndriver = "synthetic"\nstream = "s/{name}"\n'


@pytest.mark.parametrize("directory", ["edge.d", "conf.d"])
def test_files_beside_it_are_joined_in_the_order_of_their_names(tmp_path: Path, directory: str) -> None:
    (tmp_path / "edge.toml").write_text(NODE + source("a"))
    (tmp_path / directory).mkdir()
    (tmp_path / directory / "20-c.toml").write_text(source("c"))
    (tmp_path / directory / "10-b.toml").write_text(source("b") + '[node]\ndisk_limit = "1GiB"\n')
    config = load(tmp_path / "edge.toml")
    assert [each.name for each in config.sources] == ["a", "b", "c"]
    assert config.node.disk_limit == 1 << 30
    assert [file.name for file in config.files] == ["edge.toml", "10-b.toml", "20-c.toml"]


def test_the_same_key_twice_is_an_error_that_names_both_places(tmp_path: Path) -> None:
    (tmp_path / "edge.toml").write_text(NODE)
    (tmp_path / "edge.d").mkdir()
    (tmp_path / "edge.d" / "a.toml").write_text(NODE)
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path / "edge.toml")
    assert caught.value.problems == [
        f"{tmp_path}/edge.d/a.toml:2: node.name: also set at {tmp_path}/edge.toml:2: node.name; remove one of them"
    ]


def test_a_problem_is_reported_with_the_file_it_is_in(tmp_path: Path) -> None:
    (tmp_path / "edge.toml").write_text(NODE + source("a"))
    (tmp_path / "edge.d").mkdir()
    (tmp_path / "edge.d" / "b.toml").write_text("# b\n" + source("b") + "speed = 3\n")
    with pytest.raises(ConfigurationError, match=r"edge\.d/b\.toml:6: source\[0\]\.speed: unknown key"):
        load(tmp_path / "edge.toml")


def test_relative_paths_are_relative_to_their_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "edge.toml").write_text(NODE + 'data_dir = "data"\nsocket = "run/edge.sock"\n')
    monkeypatch.chdir("/")
    config = load(tmp_path / "edge.toml")
    assert config.node.data_dir == tmp_path / "data"
    assert config.store_path == tmp_path / "data" / "store"
    assert socket_of(tmp_path / "edge.toml") == tmp_path / "run" / "edge.sock"


def test_a_credential_of_systemd_may_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "token").write_text("t" * 32)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    text = '[[upstream]]\nname = "hub"\nurl = "https://hub.example"\ntoken_file = "$CREDENTIALS_DIRECTORY/token"\n'
    (tmp_path / "edge.toml").write_text(NODE + text)
    assert load(tmp_path / "edge.toml").upstreams[0].token == "t" * 32


def test_the_socket_is_found_in_a_file_that_has_other_problems(tmp_path: Path) -> None:
    (tmp_path / "edge.toml").write_text('[node]\nsocket = "/tmp/x.sock"\nbogus = 1\n')
    assert socket_of(tmp_path / "edge.toml") == Path("/tmp/x.sock")


def test_a_stream_table_becomes_the_stores_settings(tmp_path: Path) -> None:
    text = '[[stream]]\nname = "plant/flow"\npriority = 20\nattributes = { unit = "m3/h" }\n'
    (tmp_path / "edge.toml").write_text(NODE + text)
    settings = load(tmp_path / "edge.toml").streams[0].store_config()
    assert settings == StreamConfig("telemetry", 20, "block", attributes={"unit": "m3/h"})


def test_how_long_a_stream_is_kept_comes_from_its_table(tmp_path: Path) -> None:
    text = '[[stream]]\nname = "a"\nwhen_full = "thin"\nretention = { max_age = "30d", max_bytes = "1GiB" }\n'
    (tmp_path / "edge.toml").write_text(NODE + 'disk_limit = "8GiB"\n' + source("a") + text)
    config = load(tmp_path / "edge.toml")
    assert config.notices == ()
    policy = RetentionPolicy(30 * 86400.0, 1 << 30)
    assert config.streams[0].store_config() == StreamConfig(when_full="thin", retention=policy)


def test_how_a_stream_scales_comes_from_its_table(tmp_path: Path) -> None:
    text = '[[stream]]\nname = "a"\nscaling = { by = "events", target_per_s = 500, windows = ["5s", "1m", "5m"] }\n'
    fixed = '[[stream]]\nname = "b"\nscaling = { by = "fixed", min_segments = 4 }\n'
    (tmp_path / "edge.toml").write_text(NODE + source("a") + text + fixed)
    config = load(tmp_path / "edge.toml")
    by_events = ScalingPolicy("events", 500.0, 1, 16, (5.0, 60.0, 300.0), 60.0)
    assert [stream.store_config().scaling for stream in config.streams] == [by_events, ScalingPolicy(min_segments=4)]
    lines = describe(config)
    assert "stream a: telemetry, priority 10, 1 to 16 segments by events, 500/s each" in lines
    assert "stream b: telemetry, priority 10, 4 segments" in lines


def test_a_bulk_stream_comes_from_its_table(tmp_path: Path) -> None:
    text = '[[stream]]\nname = "video/gate"\nkind = "bulk"\ndurable_every = "500ms"\nwhen_full = "drop-oldest"\n'
    (tmp_path / "edge.toml").write_text(NODE + source("a") + text + '[[stream]]\nname = "b"\nkind = "bulk"\n')
    config = load(tmp_path / "edge.toml")
    video, plain = (stream.store_config() for stream in config.streams)
    assert video == StreamConfig("bulk", when_full="drop-oldest", durable_every_s=0.5)
    assert plain == StreamConfig("bulk", durable_every_s=1.0)
    assert "stream video/gate: bulk, durable every 0.5 s, priority 10" in describe(config)


def uncommented(text: str) -> str:
    """The sample as it is when every line that can be configuration is."""
    return re.sub(r"(?m)^#(?=[\[a-z])", "", text)


def test_the_sample_passes_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "edge.toml").write_text(sample())
    assert load(tmp_path / "edge.toml").node.name == "pump-7"


@pytest.mark.long
def test_the_sample_passes_with_everything_uncommented(tmp_path: Path) -> None:
    (tmp_path / "hub-token").write_text("t" * 32)
    text = uncommented(sample()).replace("/etc/edge/hub-token", str(tmp_path / "hub-token"))
    (tmp_path / "edge.toml").write_text(text)
    config = load(tmp_path / "edge.toml")
    assert sorted(each.settings.driver for each in config.sources) == driver_names()
    assert config.hub is not None
    assert len(config.upstreams) == len(config.streams) == 1


@pytest.mark.parametrize("driver", driver_names())
def test_the_sample_has_every_key_of_every_driver(driver: str) -> None:
    block = sample().split(f'#driver = "{driver}"')[1].split("#[[")[0]
    for field in fields(driver_class(driver).Config):
        assert re.search(rf"(?m)^#+ *{field.name} = ", block), f"{driver}.{field.name} is not in the sample"


def test_the_schema_describes_every_driver() -> None:
    properties = cast(dict[str, dict[str, dict[str, object]]], schema()["properties"])
    alternatives = cast(list[dict[str, object]], properties["source"]["items"]["oneOf"])
    assert [alternative["title"] for alternative in alternatives] == driver_names()
    assert all(alternative["additionalProperties"] is False for alternative in alternatives)
