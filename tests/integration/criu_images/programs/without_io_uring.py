"""Run a program to which the kernel says that it has no io_uring, which CRIU cannot dump: without_io_uring.py COMMAND ..."""

from __future__ import annotations

import ctypes
import os
import platform
import sys

from llmux.server._seccomp import filter_program

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]


instructions = filter_program(platform.machine())
program = Program(len(instructions) // 8, instructions)
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
    PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program)
):
    sys.exit(os.strerror(ctypes.get_errno()))
os.execvp(sys.argv[1], sys.argv[1:])
