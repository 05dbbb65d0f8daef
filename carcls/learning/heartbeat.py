"""Machines that train together tell each other that they are there: one cut off cannot say goodbye."""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

from torch.distributed import TCPStore

PAUSE = 2  # seconds between two beats
SILENCE = 30  # seconds without one, after which a machine is given up
LEFT = "left"  # what a machine says last


@contextmanager
def heartbeat() -> Iterator[None]:
    """Inside, this machine is heard by the others of a torchrun, and ends when it hears one no longer.

    Its own process would otherwise wait for that machine's share of a sum for half an hour. Of the processes
    of a machine one watches; where it ends, torchrun ends the others.
    """
    if os.environ["GROUP_WORLD_SIZE"] == "1" or os.environ["LOCAL_RANK"] != "0":
        yield  # torchrun itself watches the processes of its machine
        return
    machine, machines = int(os.environ["GROUP_RANK"]), int(os.environ["GROUP_WORLD_SIZE"])
    heard = dict.fromkeys(set(range(machines)) - {machine}, time.monotonic())
    over = threading.Event()
    # two threads: an answer of a store that is cut off is waited for without end
    beat = threading.Thread(target=_beat, args=(machine, heard, over), daemon=True)
    beat.start()
    threading.Thread(target=_end_in_silence, args=(heard, over), daemon=True).start()
    try:
        yield
    finally:
        over.set()
        beat.join(PAUSE)


def _beat(machine: int, heard: dict[int, float], over: threading.Event) -> None:
    """Count in torchrun's store, which the first machine holds; note in `heard` when others count on."""
    counts = dict.fromkeys(heard, "")
    beats = 0
    with suppress(RuntimeError):  # of a store that is there no longer
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = TCPStore(address, port, is_master=False, timeout=timedelta(seconds=SILENCE))
        while not over.wait(PAUSE):
            beats += 1
            store.set(f"carcls/{machine}", str(beats))
            for other in heard:
                key = f"carcls/{other}"
                count = store.get(key).decode() if store.check([key]) else ""
                if count != counts[other] or count == LEFT:
                    counts[other], heard[other] = count, time.monotonic()
        store.set(f"carcls/{machine}", LEFT)


def _end_in_silence(heard: dict[int, float], over: threading.Event) -> None:
    while not over.wait(PAUSE):
        silent = [other for other, at in heard.items() if time.monotonic() - at > SILENCE]
        if silent:
            print(
                f"error: Nothing was heard for {SILENCE} seconds of the machine with "
                f"--node-rank={min(silent)}: see to it and the network, then start the same command on every "
                "machine again; it goes on after the last finished epoch.",
                file=sys.stderr,
                flush=True,
            )
            os._exit(1)
