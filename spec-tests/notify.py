"""Plays a service manager for runtime/notify.test.ts: runs the command in argv with NOTIFY_SOCKET, and prints as JSON its pid, what it sent
(and whether that was while it ran), and its exit status. argv[1] is the socket: a path, or an abstract name that begins with "@"."""
import json, os, select, socket, subprocess, sys, tempfile, time

name, *command = sys.argv[1:]
listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
listener.bind("\0" + name[1:] if name.startswith("@") else name)
# What goes on after the command is not to keep our own streams open.
said = tempfile.TemporaryFile()
child = subprocess.Popen(command, env={**os.environ, "NOTIFY_SOCKET": name}, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
messages = []
deadline = time.monotonic() + 20 * float(os.environ.get("RUNT_SPEC_PATIENCE") or 1)
while time.monotonic() < deadline:
    status = child.poll()
    while select.select([listener], [], [], 0.02)[0]:
        text, control, _, _ = listener.recvmsg(4096, socket.CMSG_SPACE(4))
        for _, _, data in control:
            os.close(int.from_bytes(data[:4], sys.byteorder))
        messages.append([text.decode(), status is None])
    if status is not None:
        break
else:
    child.kill()
    raise SystemExit(f"no end; messages: {messages}")
said.seek(0)
print(json.dumps({"said": said.read().decode(), "pid": child.pid, "messages": messages, "status": status}))
