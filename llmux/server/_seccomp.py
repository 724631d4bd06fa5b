"""The seccomp filter that hides io_uring from an engine.

CRIU cannot dump an io_uring (`Unknown shit 600 (anon_inode:[io_uring])`), yet libuv opens one even with
`UV_USE_IO_URING=0`. A program that is told ENOSYS believes in an older kernel and falls back to epoll. CRIU dumps and
restores the filter itself.

Interface: `filter_program(machine) -> bytes`, the classic BPF program that `_init.py` installs in an engine. Pure.

Sources: seccomp(2), linux/bpf_common.h, linux/seccomp.h, linux/audit.h. The three numbers are the same on every
architecture that has them (include/uapi/asm-generic/unistd.h).
"""

from __future__ import annotations

import struct

from llmux.server._effect_errors import UnsupportedMachine

IO_URING_CALLS = (425, 426, 427)
"""io_uring_setup, io_uring_enter, io_uring_register."""

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

_LOAD_WORD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_JUMP_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K

# Offsets into struct seccomp_data.
_NUMBER = 0
_ARCH = 4

_ALLOW = 0x7FFF0000  # SECCOMP_RET_ALLOW
_ERRNO = 0x00050000  # SECCOMP_RET_ERRNO, the errno in the low 16 bits
_ENOSYS = 38


def filter_program(machine: str) -> bytes:
    """Return the filter for `machine` (as uname(2) names it) as an array of struct sock_filter.

    A call of another architecture, such as a 32-bit program's, is allowed: the filter hides a feature, it guards nothing.
    Raises UnsupportedMachine for a machine whose audit number is not known here.
    """
    if machine not in _AUDIT_ARCH:
        raise UnsupportedMachine(machine, tuple(_AUDIT_ARCH))
    calls = len(IO_URING_CALLS)
    return b"".join(
        [
            _instruction(_LOAD_WORD, _ARCH),
            _instruction(_JUMP_EQUAL, _AUDIT_ARCH[machine], if_false=calls + 1),
            _instruction(_LOAD_WORD, _NUMBER),
            *(
                _instruction(_JUMP_EQUAL, number, if_true=calls - index)
                for index, number in enumerate(IO_URING_CALLS)
            ),
            _instruction(_RETURN, _ALLOW),
            _instruction(_RETURN, _ERRNO | _ENOSYS),
        ]
    )


def _instruction(code: int, operand: int, *, if_true: int = 0, if_false: int = 0) -> bytes:
    """Return one struct sock_filter; the jumps count instructions to skip."""
    return struct.pack("=HBBI", code, if_true, if_false, operand)
