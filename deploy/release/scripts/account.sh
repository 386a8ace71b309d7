# The user that the units run as, and the home, which is for this user alone.
if ! getent group raas >/dev/null; then
    groupadd --system raas
fi
if ! getent passwd raas >/dev/null; then
    useradd --system --gid raas --home-dir /var/lib/raas --no-create-home --shell /usr/sbin/nologin \
        --comment "Container registries" raas
fi
