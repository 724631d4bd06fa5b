"""What an error says of itself in an answer."""

from llmux.server.errors import ModelUnavailable, Problem


def test_a_model_that_cannot_be_had_says_why_and_always_what_to_do():
    plain = ModelUnavailable("m", Problem("sandbox_ended", "its sandbox has ended")).problem()
    assert (plain.code, plain.message) == ("sandbox_ended", "m: its sandbox has ended")
    assert "/control/status" in plain.hint
    assert ModelUnavailable("m", Problem("x", "y", "do z")).problem().hint == "do z"
    assert ModelUnavailable("m", Problem("x", "y", "do z"), hint="do w").problem().hint == "do w"
