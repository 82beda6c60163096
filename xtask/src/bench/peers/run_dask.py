"""A part of a Dask cluster on the loopback, in one process each.

`run_dask.py scheduler`, `run_dask.py worker ADDRESS DIR` with two threads and no nanny, and
`run_dask.py client ADDRESS TASKS`. Each says in a line of JSON when it is ready; the client has a
function that does nothing called TASKS times when it is given a line, and says how long that took.
Then they wait to be ended. All settings are Dask's own.
"""

import asyncio
import json
import signal
import sys
import time

# Whatever becomes of the benchmark, this ends.
signal.alarm(900)

WARM_UP = 200
LOOPBACK = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}


def say(**news):
    print(json.dumps(news), flush=True)


async def scheduler():
    from distributed import Scheduler

    async with Scheduler(port=0, **LOOPBACK) as running:
        say(address=running.address)
        await running.finished()


async def worker(address, folder):
    from distributed import Worker

    async with Worker(address, nthreads=2, local_directory=folder, **LOOPBACK) as running:
        say(address=running.address)
        await running.finished()


def nothing(_):
    return None


def run(client, tasks):
    from distributed import wait

    start = time.perf_counter()
    futures = client.map(nothing, range(tasks), pure=False)
    wait(futures)
    secs = time.perf_counter() - start
    return secs, sum(future.status == "finished" for future in futures)


def client(address, tasks):
    from distributed import Client

    with Client(address) as connected:
        run(connected, WARM_UP)
        say(ready=True)
        sys.stdin.readline()
        secs, done = run(connected, tasks)
        say(done=done, secs=secs)
        signal.pause()


match sys.argv[1:]:
    case ["scheduler"]:
        asyncio.run(scheduler())
    case ["worker", to, folder]:
        asyncio.run(worker(to, folder))
    case ["client", to, count]:
        client(to, int(count))
    case _:
        sys.exit(__doc__)
