"""The store against a model of it that fits on a page.

`semantics` is that page: read it first. `bench` holds a store on the twin beside it, and says what a power cut may leave;
the rules are in `writing`, `reading`, `breaking`, and so on; `machine` puts them together.
"""
