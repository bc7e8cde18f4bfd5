# SPDX-License-Identifier: Apache-2.0
"""interrupt.py cat|stat|python FILE: starts it, sends SIGINT, tells how long
it lived on. FILE must take more than half a second to answer."""
import signal
import subprocess
import sys
import time

how, path = sys.argv[1:]
cmd = {
    "cat": ["cat", path],
    "stat": ["stat", "-c", "%s", path],
    "python": [sys.executable, "-c", "import sys; print('up', flush=True); "
               "open(sys.argv[1]).read()", path],
}[how]
child = subprocess.Popen(
    cmd, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    # What runs in the background of a shell begins with it ignored.
    preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
# An interpreter that is starting swallows a signal now and then.
if how == "python":
    child.stdout.readline()
try:
    child.wait(0.5)
    print("too fast: ended with", child.returncode)
    sys.exit()
except subprocess.TimeoutExpired:
    pass
start = time.monotonic()
child.send_signal(signal.SIGINT)
try:
    child.wait(20)
    took = time.monotonic() - start
    print("interrupted" if took < 1 else "too slow", f"after {took:.3f} s")
except subprocess.TimeoutExpired:
    child.kill()
    print("not at all")
