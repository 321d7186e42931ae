"""A connector in a network of its own, and a client in another, with three ports forwarded.

As a container whose ports are published on the loopback interface of its host. Run it with
``unshare --net``: ``python -m tests.device.forwarded CONFIG PORT EVENT_PORT``. It prints the values
that come as events.
"""

import contextlib
import ctypes
import os
import selectors
import socket
import subprocess
import sys
import threading
import time

import tango

CLONE_NEWNET = 0x40000000
DEVICE = "test-sdp/queueconnector/01"

SERVER = """
ip link set lo up
ip link add eth0 type veth peer name eth1
ip link set eth1 up
ip address add 172.30.0.2/24 dev eth0
ip link set eth0 up
exec "$@"
"""


def serve(config, port, event_port):
    command = ["unshare", "--net", "sh", "-c", SERVER, "sh"]
    command += [sys.executable, "-m", "queue_connector", "serve", config, "--host", "0.0.0.0"]
    command += ["--port", str(port), "--event-port", str(event_port), "--publish", "127.0.0.1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    print(process.stdout.readline(), end="", flush=True)
    return process


def forward(pid, ports):
    """What connects to a port here reaches that port there."""
    listening = {socket.create_server(("127.0.0.1", port)): port for port in ports}

    def enter_and_accept():
        libc = ctypes.CDLL(None, use_errno=True)
        with open(f"/proc/{pid}/ns/net") as network:
            assert libc.setns(network.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        waiting = selectors.DefaultSelector()
        for server in listening:
            waiting.register(server, selectors.EVENT_READ)
        while True:
            for key, _ in waiting.select():
                here, _ = key.fileobj.accept()
                there = socket.create_connection(("172.30.0.2", listening[key.fileobj]))
                for one, other in ((here, there), (there, here)):
                    threading.Thread(target=copy, args=(one, other), daemon=True).start()

    threading.Thread(target=enter_and_accept, daemon=True).start()


def copy(one, other):
    with contextlib.suppress(OSError):
        while data := one.recv(65536):
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)


def main(config, port, event_port):
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    server = serve(config, port, event_port)
    try:
        forward(server.pid, [port, event_port, event_port + 1])
        proxy = tango.DeviceProxy(f"tango://127.0.0.1:{port}/{DEVICE}#dbase=no")
        values = []
        proxy.subscribe_event(
            "value", tango.EventType.CHANGE_EVENT, lambda event: values.append(event)
        )
        end = time.monotonic() + 20
        while len(values) < 5 and time.monotonic() < end:
            time.sleep(0.01)
        print([event.attr_value.value for event in values if not event.err], flush=True)
        print([event.errors[0].desc for event in values if event.err], flush=True)
    finally:
        server.terminate()
        server.wait(20)
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
