"""opencode's terminal client, as it is on npm, in a terminal of its own: types, waits, and says what it saw.

tui.py PROGRAM [ARGUMENT...] with a script on standard input, a line each:
  wait TEXT    until TEXT is on the screen (30 seconds)
  type TEXT    types it, and enter after a moment
  key HEX      types these bytes
Ends with 0 once all of it has happened; else with 1 and what was on the screen.
"""

import os
import pty
import re
import select
import sys
import time
import fcntl
import struct
import termios

ANSI = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[PX^_].*?\x1b\\|\x1b[@-Z\\-_]", re.S)
WAIT = 30


class Screen:
    """What a program writes, and the answers a terminal gives it."""

    def __init__(self, argv):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvp(argv[0], argv)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self.raw = b""

    def read(self, seconds):
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if not select.select([self.fd], [], [], left)[0]:
                return True
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                return False
            if not data:
                return False
            self.answer(data)
            self.raw += data
        return True

    def answer(self, data):
        # Where the cursor is, and what kind of terminal this is: programs wait for it.
        if b"\x1b[6n" in data:
            os.write(self.fd, b"\x1b[1;1R")
        if b"\x1b[c" in data or b"\x1b[0c" in data:
            os.write(self.fd, b"\x1b[?62;c")

    def text(self):
        # A program that draws moves about: what it wrote in a row is text, what it skipped is not.
        return ANSI.sub(b"\x00", self.raw).decode("utf-8", "replace")

    def shows(self, wanted):
        squeezed = re.sub(r"[\s\x00]+", "", self.text())
        return re.sub(r"\s+", "", wanted) in squeezed

    def wait(self, wanted):
        end = time.monotonic() + WAIT
        while not self.shows(wanted):
            if time.monotonic() > end or not self.read(0.2):
                self.fail(f"never saw {wanted!r}")

    def fail(self, why):
        print(why, file=sys.stderr)
        print(self.text()[-6000:].replace("\x00", ""), file=sys.stderr)
        os.kill(self.pid, 9)
        sys.exit(1)


def main():
    screen = Screen(sys.argv[1:])
    for line in sys.stdin.read().splitlines():
        what, _, rest = line.partition(" ")
        if what == "wait":
            screen.wait(rest)
            # What was seen is not seen again.
            screen.raw = b""
        elif what == "type":
            for letter in rest:
                os.write(screen.fd, letter.encode())
                screen.read(0.02)
            screen.read(0.5)
            os.write(screen.fd, b"\r")
        elif what == "key":
            os.write(screen.fd, bytes.fromhex(rest))
            screen.read(0.5)
    os.kill(screen.pid, 15)
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if os.waitpid(screen.pid, os.WNOHANG)[0]:
            return
        screen.read(0.1)
    os.kill(screen.pid, 9)


main()
