"""Templates around the table model's tokenizer."""

from collections.abc import Callable
from pathlib import Path

import pytest
from gemcut.prompt.codec import ChatCodec, load_codec

from tests.support.table_model import TEMPLATE, write_tokenizer


@pytest.fixture(scope="session")
def make_codec(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., ChatCodec]:
    path: Path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    write_tokenizer(path)
    return lambda template=TEMPLATE: load_codec(path, template, {"bos_token": "<bos>"}, bos_id=2)
