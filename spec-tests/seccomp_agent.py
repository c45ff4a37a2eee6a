"""A seccomp agent, for seccomp-agent.ts: listens on the socket argv[1], prints a line of JSON for each connection and each notification.

argv[2]: JSON, by number of a system call the errno that it fails with. Others go on in the kernel.
"""
import array, fcntl, json, os, select, socket, struct, sys

RECV, SEND = 0xC0502100, 0xC0182101  # SECCOMP_IOCTL_NOTIF_RECV and _SEND, linux/seccomp.h
CONTINUE = 1

path, failing = sys.argv[1], {int(number): errno for number, errno in json.loads(sys.argv[2]).items()}
server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
os.chdir(os.path.dirname(path))
server.bind(os.path.basename(path))
server.listen(8)


def say(**words):
    print(json.dumps(words), flush=True)


# By descriptor; runtimes are to close theirs, and some do at their end only.
connections = {}


def greet():
    connection, _ = server.accept()
    connection.settimeout(10)
    text, control, _, _ = connection.recvmsg(1 << 16, socket.CMSG_SPACE(16))
    fds = array.array("i", control[0][2]) if control else []
    links = [os.readlink(f"/proc/self/fd/{fd}") for fd in fds]
    state = None
    while state is None:
        try:
            state = json.loads(text)
        except ValueError:
            # It may come in parts.
            part = connection.recv(1 << 16)
            if not part:
                raise SystemExit(f"half a state: {text}")
            text += part
    connections[connection.fileno()] = connection
    poller.register(connection, select.POLLIN)
    say(state=state, links=links, connection=connection.fileno())
    for fd in fds:
        poller.register(fd, select.POLLIN)


def hear(connection):
    if connection.recv(1 << 16):
        raise SystemExit("something came behind the state")
    poller.unregister(connection)
    del connections[connection.fileno()]
    say(closed=connection.fileno())
    connection.close()


def answer(fd):
    notification = bytearray(80)
    try:
        fcntl.ioctl(fd, RECV, notification)
    except OSError:
        return
    (number,) = struct.unpack_from("i", notification, 16)
    ident, pid = struct.unpack_from("QI", notification)
    say(call=number, pid=pid)
    error = failing.get(number)
    response = struct.pack("QqiI", ident, 0, -error, 0) if error else struct.pack("QqiI", ident, 0, 0, CONTINUE)
    try:
        fcntl.ioctl(fd, SEND, bytearray(response))
    except OSError:
        pass


poller = select.poll()
poller.register(server, select.POLLIN)
say(ready=True)
while True:
    for fd, events in poller.poll():
        if fd == server.fileno():
            greet()
        elif fd in connections:
            hear(connections[fd])
        elif events & select.POLLIN:
            answer(fd)
        else:
            poller.unregister(fd)
            os.close(fd)
