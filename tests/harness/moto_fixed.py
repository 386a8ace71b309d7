"""moto's server with two repairs, for pushes at the same time. Run as a program.

- moto says that every upload began in 2010. raas removes uploads that began more than two days ago, so each
  push would end the uploads of all others.
- moto answers status 500 to requests for one key at the same time: its objects are not safe for threads.

usage: moto_fixed.py -H HOST -p PORT    as moto_server
"""

import datetime
import threading

from moto import server
from moto.s3 import responses


def repair():
    result, dispatch = responses.ActionResult, server.DomainDispatcherApplication.__call__
    one_at_a_time = threading.Lock()

    def with_dates(content):
        # An error is content as well, and no dictionary.
        for upload in content.get("Uploads", []) if isinstance(content, dict) else []:
            upload["Initiated"] = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        return result(content)

    def locked(self, environ, start_response):
        with one_at_a_time:
            return dispatch(self, environ, start_response)

    responses.ActionResult = with_dates
    server.DomainDispatcherApplication.__call__ = locked


if __name__ == "__main__":
    repair()
    server.main()
