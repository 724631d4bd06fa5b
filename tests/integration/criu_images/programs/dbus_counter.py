"""A client of a bus that owns a name there and answers each call with the count of them."""

from __future__ import annotations

import sys
from itertools import count

from jeepney import MessageType, new_method_return
from jeepney.bus_messages import message_bus
from jeepney.io.blocking import open_dbus_connection

calls = count(1)
with open_dbus_connection(bus=sys.argv[1]) as bus:
    bus.send_and_get_reply(message_bus.RequestName("org.example.Counter"))
    while True:
        message = bus.receive()
        if message.header.message_type == MessageType.method_call:
            bus.send(new_method_return(message, "u", (next(calls),)))
