"""A program that is connected to two datagram sockets of somebody else, and sends a line to each when it is told to."""

import signal
import socket
import sys

NAMES = ("/srv/peer/log", "\0peer")


def connected(name):
    sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sender.connect(name)
    return sender


signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
senders = [connected(name) for name in NAMES]
sys.stdout.write("connected\n")
sys.stdout.flush()
number = 0
while signal.sigwait({signal.SIGUSR1}):
    number += 1
    for sender in senders:
        try:
            sender.send(b"line %d" % number)
            sys.stdout.write(f"sent {number}\n")
        except OSError as error:
            sys.stdout.write(f"{type(error).__name__}\n")
        sys.stdout.flush()
