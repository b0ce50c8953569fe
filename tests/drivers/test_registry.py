"""The registration table, and what every driver in it must keep to."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from dataclasses import MISSING, fields, is_dataclass
from typing import cast

import pytest
from pydantic import TypeAdapter, ValidationError

from drivers.contract import DriverClass, Shape, SourceSettings, UnknownDriverError
from drivers.registry import driver_class, driver_names
from storage.clock import FakeClock
from tests.drivers.kinds import README_DRIVER
from tests.readme import driver_module

every_driver = pytest.mark.parametrize("name", [*driver_names(), README_DRIVER])


def class_of(name: str) -> DriverClass:
    """The class of that name; the one that the README shows how to write."""
    return cast(DriverClass, driver_module().UdpDriver) if name == README_DRIVER else driver_class(name)


def test_an_unknown_driver_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownDriverError, match="did you mean 'serial'"):
        driver_class("seriel")
    with pytest.raises(UnknownDriverError, match=", ".join(driver_names())):
        driver_class("xyzzy")


@pytest.mark.long
def test_no_library_is_loaded_for_a_driver_that_nobody_uses() -> None:
    program = (
        "import sys; from drivers.registry import driver_class; driver_class('synthetic'); "
        "print([name for name in ('paho', 'serial', 'pydantic') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@every_driver
def test_its_configuration_has_a_default_and_a_description_for_every_field(name: str) -> None:
    config = class_of(name).Config
    assert is_dataclass(config)
    assert all(field.default is not MISSING or field.default_factory is not MISSING for field in fields(config))
    described = TypeAdapter(config).json_schema()["properties"]
    assert set(described) == {field.name for field in fields(config)}
    assert [field for field, schema in described.items() if not schema.get("description")] == []


@every_driver
def test_its_configuration_does_not_take_the_names_of_every_sources_settings(name: str) -> None:
    common = {field.name for field in fields(SourceSettings)} | {"commit_interval"}
    assert not common & {field.name for field in fields(class_of(name).Config)}


@every_driver
def test_its_configuration_is_strict_and_frozen(name: str) -> None:
    adapter: TypeAdapter[object] = TypeAdapter(class_of(name).Config)
    with pytest.raises(ValidationError, match="no_such_setting"):
        adapter.validate_python({"no_such_setting": 1})
    config = adapter.validate_python({})
    with pytest.raises(AttributeError):
        setattr(config, fields(class_of(name).Config)[0].name, None)


@every_driver
def test_it_can_be_made_from_its_defaults_without_touching_the_device(name: str) -> None:
    made = class_of(name)
    driver = made(made.Config(), SourceSettings(name="s", driver=name, stream="a/b"), FakeClock())
    assert {"good", "bad", "lost", "duplicates", "refused", "bytes"} <= set(driver.counters)
    assert not any(driver.counters.values())
    driver.close()


@every_driver
def test_it_declares_its_shape_and_what_happens_when_the_store_pushes_back(name: str) -> None:
    made = class_of(name)
    assert made.shape in Shape
    assert len(made.pushback.split()) > 3
    assert made.waits_in_poll in (True, False)


@every_driver
def test_it_owns_no_thread_and_no_sleep(name: str) -> None:
    module = inspect.getmodule(class_of(name))
    assert module is not None
    tree = ast.parse(inspect.getsource(module))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not imported & {"threading", "time", "asyncio", "random"}
