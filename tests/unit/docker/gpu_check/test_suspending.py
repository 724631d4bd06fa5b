"""Where the content of each GPU goes."""

from gpu_check._suspending import device_map


def test_two_change_places_and_the_others_stay():
    assert device_map("A", "B", ["C", "D"]) == {"A": "B", "B": "A", "C": "C", "D": "D"}
    assert list(device_map("A", "B", []))[:2] == ["A", "B"]
