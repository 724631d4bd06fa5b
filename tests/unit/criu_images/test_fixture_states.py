"""What each real dump of namespaces, devices, states and rights was made to show: stated facts, beyond what the kernel told."""

from __future__ import annotations

from llmux.criu_images._enums import (
    FileType,
    MappingKind,
    MemfdSeal,
    NamespaceKind,
    NetDeviceType,
    SeccompMode,
    Shutdown,
    SocketState,
    SocketType,
    TerminalType,
)
from llmux.criu_images._inventory import PathKind
from llmux.criu_images._needs import NeedKind
from llmux.criu_images._records import (
    InetSocket,
    Memfd,
    NamespaceFile,
    Notify,
    PacketSocket,
    RegularFile,
    Terminal,
    TimerFd,
    TunFile,
)

from .live import dump_of, inventory_of

HOME = b"/srv/fixture/"
HOUR = 3600 * 10**9


def files(name, kind):
    return [file for file in dump_of(name).files.values() if isinstance(file, kind)]


def needs(name):
    return {(need.kind, need.what) for need in inventory_of(name).needs}


def kinds_of_paths(name):
    return {
        reference.path.removeprefix(HOME): reference.kind
        for reference in inventory_of(name).paths
        if reference.path not in {b"/", b"/dev/null", b"/srv/fixture", HOME + b"output.log"}
        and not reference.path.startswith(b"/usr/")
    }


def test_a_mount_namespace_has_its_own_mounts_and_those_of_dev_are_external():
    mounts = {mount.mountpoint: mount for mount in dump_of("mount_namespace").mounts}
    shared, slave, bound = (mounts[HOME + name] for name in (b"tmpfs", b"slave", b"bound"))
    assert shared.shared_id == slave.master_id != 0
    assert (shared.source, shared.options) == (b"made", b"size=64k,mode=750")
    assert bound.root == HOME + b"directory"
    assert {path for path, mount in mounts.items() if mount.external} == {
        b"/dev",
        b"/dev/mqueue",
        b"/dev/pts",
        b"/dev/shm",
    }
    assert kinds_of_paths("mount_namespace") == {
        b"bound/file": PathKind.REGULAR,
        b"tmpfs/file": PathKind.REGULAR,
    }


def test_an_automounters_mount_asks_for_its_daemon():
    (mount,) = dump_of("autofs").autofs_mounts
    assert mount.daemon_pgid == 1001
    assert NeedKind.AUTOFS in {kind for kind, _ in needs("autofs")}


def test_namespaces_of_the_trees_own():
    dump = dump_of("namespaces")
    assert {each.kind for each in inventory_of("namespaces").namespaces} == {
        NamespaceKind.PID,
        NamespaceKind.UTS,
        NamespaceKind.IPC,
        NamespaceKind.TIME,
    }
    assert [task.pid for task in dump.tasks] == [1, 2]
    assert [(host.node, host.domain) for host in dump.host_names] == [("inner", "example.org")]
    (offsets,) = dump.time_offsets
    assert HOUR < offsets.boottime - offsets.monotonic < HOUR + 2 * 10**9  # two hours and 6 s, one and 5 s
    assert [(queue.key, queue.messages) for queue in dump.sysv_queues] == [(0x33CC, 1)]
    assert [(each.key, each.count) for each in dump.sysv_semaphores] == [(0x44DD, 3)]
    assert [file.clone_flag for file in files("namespaces", NamespaceFile)] == [0x04000000, 0x08000000]


def test_a_user_namespace_has_its_maps():
    (namespace,) = dump_of("user_namespace").user_namespaces
    assert [(each.first, each.lower_first, each.count) for each in namespace.uids] == [
        (0, 0, 1000),
        (1000, 101000, 64536),
    ]
    assert namespace.gids == namespace.uids


def test_a_network_namespace_has_its_devices():
    assert {device.name: device.type for device in dump_of("net_namespace").net_devices} == {
        b"lo": NetDeviceType.LOOPBACK,
        b"left": NetDeviceType.VETH,
        b"right": NetDeviceType.VETH,
        b"bridge0": NetDeviceType.BRIDGE,
        b"macvlan0": NetDeviceType.MACVLAN,
        b"tun0": NetDeviceType.TUN,
        b"tap0": NetDeviceType.TUN,
    }
    assert [file.device for file in files("net_namespace", TunFile)] == [b"tun0", b"tap0"]
    (link_local,) = (each for each in files("net_namespace", InetSocket) if each.source == "fe80::7")
    assert link_local.interface == b"right"
    assert needs("net_namespace") == set()


def test_what_is_handed_in_at_restore_is_asked_for():
    assert {(each.kind, each.key) for each in dump_of("given_at_restore").external_namespaces} == {
        ("net", b"outer-net"),
        ("pid", b"outer-pid"),
    }
    (file,) = (each for each in files("given_at_restore", RegularFile) if each.external)
    (terminal,) = files("given_at_restore", Terminal)
    assert terminal.terminal.type is TerminalType.EXT_TTY
    assert needs("given_at_restore") == {
        (NeedKind.TERMINAL, f"tty {terminal.info:#x}"),
        (NeedKind.INHERITED_FILE, file.name.decode()),
        (NeedKind.EXTERNAL_NAMESPACE, "pid: outer-pid"),
        (NeedKind.EXTERNAL_NAMESPACE, "net: outer-net"),
    }


def test_a_control_group_that_the_tree_made_is_made_again():
    dump = dump_of("control_groups")
    (child,) = (task for task in dump.tasks if task.pid != dump.root_task)
    (group,) = (each for each in dump.cgroups.sets if each.id == child.thread_details[0].cgroup_set)
    assert b"/fixture" in {member.path for member in group.members}
    (made,) = (each for each in dump.cgroups.directories if each.path == b"/fixture")
    assert "pids.max" in made.properties


def test_a_cpu_is_described_where_that_was_asked_for():
    (cpu,) = dump_of("control_groups").cpus
    assert cpu.family
    assert cpu.extended_states & 0b111 == 0b101 or cpu.extended_states & 0b111 == 0b111


def test_fanotify_marks_have_the_paths_that_they_are_on():
    queues = files("fanotify", Notify)
    assert {queue.type for queue in queues} == {FileType.FANOTIFY}
    assert [watch.path for queue in queues for watch in queue.watches] == [b"/dev/shm/marked", b"/dev/shm"]
    assert kinds_of_paths("fanotify") == dict.fromkeys((b"/dev/shm", b"/dev/shm/marked"), PathKind.WATCHED)


def test_a_lease_is_a_lock_of_its_own_kind():
    (lease,) = dump_of("leases").locks
    assert (lease.kind, lease.pid, lease.fd) == (8, 1000, 3)
    assert needs("leases") == {(NeedKind.FILE_LOCK, "lease, the whole file")}


def test_connections_are_in_every_state_that_a_descriptor_can_be_in():
    sockets = files("inet_states", InetSocket)
    states = {(each.source_port, each.state, each.shutdown) for each in sockets if each.destination_port}
    assert states == {
        (9101, SocketState.FIN_WAIT2, Shutdown.WRITE),
        (8101, SocketState.CLOSE_WAIT, Shutdown.READ),
        (9102, SocketState.FIN_WAIT1, Shutdown.WRITE),
        (8102, SocketState.ESTABLISHED, Shutdown.NONE),
        (9103, SocketState.FIN_WAIT1, Shutdown.WRITE),
        (8103, SocketState.LAST_ACK, Shutdown.BOTH),
        (9104, SocketState.CLOSING, Shutdown.BOTH),
        (8104, SocketState.FIN_WAIT1, Shutdown.WRITE),
        (9105, SocketState.SYN_SENT, Shutdown.NONE),
        (9106, SocketState.ESTABLISHED, Shutdown.NONE),
        (8106, SocketState.ESTABLISHED, Shutdown.NONE),
    }
    assert len(inventory_of("inet_states").connections) == len(states)
    assert max(queue.unsent for queue in dump_of("inet_states").tcp_queues) == 300
    assert [each.source_port for each in sockets if each.reuseport] == [8107, 8107]
    assert [each.source for each in sockets if each.freebind] == ["192.0.2.9"]


def test_connections_that_come_back_closed_are_a_caution():
    assert dump_of("inet_closed").tcp_close
    assert any("--tcp-close" in caution.what for caution in inventory_of("inet_closed").cautions)


def test_sockets_below_tcp_ask_for_rights_and_devices():
    packet = files("packet_sockets", PacketSocket)
    assert {each.type for each in packet} == {SocketType.DGRAM, SocketType.RAW, SocketType.PACKET}
    (task,) = dump_of("packet_sockets").tasks
    assert [
        mapping.end - mapping.start for mapping in task.mappings if mapping.kind is MappingKind.SOCKET
    ] == [8192]
    assert needs("packet_sockets") == {
        (NeedKind.CAPABILITY, "CAP_NET_RAW, for a packet socket"),
        (NeedKind.CAPABILITY, "CAP_NET_RAW, for a raw socket"),
        (NeedKind.CAPABILITY, "CAP_NET_ADMIN, to set SO_MARK 0x2a"),
        (NeedKind.NETWORK_DEVICE, "number 1"),
        (NeedKind.NETWORK_DEVICE, "lo"),
    }
    assert [port.socket.source_port for port in inventory_of("packet_sockets").ports] == [9003]
    (filtered,) = (each for each in files("packet_sockets", InetSocket) if each.options.filter_length)
    assert filtered.options.device == b"lo"


def test_memory_that_no_path_names():
    """Shared anonymous memory is dumped as a memfd."""
    seals = {file.name: set(file.seals) for file in files("memory_kinds", Memfd)}
    assert seals[b"for-good"] == {MemfdSeal.SEAL, MemfdSeal.GROW, MemfdSeal.WRITE}
    assert seals[b"from-now-on"] >= {MemfdSeal.FUTURE_WRITE, MemfdSeal.EXEC}
    (shared,) = (file for file in files("memory_kinds", Memfd) if file.name == b"/dev/zero")
    mapping = {
        task.pid
        for task in dump_of("memory_kinds").tasks
        for area in task.mappings
        if area.kind is MappingKind.MEMFD and area.file == shared.id
    }
    assert mapping == {1000, 1001}


def test_a_lost_symbolic_link_is_a_ghost_with_a_target_and_owners_are_kept():
    ghosts = dump_of("lost_links").ghosts.values()
    assert {(ghost.symlink_target, ghost.uid, ghost.gid) for ghost in ghosts} == {
        (b"to/nowhere", 0, 0),
        (None, 33, 34),
    }
    (socket,) = inventory_of("lost_links").sockets
    assert (socket.socket.uid, socket.socket.gid) == (33, 34)


def test_timers_that_go_on_that_ran_out_and_that_were_never_set():
    going, out, unset = files("timers_running", TimerFd)
    assert 9 * HOUR < going.remaining <= 10 * HOUR
    assert going.interval == 2 * HOUR
    assert (out.clock, out.ticks, out.remaining) == (7, 1, 0)
    assert (unset.ticks, unset.remaining, unset.interval) == (0, 0, 0)


def test_terminals_have_their_locks_and_modes():
    terminals = [file.terminal for file in files("terminal_kinds", Terminal)]
    masters = [each for each in terminals if each.master]
    assert [(each.locked, each.packet_mode, each.sid) for each in masters] == [
        (True, False, 0),
        (False, True, 1001),
    ]
    assert {each.type for each in terminals if each.exclusive} == {TerminalType.PTY, TerminalType.CTTY}
    assert needs("terminal_kinds") == set()


def test_a_process_carries_its_state():
    root, locked_in, child = dump_of("task_state").tasks
    assert [timer.kind for timer in root.interval_timers] == [0, 2]
    assert [(timer.notify, timer.thread, timer.interval) for timer in root.posix_timers] == [
        (0, None, 5 * 10**9 + 500),
        (4, 1000, 5 * 10**9 + 500),
    ]
    assert len(root.aio_rings) == 1
    assert (root.pending_signals, root.thread_details[0].pending_signals) == (1, 1)
    assert root.child_subreaper
    assert root.thread_details[0].nice == 3
    filters = dump_of("task_state").seccomp_filters
    assert filters[root.thread_details[0].seccomp_filter].previous == 0
    assert locked_in.seccomp is SeccompMode.STRICT
    assert (child.thread_details[0].parent_death_signal, child.thread_details[0].policy) == (15, 3)


def test_a_container_of_runc_owns_what_it_was_given_and_names_what_it_was_not():
    assert {each.kind for each in inventory_of("container").namespaces} == {
        NamespaceKind.PID,
        NamespaceKind.NET,
        NamespaceKind.IPC,
        NamespaceKind.UTS,
        NamespaceKind.MNT,
    }
    mounts = {mount.mountpoint: mount.external for mount in dump_of("container").mounts}
    assert mounts[b"/"] is None
    assert mounts[b"/proc/keys"] == b"/dev/null"
    assert kinds_of_paths("container").keys() == {b"/dev/shm/ring", b"/var/log/app.log"}
    (task,) = dump_of("container").tasks
    (group,) = (
        each for each in dump_of("container").cgroups.sets if each.id == task.thread_details[0].cgroup_set
    )
    assert b"/container" in {member.path for member in group.members}
