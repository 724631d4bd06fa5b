"""Celery's tasks: each worker process counts its own."""

from __future__ import annotations

import os
import sys

from celery import Celery

BROKER = "redis+socket:///srv/celery/socket"
app = Celery("tasks", broker=BROKER, backend=BROKER)
done: list[int] = []


@app.task
def add(one: int, other: int) -> tuple[int, int]:
    done.append(one + other)
    return one + other, os.getppid()


if __name__ == "__main__":
    numbers = [int(text) for text in sys.argv[1:]]
    total, parent = add.delay(*numbers).get(timeout=60)
    sys.stdout.write(f"{total} {parent}\n")
