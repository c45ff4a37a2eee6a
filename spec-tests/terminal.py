"""Plays the part of a user at a terminal, for terminal.ts: reads a play as JSON from stdin, prints what happened as JSON.

A play has a place, and steps. Places: "terminal" (the command runs on a terminal of its own, whose master the steps act on),
"socket" (the command gets the path of a console socket; the steps act on the terminal that arrives there).
"""
import array, fcntl, json, os, re, select, signal, socket, struct, subprocess, sys, termios, time

# Seconds for a step; slow guests have more, see host.ts.
PATIENCE = 10 * float(os.environ.get("RUNT_SPEC_PATIENCE") or 1)


class Stage:
    def __init__(self, play):
        # Grows in place: copying megabytes for each piece takes minutes in a guest.
        self.output = bytearray()
        self.read_to = 0
        self.result = {"statuses": []}
        self.child = None
        self.connection = None
        getattr(self, play["place"])(play)

    def terminal(self, play):
        self.master, self.slave = os.openpty()
        self.resize(*play.get("size", (24, 80)))
        self.before = termios.tcgetattr(self.slave)
        streams = [self.slave] * 3
        if play.get("stdin") == "null":
            streams[0] = os.open("/dev/null", os.O_RDONLY)
        if play.get("stdout") == "pipe":
            self.pipe, streams[1] = os.pipe()

        def lead():
            os.setsid()
            fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)

        self.child = subprocess.Popen(
            play["command"], stdin=streams[0], stdout=streams[1], stderr=streams[2], preexec_fn=lead
        )
        if play.get("stdout") == "pipe":
            os.close(streams[1])

    def socket(self, play):
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        folder, name = os.path.split(play["path"])
        os.chdir(folder)
        listener.bind(name)
        listener.listen(1)
        self.child = subprocess.Popen(play["command"])
        listener.settimeout(PATIENCE)
        self.connection, _ = listener.accept()
        self.connection.settimeout(PATIENCE)
        text, control, _, _ = self.connection.recvmsg(4096, socket.CMSG_SPACE(4))
        self.result["text"] = text.decode()
        self.result["descriptors"] = len(control)
        if control:
            self.master = array.array("i", control[0][2])[0]
        self.result["statuses"].append(self.child.wait(PATIENCE))

    def read(self, deadline):
        """One piece of output; False at its end."""
        if not select.select([self.master], [], [], max(0, deadline - time.monotonic()))[0]:
            raise TimeoutError
        try:
            piece = os.read(self.master, 65536)
        except OSError:
            return False
        self.output += piece
        return piece != b""

    def expect(self, pattern):
        deadline = time.monotonic() + PATIENCE
        while True:
            match = re.compile(pattern.encode(), re.S).search(self.output, self.read_to)
            if match:
                self.read_to = match.end()
                return
            try:
                more = self.read(deadline)
            except TimeoutError:
                more = False
            if not more:
                raise SystemExit(f"no {pattern!r} in {self.output!r}")

    def send(self, text):
        os.write(self.master, text.encode())

    def flood(self, count):
        """Writes as fast as it is taken, and reads meanwhile."""
        os.set_blocking(self.master, False)
        while count > 0:
            readable, writable, _ = select.select([self.master], [self.master], [], PATIENCE)
            if readable:
                self.output += os.read(self.master, 65536)
            if writable:
                count -= os.write(self.master, b"y" * min(count, 1024))
        os.set_blocking(self.master, True)

    def stuff(self, count):
        """Writes until nothing more is taken for a while, and reads nothing."""
        os.set_blocking(self.master, False)
        while count > 0 and select.select([], [self.master], [], 0.3)[1]:
            try:
                count -= os.write(self.master, b"y" * min(count, 1024))
            except BlockingIOError:
                break
        os.set_blocking(self.master, True)

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def run(self, *command):
        self.result["statuses"].append(subprocess.run(command, timeout=PATIENCE).returncode)

    def play(self, text):
        """Another play, with a terminal of its own."""
        self.result.setdefault("scenes", []).append(perform(json.loads(text)))

    def pidfd(self):
        """The process that the descriptor stands for."""
        with open(f"/proc/self/fdinfo/{self.master}") as info:
            self.result["pid"] = int(re.search(r"^Pid:\s*(-?\d+)$", info.read(), re.M)[1])

    def kill(self, name):
        self.child.send_signal(getattr(signal, name))

    def raw(self):
        """Waits until the command has made the terminal raw."""
        deadline = time.monotonic() + PATIENCE
        while termios.tcgetattr(self.slave)[3] & termios.ICANON:
            if time.monotonic() > deadline:
                raise SystemExit("the terminal is not raw")
            time.sleep(0.005)

    def cooked(self):
        """Waits until the terminal is as it was."""
        deadline = time.monotonic() + PATIENCE
        while termios.tcgetattr(self.slave) != self.before:
            if time.monotonic() > deadline:
                raise SystemExit("the terminal is still raw")
            time.sleep(0.005)

    def hang_up(self):
        os.close(self.master)

    def drain(self):
        """All that comes until every process has closed the terminal."""
        deadline = time.monotonic() + PATIENCE
        while self.read(deadline):
            pass

    def end(self):
        """Reads until the command ends, and says how."""
        deadline = time.monotonic() + PATIENCE
        while self.child.poll() is None:
            try:
                self.read(time.monotonic() + 0.02)
            except TimeoutError:
                if time.monotonic() > deadline:
                    raise SystemExit(f"no end; output so far: {self.output[-2000:]!r}")
        os.set_blocking(self.master, False)
        try:
            while self.read(time.monotonic() + 0.1):
                pass
        except TimeoutError:
            pass
        self.result["statuses"].append(self.child.returncode)
        self.result["restored"] = termios.tcgetattr(self.slave) == self.before

    def slurp(self):
        """Reads what the command writes to its pipe."""
        while piece := os.read(self.pipe, 65536):
            self.output += piece
        self.result["statuses"].append(self.child.wait(PATIENCE))
        self.result["restored"] = termios.tcgetattr(self.slave) == self.before


def perform(play):
    stage = Stage(play)
    try:
        for name, *arguments in play["steps"]:
            getattr(stage, name)(*arguments)
    finally:
        if stage.child.poll() is None:
            stage.child.kill()
    return {**stage.result, "output": stage.output.decode("utf-8", "replace")}


print(json.dumps(perform(json.load(sys.stdin))))
