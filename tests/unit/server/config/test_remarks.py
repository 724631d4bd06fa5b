"""What is allowed but worth saying at start."""

from __future__ import annotations

import pytest
from samples import loaded, model

from llmux.server import config

STORE = {"endpoint": "http://localhost:9000", "bucket": "b", "access_key": "a", "secret_key": "s"}


def test_a_checkpoint_path_elsewhere_is_allowed_and_stated():
    (remark,) = config.remarks(loaded(models={"m": model(checkpoint_path="/seed/images")}))
    assert "models.m.checkpoint_path" in remark
    assert "/var/lib/llmux/checkpoints/m/images" in remark
    assert config.remarks(loaded()) == ()


def test_fields_of_earlier_releases_that_do_nothing_are_named():
    earlier = loaded(warmup=True, checkpoint={"object_store": STORE})
    paths = [remark.split(":")[0] for remark in config.remarks(earlier)]
    assert paths == ["warmup", "checkpoint.object_store"]


def test_a_secret_is_not_shown():
    assert "'s'" not in repr(loaded(checkpoint={"object_store": STORE}))


@pytest.mark.parametrize(
    ("remote", "said"),
    [
        ({"url": "http://10.0.0.7/v1", "api_key_env": "KEY"}, True),
        ({"url": "http://127.example.com/v1", "api_key_file": "/key"}, True),
        ({"url": "http://10.0.0.7/v1"}, False),
        ({"url": "https://10.0.0.7/v1", "api_key_env": "KEY"}, False),
        ({"url": "http://127.0.0.1:8000", "api_key_env": "KEY"}, False),
        ({"url": "http://[::1]:8000", "api_key_env": "KEY"}, False),
    ],
)
def test_a_key_that_goes_over_the_net_in_the_clear_is_worth_saying(remote, said):
    found = config.remarks(loaded(models={"m": {"model_path": "x", "engine": "remote", "remote": remote}}))
    assert any("models.m.remote.url" in each and "without TLS" in each for each in found) == said


def test_what_ranks_are_started_with_is_told():
    two = model(extra_args=["-tp", "2", "--enforce-eager"], env={"NCCL_CUMEM_HOST_ENABLE": "0"})
    (remark,) = config.remarks(loaded(models={"m": two}))
    assert remark.startswith(
        "models.m.nccl: where there are GPUs its 2 ranks are started with NCCL_P2P_DISABLE=1 NCCL_NVLS_ENABLE=0 "
        "VLLM_ALLREDUCE_USE_SYMM_MEM=0 --disable-custom-all-reduce, so that they can leave them"
    )
    assert config.remarks(loaded(models={"m": model(extra_args=["-tp", "2"], nccl="as_is")})) == ()
