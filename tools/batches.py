"""What lies between samples and a training step: batches of samples of like length, drawn ahead in a thread."""

import queue
import threading


def grouped(samples, limit, rng):
    """Groups of samples of like length, in random order; a group, padding included, holds at most `limit` tokens. A sample starts with its ids."""
    samples.sort(key=lambda sample: len(sample[0]))
    groups, group = [], []
    for sample in samples:
        if group and (len(group) + 1) * len(sample[0]) > limit:
            groups.append(group)
            group = []
        group.append(sample)
    if len(group) * len(group[-1][0]) > limit // 2:  # the rest of a pool is often too small to be a step
        groups.append(group)
    rng.shuffle(groups)
    return groups


def prefetch(iterator, depth=24):
    box = queue.Queue(depth)

    def fill():
        for item in iterator:
            box.put(item)

    threading.Thread(target=fill, daemon=True).start()
    while True:
        yield box.get()
