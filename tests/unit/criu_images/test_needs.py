from __future__ import annotations

import pytest

from llmux.criu_images._dump import read_dump
from llmux.criu_images._enums import NamespaceKind
from llmux.criu_images._inventory import take_inventory
from llmux.criu_images._needs import NeedKind, OwnNamespace

from .conftest import ANON_PRIVATE

OPTIONS = dict.fromkeys(
    (
        "so_sndbuf",
        "so_rcvbuf",
        "so_snd_tmo_sec",
        "so_snd_tmo_usec",
        "so_rcv_tmo_sec",
        "so_rcv_tmo_usec",
    ),
    0,
)


@pytest.fixture
def needs(maker):
    return lambda: [(need.kind, need.what) for need in take_inventory(read_dump(maker.directory)).needs]


def test_a_bound_device_and_a_mark(maker, needs):
    maker.whole(maker.inet(3, opts=OPTIONS | {"so_bound_dev": "eth0", "so_mark": 5}))
    assert needs() == [
        (NeedKind.CAPABILITY, "CAP_NET_ADMIN, to set SO_MARK 0x5"),
        (NeedKind.NETWORK_DEVICE, "eth0"),
    ]


@pytest.mark.demand("hugetlb")
def test_huge_pages_by_mapping(maker, needs):
    maker.whole()
    maker.task(7, {}, maker.vma(4096, ANON_PRIVATE, 0) | {"flags": 0x40022})
    assert needs() == [(NeedKind.HUGE_PAGES, "for 4096 bytes")]


@pytest.mark.demand("lsm")
def test_a_security_profile_by_its_name(maker, needs):
    ids = ("uid", "gid", "euid", "egid", "suid", "sgid", "fsuid", "fsgid", "secbits")
    credentials = dict.fromkeys(ids, 0) | {f"cap_{name}": [0, 0] for name in ("inh", "prm", "eff", "bnd")}
    maker.whole()
    maker.core(7, creds=credentials | {"groups": [], "lsm_profile": "docker-default"})
    assert needs() == [(NeedKind.LSM_PROFILE, "docker-default")]


@pytest.mark.parametrize(
    ("target", "problem"),
    [("nowhere", ": No such file or directory"), (".", ": it leads back to a dump that it is a parent of")],
)
@pytest.mark.demand("pre-dump")
def test_a_parent_that_is_missing_or_goes_round_is_named(maker, needs, target, problem):
    maker.whole()
    (maker.directory / "parent").symlink_to(target)
    ((kind, what),) = needs()
    assert kind is NeedKind.PARENT_IMAGES
    assert what.endswith(problem)


def test_namespaces_of_the_dumps_own(maker):
    maker.whole()
    ids = {"vm_id": 1, "files_id": 7, "fs_id": 1, "sighand_id": 1}
    maker.inventory(root_ids=ids | {"net_ns_id": 1, "ipc_ns_id": 2})
    maker.image("ids-7.img", "IDS", "task_kobj_ids_entry", ids | {"net_ns_id": 1, "ipc_ns_id": 9})
    assert take_inventory(read_dump(maker.directory)).namespaces == (
        OwnNamespace(NamespaceKind.IPC, 9, (7,)),
    )


@pytest.mark.demand("unknown-entry")
def test_an_image_that_no_criu_writes_is_reported(maker):
    maker.whole()
    (maker.directory / "foo-12.img").write_bytes(b"12345678")
    (unknown,) = read_dump(maker.directory).unknown
    assert unknown.image == "foo-12.img"
