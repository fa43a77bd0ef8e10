"""A tool: what `describe` says is what the model reads."""

import json

from componentize_py_types import Err
from wit_world.exports import tool
from wit_world.imports import log
from wit_world.imports.opg_tool_types import Context


class Tool:
    def describe(self) -> list[tool.Definition]:
        schema = {
            "type": "object",
            "properties": {"name": {"type": "string", "description": "Who to greet."}},
            "required": ["name"],
            "additionalProperties": False,
        }
        return [tool.Definition("greet", "Greets someone by name.", json.dumps(schema), [])]

    def call(self, name: str, input: str, context: Context) -> str:
        who = json.loads(input)["name"]
        if not who.strip():
            raise Err(tool.Error_InvalidInput("the name is empty; say who to greet"))
        log.write(log.Level.INFO, f"greeting {who}")
        return json.dumps(f"Hello, {who}!")
