if [ -d /run/systemd/system ]; then
    systemctl stop raas-serve.socket raas-serve.service 'raas@*.service' raas-sync.timer raas-sync.service || true
fi
if command -v systemctl >/dev/null; then
    # The template stands for all its vendors.
    systemctl --no-reload disable raas-serve.socket raas-serve.service raas@.service raas-sync.timer || true
fi
