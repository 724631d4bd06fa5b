"""CRIU's messages about sockets, terminals, locks and other descriptors (sk-*.c, sockets.c, tty.c, file-lock.c, eventpoll.c, pidfd.c, tun.c, bpfmap.c)."""

from __future__ import annotations

from llmux.criu_images._messages import Message, Rank

_EFFECT = Rank.EFFECT
_OPTION = "Give it at the dump and at the restore."
_PEER = "Start the program that serves this socket first, and restore with --ext-unix-sk."
_NEWER = "Restore on a kernel no older than the dump's."

# fmt: off
BIND_PARENT = Message("unix-listen", "unix: Can't bind id {id} ino {inode} addr {name}", "The directory that a Unix socket is bound in is not here.", "Make it with its mode and owner: `rebuild DIR` does.", "ENOENT")
BIND_TAKEN = Message("unix-listen", "unix: Can't bind id {id} ino {inode} addr {name}", "The name of a Unix socket is taken: by a file that is no socket (CRIU removes sockets itself), or, if it is abstract and shown empty, by a socket in this network namespace.", "Move the file away; for an abstract name stop its holder or restore in a network namespace of its own. `plan DIR` names it.", "EADDRINUSE")
BIND_NOT_DIRECTORY = Message("unix-listen", "unix: Can't bind id {id} ino {inode} addr {name}", "Something on the way to a Unix socket's name is no directory here.", "Move it away; `plan DIR` names it.", "ENOTDIR")
BIND_OTHER = Message("unix-listen", "unix: Can't bind id {id} ino {inode} addr {name}", "A Unix socket can't be bound.", "Its directory must be there and writable; `plan DIR` looks.")
NAME_DIR = Message("unix-relative", "unix: Can't change working dir {path}", "The directory that a Unix socket's relative name starts from is not here.", "Make it with its mode and owner: `rebuild DIR` does.")
EXTERNAL_PEER = Message("unix-external", "unix: Can't connect {inode} socket", "The peer outside the dump, which a datagram socket was connected to, is not here.", _PEER)
PORT_TAKEN = Message("tcp-listen", "inet: Can't bind inet socket (id {number})", "A port of the tree is taken.", "`ss -lntup` shows who has it: stop that one, or restore in a network namespace of its own. `plan DIR` names the port.", "EADDRINUSE")
FLOCK_WAITS = Message("locks-foreign", "(flock)flag: 2, type: {type}, cmd: {cmd}, pid: {pid}, fd: {fd}", "CRIU takes a lock again; where the log ends so, it waits for another process to let go.", "`plan DIR` names the lock, and the holder if it can: stop that one.", rank=Rank.HARMLESS)
POSIX_WAITS = Message("locks-foreign", "(posix)flag: 1, type: {type}, pid: {pid}, fd: {fd}, start: {start}, len: {len}", "CRIU takes a lock again; where the log ends so, it waits for another process to let go.", "`plan DIR` names the lock, and the holder if it can: stop that one.", rank=Rank.HARMLESS)
OFD_TAKEN = Message("locks-foreign", "Can not set ofd lock!", "Another process holds a lock that the tree had.", "`plan DIR` names the file, and the holder if it can: stop that one.")
LEASE_TAKEN = Message("lease", "Can't set lease", "A lease can't be taken: the file is open elsewhere, or belongs to another user.", "Stop whoever has it open (`plan DIR` names it if it can); give CAP_LEASE.", "EAGAIN")

ROWS: tuple[Message, ...] = (
    BIND_PARENT, BIND_TAKEN, BIND_NOT_DIRECTORY, BIND_OTHER, NAME_DIR, EXTERNAL_PEER, PORT_TAKEN, FLOCK_WAITS, POSIX_WAITS, OFD_TAKEN, LEASE_TAKEN,
    # Unix sockets.
    Message("unix-deleted", "unix: ghost: Can't create {name}", "The directory of a deleted Unix socket can't be made.", "See what stands in the way at that path and move it away."),
    Message("unix-deleted", "unix: ghost: Can't access {path} for socket id {id} ino {inode} name {name}", "The directory of a deleted Unix socket can't be entered.", "Make it accessible to CRIU."),
    Message("unix-deleted", "unix: ghost: Can't bind on socket id {id} ino {inode} addr {name}", "A deleted Unix socket can't be bound for a moment at the name it had.", "Its directory must be writable and the name free; `plan DIR` looks."),
    Message("unix-parked", "unix: ghost: Can't rename id {id} ino {inode} addr {name} -> {target}", "What stands at a deleted Unix socket's name can't be put aside.", "Remove NAME.criu-sk-ghost if an earlier restore left it."),
    Message("unix-deleted", "unix: ghost: Can't unlink socket {id} ino {inode} addr {name}", "A deleted Unix socket's name can't be taken away again.", "The directory must be writable."),
    Message("unix-deleted", "unix: ghost: Too long name for socket id {id} ino {inode} name {name}", "A deleted Unix socket's name is too long.", "Make the program use a shorter one."),
    Message("unix-external", "unix: External socket is used. Consider using --ext-unix-sk option.", "A datagram socket is connected to a socket outside the tree.", "Dump and restore with --ext-unix-sk, or dump the peer's process in the same tree."),
    Message("unix-external", "unix: External socket found in image. Consider using the --ext-unix-sk option to allow restoring it.", "The dump holds a peer outside the tree.", "Restore with --ext-unix-sk, and with a live socket at its path."),
    Message("unix-external-stream", "unix: Can't dump half of stream unix connection. name: {name}; peer name: {peer}", "A process outside the tree holds the other end of a stream connection.", "Close that connection before the dump, or dump both ends in one tree."),
    Message("unix-external-stream", "unix: Can't dump half of stream unix connection.", "A process outside the tree holds the other end of a stream connection.", "Close that connection before the dump, or dump both ends in one tree.", until="3.17"),
    Message("unix-external", "unix: Can't dump name-less external socket.", "A socket is connected to one outside the tree that has no name, so nobody could connect to it again.", "Close that connection before the dump, or dump both ends in one tree."),
    Message("unix-external", "unix: Unix socket {inode} without peer {number}", "A socket's peer is outside the tree.", "Close that connection, dump both ends in one tree, or give --ext-unix-sk.", rank=_EFFECT),
    Message("unix-external", "unix: Unix socket {inode} with unreachable peer {number} ({found})", "A socket's peer is in another network namespace or gone.", "Close that connection before the dump."),
    Message("unix-pair", "unix: Dangling connection {inode}", "A connection has no other end that CRIU can find.", "Close it before the dump."),
    Message("unix-pending", "unix: In-flight connection on non-listening socket {inode}", "A connection waits on a socket that no longer listens.", "Close it before the dump."),
    Message("unix-pending-data", "unix: Non-empty write queue on an in-flight socket {id}", "Data was sent over a connection that is not accepted yet.", "Have the program accept it before the dump."),
    Message("unix-pending", "unix: Found a closed in-flight socket to {id}", "A connection that was never accepted is closed already.", "Have the program accept it before the dump."),
    Message("unix-listen", "unix: Bound socket w/o inode {inode}", "A bound Unix socket's file can't be found.", "Dump in the mount namespace in which it was bound."),
    Message("unix-listen", "unix: Can't stat socket {id}({name})", "A bound Unix socket's file can't be looked at.", "Dump in the mount namespace in which it was bound."),
    Message("unix-relative", "unix: Can't resolve name for socket {id}", "A Unix socket's relative name can't be traced to a directory.", "Make the program bind an absolute path."),
    Message("unix-relative", "unix: The path .{name}/{target} is too long", "A Unix socket's relative name and its directory are too long together.", "Make the program bind a shorter path."),
    Message("unix-seqpacket", "unix: Unsupported type ({number}) on socket {inode}.", "A Unix socket is neither stream, datagram nor seqpacket.", "Make the program close it."),
    Message("unix-listen", "unix: Unable to resolve unix socket name with obsolete method. Try a linux kernel newer than 4.10", "The kernel can't tell a Unix socket's file.", "Use Linux 4.10 or newer."),
    Message("unix-listen", "unix: Can't make usk listen", "A Unix socket can't be made to listen.", "See the error before it."),
    Message("unix-external", "unix: FATAL: Peer {number} unresolved for {inode}", "A socket's peer is not in the images.", "Copy the checkpoint again in full, or dump again."),
    Message("unix-rights", "skqueue: Control messages in queue, not supported", "A message that waits in a socket carries something else than descriptors.", "Have the program read its socket before the dump."),
    Message("unix-rights", "skqueue: More than 1 SCM is not possible", "A message that waits in a socket carries several control messages.", "Have the program read its socket before the dump."),
    Message("unix-rights", "skqueue: Unsupported scm {number} in image", "The dump was made by a newer CRIU.", "Restore with that release of CRIU."),
    Message("unix-rights", "unix: Can't find sender for {id}", "Descriptors in flight have no sender in the tree.", "Have the program read its socket before the dump."),
    Message("unix-queue", "skqueue: Failed to send packet", "What waited in a socket can't be put back.", "Raise net.core.wmem_max and net.unix.max_dgram_qlen to what they were."),
    Message("unix-queue", "skqueue: Restored skb trimmed to {found}/{expected}", "A message that waited in a socket can't be put back whole.", "Raise net.core.wmem_max to what it was."),

    # Inet sockets.
    Message("tcp-listen", "inet: Can't bind inet socket (id {number})", "An address of the tree is not on this host.", "Give the container the same address, or restore in a network namespace that has it.", "EADDRNOTAVAIL"),
    Message("tcp-listen", "inet: Can't bind inet socket (id {number})", "The tree has a port below 1024.", "Give CRIU CAP_NET_BIND_SERVICE, or set net.ipv4.ip_unprivileged_port_start.", "EACCES"),
    Message("tcp-listen", "inet: Can't bind inet socket (id {number})", "A network socket can't be bound.", "`ss -lntup` shows who has which port; `plan DIR` names the ports of the dump."),
    Message("tcp-listen", "inet: Can't listen on a socket", "A port of the tree can't be listened on: another socket listens there.", "`ss -lntup` shows who has it; `plan DIR` names the port."),
    Message("udp", "inet: Can't connect inet socket back", "A datagram socket can't be connected to its peer again.", "Give the container the same network, addresses and routes."),
    Message("tcp-listen", "inet: Can't create inet socket", "The kernel refuses a network socket of that family or protocol.", "Give CAP_NET_RAW for raw sockets; the kernel must have the protocol (IPv6?)."),
    Message("raw", "inet: Unsupported proto {number} for socket {hex}", "A network socket has a protocol that CRIU doesn't dump.", "Make the program close it; a Go program: set GODEBUG=multipathtcp=0."),
    Message("raw", 'inet: For Go programs, consider using "GODEBUG=multipathtcp=0" to disable MPTCP', "A network socket uses MPTCP.", "Start the program with GODEBUG=multipathtcp=0.", rank=_EFFECT),
    Message("raw", "inet: Can't dump {number} inet socket {hex}. Only stream, dgram and raw are supported.", "A network socket has a type that CRIU doesn't dump.", "Make the program close it."),
    Message("udp", "inet: Can't dump corked dgram socket {hex}", "A datagram socket holds data back (UDP_CORK, MSG_MORE).", "Have the program send it before the dump."),
    Message("tcp-flag", "inet: Connected TCP socket, consider using --{name} option.", "The tree has an established TCP connection.", "Give --tcp-established (same address at the restore) or --tcp-close, at the dump and at the restore; or close the connection."),
    Message("tcp-flag", "inet: Connected TCP socket in image", "The dump has an established TCP connection.", "Restore with --tcp-established, at the same address, or with --tcp-close."),
    Message("tcp-close", "Need to set the --tcp-close options.", "The dump was made with --tcp-close.", "Restore with --tcp-close."),
    Message("tcp-established", "inet: In-flight connection (l) for {hex}", "A connection waits on a listening port and is not accepted yet.", "Dump with --skip-in-flight, or have the program accept it first."),
    Message("tcp-established", "inet: In-flight connections can be ignored with the --{name} option.", "A connection is not accepted yet.", "Dump with --skip-in-flight.", rank=_EFFECT),
    Message("tcp-established", "inet: Unknown inet socket {hex} state {number}", "A TCP connection is in a state that CRIU doesn't dump.", "Dump again when it has settled; --tcp-close passes over it."),
    Message("tcp-established", "inet: Socket state {found} obtained but expected {expected}", "A TCP connection changed while it was dumped.", "Dump again."),
    Message("network-lock", "tcp: Failed to lock TCP connection {hex}", "The network can't be locked around a TCP connection.", "Install iptables or nftables and choose it with --network-lock; or --network-lock skip.", rank=_EFFECT),
    Message("tcp-established", "tcp: Failed to unlock TCP connection {hex}", "The firewall rules around a TCP connection could not be taken away.", "Remove CRIU's rules by hand: `nft list tables` or `iptables -S`.", rank=_EFFECT),
    Message("tcp-established", "tcp: libsoccr_save() failed with {code}", "A TCP connection's state can't be read.", "Give CAP_NET_ADMIN."),
    Message("tcp-established", "Can't bind inet socket back", "The connection's own address is not on this host, or its port is taken.", "Give the container the same address, or restore with --tcp-close."),
    Message("tcp-established", "Can't connect inet socket back", "A TCP connection can't be put back: its own address or the way to its peer is missing.", "Give the container the same address and routes, or restore with --tcp-close."),
    Message("tcp-established", "Can't restore {name} queue data ({found}), want ({target})", "What waited in a TCP connection can't be put back.", "Raise net.core.wmem_max, rmem_max and tcp_wmem, tcp_rmem to what they were."),
    Message("network-lock", "Locking network failed using nftables", "The network can't be locked.", "Give CAP_NET_ADMIN, or --network-lock iptables or skip."),
    Message("network-lock", "net: Locking network failed using nftables", "The network can't be locked.", "Give CAP_NET_ADMIN, or --network-lock iptables or skip."),
    Message("network-lock", "Locking connection failed using nftables", "The network can't be locked.", "Give CAP_NET_ADMIN, or --network-lock iptables or skip."),
    Message("network-lock", "net: Locking network failed: iptables-restore returned {code}. This may be connected to disabled CONFIG_NETFILTER_XT_MARK kernel build config option.", "The network can't be locked.", "Install iptables, give CAP_NET_ADMIN, or --network-lock nftables or skip."),
    Message("network-lock", "Iptables configuration failed", "The network can't be locked.", "Install iptables and give CAP_NET_ADMIN, or --network-lock nftables or skip."),
    Message("network-lock", "Nftables based locking requires libnftables and set concatenations support", "This CRIU or kernel can't lock the network by nftables.", "Give --network-lock iptables or skip."),
    Message("kernel", "sockets: Diag module missing ({code})", "The kernel can't list sockets of one kind.", "Load unix_diag, tcp_diag, udp_diag, raw_diag, netlink_diag, packet_diag on the host.", rank=_EFFECT),
    Message("kernel", "sockets: Can't get {number}:{found} opt", "The kernel refuses to tell a socket's option; Linux 6.16 refuses CRIU before 4.2 SO_PASSCRED.", "Use CRIU 4.2 or newer.", "EOPNOTSUPP"),
    Message("kernel", "sockets: Can't get {number}:{found} opt", "The kernel refuses to tell a socket's option.", _NEWER),
    Message("rights", "sockets: Can't set {number}:{found} (len {expected})", "The kernel refuses a socket's option.", "Give CAP_NET_ADMIN; " + _NEWER),
    Message("rights", "sockets: Unable to set socket SO_SNDBUFFORCE/SO_RCVBUFFORCE", "The kernel refuses a socket's buffer size.", "Give CAP_NET_ADMIN, or raise net.core.wmem_max and rmem_max."),
    Message("net-namespace", "net: Unable to dump a socket from an external network namespace", "A socket belongs to another network namespace than its process.", "Make the program close it, or give that namespace with --external net[INODE]:KEY."),
    Message("netlink", "netlink: The socket has data to read", "A netlink socket holds messages that nobody has read.", "Have the program read them before the dump."),
    Message("netlink", "netlink: The netlink socket {hex} has more than 32 groups", "A netlink socket listens to groups that CRIU doesn't dump.", "Make the program close it."),
    Message("netlink", "netlink: The netlink socket {hex} is bound to groups but not to portid", "A netlink socket is half bound.", "Make the program close it."),
    Message("netlink", "netlink: Can't bind netlink socket", "A netlink socket's port is taken or not allowed.", "Give CAP_NET_ADMIN; restore in a network namespace of its own."),
    Message("packet", "packet: Can't bind packet socket", "A packet socket's interface is not here.", "Give the container the same network interfaces."),
    Message("packet", "packet: Can't bind packet socket to {name}", "A packet socket's interface is not here.", "Give the container the same network interfaces."),
    Message("packet", "packet: Can't create packet sock", "The kernel refuses a packet socket.", "Give CAP_NET_RAW."),

    # Locks and leases.
    Message("locks-flag", "Some file locks are hold by dumping tasks! You can try --file-locks to dump them.", "A process of the tree holds a file lock.", "Give --file-locks. " + _OPTION),
    Message("locks-flag", "Some file locks are hold by dumping tasks!You can try --file-locks to dump them.", "A process of the tree holds a lease.", "Give --file-locks. " + _OPTION),
    Message("locks", "Unresolved lock found pid {pid} ino {inode}", "A lock belongs to a process that CRIU can't find in the tree.", "Dump in the tree's PID namespace; close what outside the tree shares the open file."),
    Message("locks-foreign", "Can not set flock!", "Another process holds a lock that the tree had.", "`plan DIR` names the file, and the holder if it can: stop that one."),
    Message("locks-foreign", "Can not set posix lock!", "Another process holds a lock that the tree had.", "`plan DIR` names the file, and the holder if it can: stop that one."),
    Message("lease", "Can't set lease", "A lease can't be taken: the file is open elsewhere, or belongs to another user.", "Stop whoever has it open; give CAP_LEASE."),
    Message("lease", "Can't set lease (fd {fd})", "A lease can't be taken: the file is open elsewhere, or belongs to another user.", "Stop whoever has it open; give CAP_LEASE."),

    # Terminals.
    Message("tty-outside", "tty: Found dangling tty with sid {pid} pgid {number} ({name}) on peer fd {fd}.", "The tree has a terminal whose other end or session is outside.", "Start the program under setsid with no terminal (`setsid PROGRAM < /dev/null > LOG 2>&1`), or give --shell-job at the dump and at the restore."),
    Message("tty-outside", "tty: Found slave peer index {number} without correspond master peer", "The tree has a terminal whose master is outside.", "Start the program with no terminal, or give --shell-job or --external tty[...]."),
    Message("shell-job", "tty: Don't have tty to inherit session from, aborting", "The dump was made with --shell-job, and CRIU has no terminal now.", "Restore from a terminal with --shell-job (`script -qc 'criu restore ...' /dev/null` makes one)."),
    Message("shell-job", "tty: Can't get self_stdin_fdid", "The dump was made with --shell-job, and CRIU's standard input is no terminal.", "Restore from a terminal with --shell-job."),
    Message("shell-job", "The root process {pid} is not a session leader. Consider using --shell-job option", "The tree belongs to a session whose leader is outside.", "Start the program under setsid, or give --shell-job at the dump and at the restore."),
    Message("pty", "tty: Unable to open {name} with specified index {number}", "A pseudo terminal's number is taken.", "Restore with a devpts of its own, or close the terminal that has the number."),
    Message("pty", "tty: Can't open {name}", "A terminal's node is not here.", "See that /dev/ptmx and /dev/pts are mounted as where the dump was made."),
    Message("pty", "tty: Can't open slave pty {name}", "A pseudo terminal can't be opened.", "See that /dev/pts is mounted as where the dump was made."),
    Message("pty", "tty: Can't set sid on terminal fd {fd}", "The terminal is another session's already.", "Restore where nobody uses that terminal."),
    Message("pty", "tty: No task found with sid {pid}", "A terminal's session is not in the tree.", "Start the program under setsid with no terminal, or give --shell-job."),

    # Other descriptors.
    Message("io-uring", "Unknown shit {mode} (anon_inode:[io_uring])", "The tree has an io_uring, which CRIU can't dump.", "Start the program under a seccomp filter that answers ENOSYS to io_uring_setup (libuv takes one even with UV_USE_IO_URING=0), as llmux does."),
    Message("unknown-entry", "Unknown shit {mode} ({name})", "The tree has a descriptor of a kind that CRIU can't dump.", "Make the program close it."),
    Message("device", "Can't dump file {fd} of that type [{mode}] ({name} {path})", "The tree has a device open, or another kind of file, that CRIU can't dump and no plugin knows.", "Make the program close it, or give the plugin's directory with --libdir."),
    Message("nvidia", "Can't dump file {fd} of that type [{mode}] (chr 195:{number})", "The tree has one of NVIDIA's devices open. The driver makes a process let go of them before the dump, and CRIU's CUDA plugin dumps none that are left.", "Suspend the tree's CUDA state before (cuda-checkpoint, or CRIU's cuda_plugin by --libdir). What is left then is of a child forked after CUDA was used, or of NVML under a driver older than 570: make it close the device."),
    Message("plugin", "Unable to restore {id}", "No plugin of CRIU's restores a file that one has dumped.", "Give the plugin's directory with --libdir."),
    Message("epoll", "epoll: Escaped/closed fd descriptor {fd} on pid {pid}", "An epoll watches a descriptor that its process has closed and another copy keeps open.", "Make the program remove it from the epoll before it closes it."),
    Message("epoll", "Dump eventpoll (pid: {pid}) failed with {code}", "An epoll can't be dumped: most likely it watches a descriptor that its process has closed while another copy keeps it open.", "Make the program remove a descriptor from the epoll before it closes it."),
    Message("epoll", "epoll: Can't add event on {id}", "An epoll can't watch a descriptor that it had.", "See the error before it."),
    Message("eventfd", "eventfd: Can't create eventfd {id}", "The kernel refuses an eventfd.", "Raise the limit of open files (RLIMIT_NOFILE)."),
    Message("timerfd", "timerfd: Can't create for {id}", "The kernel refuses a timerfd of that clock.", "Give CAP_WAKE_ALARM for alarm clocks."),
    Message("pidfd", "pidfd: pidfd pid {pid} is not a part of process tree..", "A pidfd is of a process outside the tree.", "Make the program close it."),
    Message("pidfd", "pidfd: PIDFD_THREAD flag is currently not supported", "A pidfd is of a thread.", "Make the program close it."),
    Message("pidfd", "pidfd: Could not open pidfd for {pid}", "A pidfd's process is not here.", "See the error before it."),
    Message("bpf-map", "CRIU does not currently support dumping BPF map type {number}!", "A BPF map has a type that CRIU doesn't dump.", "Make the program close it."),
    Message("bpf-map", "Can't create bpfmap {id}", "The kernel refuses a BPF map.", "Give CAP_BPF."),
    Message("tun", "tun: Net namespace is required to dump tun link", "A tun device is in a network namespace that the dump does not own.", "Dump the tree with its own network namespace."),
    Message("tun", "tun: Can't create tun device", "The kernel refuses a tun device.", "Give CAP_NET_ADMIN and /dev/net/tun."),
    Message("tun", "tun: Can't open tun device", "/dev/net/tun is not here.", "Start the container with --device /dev/net/tun."),
    Message("tun", "tun: Unable to create tun", "This container has no /dev/net/tun; only dumps with tun devices need it.", "Nothing, unless the tree has a tun device.", rank=Rank.HARMLESS),
    Message("tun", "tun: Can't check tun support", "This container has no /dev/net/tun; only dumps with tun devices need it.", "Nothing, unless the tree has a tun device.", rank=Rank.HARMLESS),
    Message("tun", "tun: No proper support for tun dump/restore", "The kernel does not support dumping tun devices.", "Nothing, unless the tree has a tun device.", rank=Rank.HARMLESS),
    Message("userfaultfd", "UFFD is not supported", "The kernel has no userfaultfd for CRIU; only --lazy-pages needs it.", "Nothing, unless you use --lazy-pages.", rank=Rank.HARMLESS),
)
# fmt: on
