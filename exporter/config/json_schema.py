"""JSON Schemas of the files that pydantic models describe, as they are shipped beside them."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def titled_schema(model: type[BaseModel], title: str) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a model under a title for people."""
    return {"$schema": DIALECT, **model.model_json_schema(), "title": title}


def schema_text(schema: dict[str, Any]) -> str:
    """A schema's one written form."""
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"
