"""Pulling with every client, and comparing with what the source has."""


def compare(what, found, expected):
    if found != expected:
        raise SystemExit(f"{what}: pulled {found}, the source has {expected}")


def pull_everywhere(clients, skopeo, host, name, tags):
    """Pulls every tag and platform with every client; how many pulls that were."""
    pulls = 0
    for tag, platforms in tags.items():
        reference = f"{host}/{name}:{tag}"
        compare(f"skopeo {reference}", skopeo.pull_all(reference), platforms)
        for platform, layers in platforms.items():
            for client in clients:
                compare(f"{client.name} {reference} {platform}", client.pull(reference, platform), layers)
                pulls += 1
        pulls += 1
    return pulls
