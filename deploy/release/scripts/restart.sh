# Servers that run go on with the new program. Each of them ends its requests in flight first, and with raas-serve.socket
# new clients wait meanwhile. A server that fails to start is shown here, and does not make the installation fail.
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || true
    systemctl try-restart raas-serve.service 'raas@*.service' || true
fi
