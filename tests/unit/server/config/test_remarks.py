"""What is allowed but worth saying at start."""

from __future__ import annotations

from samples import loaded, model

from llmux.server import config

STORE = {"endpoint": "http://localhost:9000", "bucket": "b", "access_key": "a", "secret_key": "s"}


def test_a_checkpoint_path_elsewhere_is_allowed_and_stated():
    (remark,) = config.remarks(loaded(models={"m": model(checkpoint_path="/seed/images")}))
    assert "models.m.checkpoint_path" in remark
    assert "/var/lib/llmux/checkpoints/m/images" in remark
    assert config.remarks(loaded()) == ()


def test_fields_of_earlier_releases_that_do_nothing_are_named():
    earlier = loaded(admin_port=3001, warmup=True, checkpoint={"object_store": STORE})
    paths = [remark.split(":")[0] for remark in config.remarks(earlier)]
    assert paths == ["admin_port", "warmup", "checkpoint.object_store"]


def test_a_secret_is_not_shown():
    assert "'s'" not in repr(loaded(checkpoint={"object_store": STORE}))
