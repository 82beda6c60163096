"""HyperQueue's server and a worker of two cores: `run_hyperqueue.py DIR TASKS`.

Its server listens on all addresses, so this is to be run where the network has nothing but a
loopback: under `unshare --user --map-root-user --net --uts`. Says in a line of JSON when it is
ready, with the threads that are the server; runs TASKS processes of `true` when it is given a line,
and says how long that took. Then it waits to be ended.
"""

import fcntl
import json
import os
import signal
import socket
import struct
import sys
import time

# Whatever becomes of the benchmark, this ends.
signal.alarm(900)

SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
WARM_UP = 200


def loopback_up():
    """A new network has a loopback that is down, and knows no name but that."""
    socket.sethostname("localhost")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(any_socket, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


def threads():
    return {int(name) for name in os.listdir("/proc/self/task")}


def say(**news):
    print(json.dumps(news), flush=True)


class Seen(Exception):
    """How far a job is."""


def see(jobs):
    raise Seen(jobs)


def run(client, tasks):
    """Seconds from the submission of so many processes to the end of the last, and how many did."""
    job = Job(default_workdir=sys.argv[1])
    for _ in range(tasks):
        # The cheapest that it has: no file for the output of a task.
        job.program(["true"], stdout=None, stderr=None)
    start = time.perf_counter()
    job = client.submit(job)
    while True:
        # Left to itself it looks once a second, which is too coarse for a measurement.
        time.sleep(0.05)
        try:
            client.connection.wait_for_jobs([job.id], see)
        except Seen as seen:
            state = seen.args[0][job.id]
            if state["completed"]:
                return time.perf_counter() - start, state["finished"]


loopback_up()
from hyperqueue import Job, LocalCluster  # noqa: E402
from hyperqueue.cluster import WorkerConfig  # noqa: E402

before = threads()
cluster = LocalCluster(os.path.join(sys.argv[1], "server"))
server_threads = threads() - before
cluster.start_worker(WorkerConfig(cores=2))
client = cluster.client()
run(client, WARM_UP)
say(ready=True, server_threads=sorted(server_threads))
sys.stdin.readline()
secs, done = run(client, int(sys.argv[2]))
say(done=done, secs=secs)
signal.pause()
