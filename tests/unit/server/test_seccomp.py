"""The filter run by a small interpreter of classic BPF, as far as seccomp filters use it."""

from __future__ import annotations

import struct

import pytest

from llmux.server._effect_errors import UnsupportedMachine
from llmux.server._seccomp import filter_program

ALLOW = 0x7FFF0000
NO_SUCH_CALL = 0x00050000 | 38
X86_64, AARCH64, I386 = 0xC000003E, 0xC00000B7, 0x40000003


def decide(program: bytes, arch: int, number: int) -> int:
    """Return the filter's verdict on one call."""
    instructions = list(struct.iter_unpack("=HBBI", program))
    accumulator, at = 0, 0
    while True:
        code, if_true, if_false, operand = instructions[at]
        at += 1
        match code:
            case 0x20:
                accumulator = {0: number, 4: arch}[operand]
            case 0x15:
                at += if_true if accumulator == operand else if_false
            case 0x06:
                return operand
            case _:
                raise AssertionError(f"an instruction that no filter of ours needs: {code:#x}")


@pytest.mark.parametrize(("machine", "arch"), [("x86_64", X86_64), ("aarch64", AARCH64)])
def test_io_uring_and_nothing_else_does_not_exist(machine, arch):
    program = filter_program(machine)
    denied = {number for number in range(1024) if decide(program, arch, number) == NO_SUCH_CALL}
    assert denied == {425, 426, 427}
    assert all(decide(program, arch, number) == ALLOW for number in range(1024) if number not in denied)


def test_another_architectures_calls_are_allowed():
    assert decide(filter_program("x86_64"), I386, 425) == ALLOW


def test_a_machine_without_a_known_number_is_named():
    with pytest.raises(UnsupportedMachine, match=r"'riscv64' \(known: x86_64, aarch64\)"):
        filter_program("riscv64")
