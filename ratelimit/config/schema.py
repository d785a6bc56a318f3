"""The JSON Schema of a policy file, for editors that complete and check TOML."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from ratelimit.config.grammar.tables import PolicyFile

ID = "urn:ratelimit-asgi:policy"  # the same for every release: what a file may say is of the one that is installed


class _AsToml(GenerateJsonSchema):
    """TOML has no null: a key is there or not. A default is shown as TOML would have it, or not at all."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        written = super().default_schema(schema)
        default = written.get("default")
        of_its_type = isinstance(default, str | bool | list) or (
            default is not None and written.get("type") == "integer"
        )
        return written if of_its_type else {key: value for key, value in written.items() if key != "default"}

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        """A table whose keys have a pattern has no others."""
        written = super().dict_schema(schema)
        return {**written, "additionalProperties": False} if "patternProperties" in written else written

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def json_schema() -> dict[str, Any]:
    """The grammar as JSON Schema, draft 2020-12. Date-times are texts in it, as the schemas of TOML tools have them.

    It can't see what takes two places of a file to see, such as a key whose tier does not exist: `load_policy` does.
    """
    schema = PolicyFile.model_json_schema(by_alias=True, schema_generator=_AsToml)
    return {"$schema": GenerateJsonSchema.schema_dialect, "$id": ID, **schema}
