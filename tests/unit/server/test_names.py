"""Whom a name stands for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llmux.server import _names
from llmux.server.errors import UnknownModel


@pytest.fixture
def models(make_driver, make_hands):
    models = make_driver({"m": make_hands(), "n": make_hands()}).models
    rules = models["m"].rules
    models["m"].rules = replace(rules, aliases=("org/m",), adapters={"sql": "/lora"}, served_name="/m.gguf")
    return models


@pytest.mark.parametrize(
    ("name", "model", "served"),
    [("m", "m", "/m.gguf"), ("org/m", "m", "/m.gguf"), ("sql", "m", "sql"), ("n", "n", "n")],
)
async def test_a_model_an_alias_or_an_adapter(models, name, model, served):
    target = _names.target_of(models, name)
    assert (target.asked, target.model.name, target.served) == (name, model, served)


async def test_every_name_is_listed_and_told_where_one_is_unknown(models):
    assert [card.name for card in _names.cards(models.values())] == ["m", "org/m", "sql", "n"]
    assert _names.card_of(models, "sql").parent == "m"
    for find in (_names.card_of, _names.target_of):
        with pytest.raises(UnknownModel) as caught:
            find(models, "nope")
        assert caught.value.known == ("m", "org/m", "sql", "n")


async def test_the_default_is_the_one_that_is_configured(models):
    assert _names.default_of(models) is None
    models["n"].rules = replace(models["n"].rules, is_default=True)
    assert _names.default_of(models) == "n"
