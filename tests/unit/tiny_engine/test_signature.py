"""Which request a signature speaks of, and how often it came."""

import pytest

from llmux.tiny_engine._signature import Nonces, digest, prompt_digest


def test_a_signature_names_model_nonce_prompt_and_text():
    signer = Nonces().signer("n1", "tiny", prompt_digest("The lamp"))
    assert signer.sign("burns") == {
        "signature": {
            "model": "tiny",
            "nonce": "n1",
            "prompt_sha256": prompt_digest("The lamp"),
            "text_sha256": digest("burns"),
            "times": 1,
        }
    }


@pytest.mark.parametrize("header", [None, ""])
def test_without_a_nonce_there_is_no_signature(header):
    assert Nonces().signer(header, "tiny", prompt_digest("x")) is None


def test_a_nonce_that_comes_again_is_counted():
    nonces = Nonces()
    assert [nonces.signer(nonce, "tiny", "").times for nonce in ("a", "b", "a", "a")] == [1, 1, 2, 3]


def test_of_very_many_nonces_the_oldest_are_forgotten():
    nonces = Nonces()
    for number in range((1 << 16) + 1):
        nonces.signer(str(number), "tiny", "")
    assert nonces.signer("0", "tiny", "").times == 1
    assert nonces.signer("65536", "tiny", "").times == 2


def test_a_prompts_digest_does_not_depend_on_how_its_json_was_written():
    assert prompt_digest([{"role": "user", "content": "é"}]) == prompt_digest(
        [{"content": "é", "role": "user"}]
    )
    assert prompt_digest("a") != prompt_digest(["a"]) != prompt_digest("b")
