"""JSON Schemas of the files that pydantic models describe, as they are shipped beside the models."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def titled_schema(model: type[BaseModel], title: str) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a model under a title for people."""
    return {"$schema": DIALECT, **model.model_json_schema(), "title": title}


def schema_text(schema: dict[str, Any]) -> str:
    """Return the one written form of a schema."""
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"
