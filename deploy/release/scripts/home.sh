if [ ! -e /var/lib/raas ]; then
    install -d -m 0700 -o raas -g raas /var/lib/raas
elif [ "$(stat -c %U /var/lib/raas/)" != raas ]; then
    # The home of an earlier installation, whose user is gone.
    chown -R -h raas:raas /var/lib/raas/
fi
