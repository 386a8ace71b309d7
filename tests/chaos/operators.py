"""Many operators who publish to one bucket at once."""

import concurrent.futures
import random
import shutil
import time

from chaos.trial import Trial
from chaos.world import IMAGE, VENDOR, Violated, end_session
from harness.archives import docker_save, sha256, tar_of


def operators(place, noise):
    """Eight homes publish to one bucket at once, some are killed, and gc runs beside them."""
    if not place.service:
        return
    round_number = 0
    while True:
        round_number += 1
        seed = noise.getrandbits(32)
        yield Trial(
            f"operators-{round_number}-{seed}",
            "rounds",
            place.mode,
            lambda place, seed=seed: operate(place, seed),
        )


def operate(place, seed, homes=8):
    place.restore()
    noise = random.Random(seed)
    folder = place.work / "operators"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    killed = set(noise.sample(range(homes), 2))
    pushes = []
    for number in range(homes):
        layer = tar_of({"data": noise.randbytes(20_000)})
        archive = folder / f"{number}.tar"
        docker_save(archive, f"app{number}:latest", layer, sha256(layer))
        pushes.append(["push", VENDOR, f"app{number}", "--from", archive])
    delays = [noise.random() for _ in range(homes)]

    def operator(number):
        home = folder / f"home{number}"
        if number in killed:
            process = place.start(*pushes[number], home=home)
            time.sleep(delays[number])
            process.child.kill()
            place.ended(process)
            end_session(process.pid)
        # A home that has died is told so by its next run at once; the others wait for a minute at most.
        place.must(*pushes[number], home=home, limit=300)
        place.must(*pushes[number], home=home, limit=300)

    def collector():
        place.must("gc", VENDOR, "--yes", limit=300)

    with concurrent.futures.ThreadPoolExecutor(homes + 1) as pool:
        running = [pool.submit(operator, number) for number in range(homes)] + [pool.submit(collector)]
        for one in running:
            one.result()
    published = place.published()
    missing = {f"app{number}" for number in range(homes)} - set(published)
    if missing or published.get(IMAGE, {}).get("latest") != place.old:
        raise Violated(
            f"of eight operators' images, {sorted(missing)} are missing; {IMAGE} is {published.get(IMAGE)}"
        )
    place.must_leave_nothing(killed_probes=True)
