"""nginx as a reverse proxy, and squid as a forward proxy."""

import contextlib
import dataclasses
import pathlib

from harness.process import free_port, listens, running


@contextlib.contextmanager
def nginx_before(address, folder):
    """nginx that passes everything on to a server; yields its own address."""
    port, config = free_port(), folder / "nginx.conf"
    config.write_text(f"""
daemon off; pid {folder}/nginx.pid; error_log stderr; worker_processes 1;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://{address};
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    }}
  }}
}}
""")
    command = ["nginx", "-e", "stderr", "-c", config]
    with running(command, folder / "nginx.log", ready=lambda: listens(port)):
        yield f"127.0.0.1:{port}"


@dataclasses.dataclass
class Squid:
    """A running forward proxy."""

    url: str
    log: pathlib.Path

    def requests(self):
        """The method and the address of each request that it passed on."""
        lines = [line.split() for line in self.log.read_text().splitlines()] if self.log.exists() else []
        # A connection without a request, as `listens` makes, has a line of its own.
        return [(words[5], words[6]) for words in lines if words[5] != "-"]


# A name that squid alone knows: it leads to this machine.
INNER_NAME = "registry.example.com"


@contextlib.contextmanager
def squid_proxy(folder):
    """squid without a cache. It gives up root, so its user needs the way to its folder."""
    folder.mkdir()
    folder.chmod(0o777)
    folder.parent.chmod(0o755)
    port, config = free_port(), folder / "squid.conf"
    (folder / "hosts").write_text(f"127.0.0.1 {INNER_NAME}\n")
    config.write_text(f"""
http_port 127.0.0.1:{port}
http_access allow localhost
http_access deny all
cache deny all
hosts_file {folder}/hosts
access_log stdio:{folder}/access.log
cache_log {folder}/cache.log
buffered_logs off
pid_filename none
netdb_filename none
pinger_enable off
shutdown_lifetime 0 seconds
visible_hostname squid.example.com
""")
    with running(["squid", "-N", "-f", config], folder / "squid.log", ready=lambda: listens(port)):
        yield Squid(f"http://127.0.0.1:{port}", folder / "access.log")
