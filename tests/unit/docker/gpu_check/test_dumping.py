"""Whether CRIU's plugin was at work, which it tells in the log alone."""

import pytest

from gpu_check._children import CaseFailed
from gpu_check._dumping import _check_at_work

AT_WORK = "(00.001) cuda_plugin: initialized: cuda_plugin stage 0\n(00.002) Dumping\n"
SWITCHED_OFF = "(00.001) cuda_plugin: No GPU device found; CUDA plugin is disabled\n(00.002) Dumping\n"


def test_a_plugin_that_was_at_work_is_seen(tmp_path):
    log = tmp_path / "dump.log"
    log.write_text(AT_WORK)
    _check_at_work(log)


def test_one_that_has_switched_itself_off_proves_nothing(tmp_path):
    log = tmp_path / "dump.log"
    log.write_text(SWITCHED_OFF)
    with pytest.raises(CaseFailed, match="was not at work") as failed:
        _check_at_work(log)
    assert failed.value.log == SWITCHED_OFF.splitlines()[0]
