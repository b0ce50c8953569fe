"""MQTT listener."""
