"""A small S3 service in this process. Its content can be kept and put back, and a hook sees each request.

It has the operations that raas uses, verifies no signatures, and heeds conditions of writes or ignores them.
"""

import base64
import contextlib
import dataclasses
import email.utils
import hashlib
import html
import re
import threading
import time
import urllib.parse

from harness.web import Quiet, WebServer

BUCKET = "images"
SETTINGS = {"policy", "lifecycle", "encryption", "publicAccessBlock", "acl"}


@dataclasses.dataclass
class Answer:
    """An answer, before it is sent."""

    status: int
    body: bytes = b""
    headers: dict = dataclasses.field(default_factory=dict)


class Cut(Exception):
    """Ends the connection without an answer."""


def refusal(status, code):
    """The answer of a service that refuses."""
    return Answer(status, f"<Error><Code>{code}</Code><Message>on purpose</Message></Error>".encode())


def xml(root, content):
    """An answer in XML."""
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<{root} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    return Answer(200, f"{text}{content}</{root}>".encode(), {"Content-Type": "application/xml"})


def etag_of(content):
    return f'"{hashlib.md5(content).hexdigest()}"'


def text_of(name, source):
    """The text of an XML element."""
    found = re.search(rf"<{name}>([^<]*)</{name}>", source)
    return html.unescape(found.group(1)) if found else None


def iso(at):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at * 1000) % 1000:03d}Z"


@dataclasses.dataclass
class Content:
    """What the service holds: objects with their times, unfinished uploads, settings."""

    objects: dict = dataclasses.field(default_factory=dict)
    uploads: dict = dataclasses.field(default_factory=dict)
    settings: dict = dataclasses.field(default_factory=dict)

    def copy(self):
        uploads = {name: (key, begun, dict(parts)) for name, (key, begun, parts) in self.uploads.items()}
        return Content(dict(self.objects), uploads, dict(self.settings))


@dataclasses.dataclass
class Request:
    """A request: `operation` is S3's name of it."""

    method: str
    key: str
    query: dict
    headers: dict
    body: bytes = b""

    @property
    def operation(self):
        on_object, has = bool(self.key), self.query.keys()
        copies = "x-amz-copy-source" in self.headers
        setting = SETTINGS & has
        if setting and not on_object:
            return f"{self.method.title()}Bucket:{setting.pop()}"
        names = {
            "GET": "GetObject"
            if on_object
            else "ListMultipartUploads"
            if "uploads" in has
            else "ListObjectsV2",
            "HEAD": "HeadObject" if on_object else "HeadBucket",
            "DELETE": "DeleteObject",
            "POST": "CreateMultipartUpload" if "uploads" in has else "CompleteMultipartUpload",
            "PUT": "CopyObject" if copies else "PutObject" if on_object else "CreateBucket",
        }
        if "uploadId" in has and self.method != "POST":
            names |= {"GET": "ListParts", "DELETE": "AbortMultipartUpload"}
            names["PUT"] = "UploadPartCopy" if copies else "UploadPart"
        return names[self.method]


class MemoryS3(WebServer):
    """The service, with one bucket. `hook(request, number, act)` may answer in place of `act()`."""

    def __init__(self, heeds_conditions=True):
        self.content, self.heeds_conditions = Content(), heeds_conditions
        self.lock, self.number, self.hook = threading.Lock(), 0, None
        service = self

        class Handler(Quiet):
            protocol_version = "HTTP/1.1"
            # A client that is killed leaves half a request.
            timeout = 60

            def handle(self):
                with contextlib.suppress(OSError):
                    super().handle()

            def any(self):
                parts = urllib.parse.urlsplit(self.path)
                _, _, key = urllib.parse.unquote(parts.path.lstrip("/")).partition("/")
                query = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = self.rfile.read(int(headers.get("content-length", 0)))
                try:
                    answer = service.answer(Request(self.command, key, query, headers, body))
                except Cut:
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                if "Content-Length" not in answer.headers and answer.status != 204:
                    self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer.body)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = any

        super().__init__(Handler)

    def raas_cfg(self, vendor, *more):
        """A configuration with a vendor in the bucket."""
        lines = [
            *["[aws]", "aws_access_key_id = KEY", "aws_secret_access_key = secret", f"[{vendor}]"],
            *[f"s3_bucket = {BUCKET}", f"s3_endpoint = {self.url}", "s3_path_style = yes", *more],
        ]
        return "\n".join(lines) + "\n"

    def answer(self, request):
        with self.lock:
            self.number += 1
            number, hook = self.number, self.hook

        def act():
            with self.lock:
                return self.act(request)

        return hook(request, number, act) if hook else act()

    def act(self, request):
        """Does what a request asks for. The lock is held."""
        digest = request.headers.get("x-amz-checksum-sha256")
        if digest and base64.b64encode(hashlib.sha256(request.body).digest()).decode() != digest:
            return refusal(400, "BadDigest")
        name, _, setting = request.operation.partition(":")
        if setting:
            return self.setting(request, setting)
        return getattr(self, name)(request)

    def setting(self, request, name):
        if request.method == "PUT":
            self.content.settings[name] = request.body
            return Answer(200)
        if request.method == "DELETE":
            self.content.settings.pop(name, None)
            return Answer(204)
        if name in self.content.settings:
            return Answer(200, self.content.settings[name])
        if name == "acl":
            return xml("AccessControlPolicy", "<AccessControlList></AccessControlList>")
        return refusal(404, "NoSuchBucketPolicy" if name == "policy" else "NoSuchConfiguration")

    def HeadBucket(self, _):
        return Answer(200)

    CreateBucket = HeadBucket

    def PutObject(self, request):
        found = self.content.objects.get(request.key)
        now = found and etag_of(found[0])
        if self.heeds_conditions:
            if "if-match" in request.headers and now != request.headers["if-match"]:
                return refusal(412, "PreconditionFailed") if now else refusal(404, "NoSuchKey")
            if "if-none-match" in request.headers and now:
                return refusal(412, "PreconditionFailed")
        return self.store(request.key, request.body)

    def store(self, key, content):
        self.content.objects[key] = (content, time.time())
        return Answer(200, headers={"ETag": etag_of(content)})

    def HeadObject(self, request):
        found = self.content.objects.get(request.key)
        if not found:
            return refusal(404, "NoSuchKey")
        content, at = found
        headers = {"ETag": etag_of(content), "Last-Modified": email.utils.formatdate(at, usegmt=True)}
        if (asked := request.headers.get("if-match")) and asked != headers["ETag"]:
            return refusal(412, "PreconditionFailed")
        begin = re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))
        content = content[int(begin.group(1)) :] if begin else content
        return Answer(206 if begin else 200, content, headers | {"Content-Length": str(len(content))})

    GetObject = HeadObject

    def DeleteObject(self, request):
        self.content.objects.pop(request.key, None)
        return Answer(204)

    def source(self, request):
        _, _, key = urllib.parse.unquote(request.headers["x-amz-copy-source"].lstrip("/")).partition("/")
        content = self.content.objects[key][0]
        span = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("x-amz-copy-source-range", ""))
        return content[int(span.group(1)) : int(span.group(2)) + 1] if span else content

    def CopyObject(self, request):
        try:
            stored = self.store(request.key, self.source(request))
        except KeyError:
            return refusal(404, "NoSuchKey")
        return xml("CopyObjectResult", f"<ETag>{html.escape(stored.headers['ETag'])}</ETag>")

    def ListObjectsV2(self, request):
        content = ""
        for key, (stored, at) in sorted(self.content.objects.items()):
            if key.startswith(request.query.get("prefix", "")):
                etag = html.escape(etag_of(stored))
                content += f"<Contents><Key>{html.escape(key)}</Key><LastModified>{iso(at)}</LastModified>"
                content += f"<ETag>{etag}</ETag><Size>{len(stored)}</Size></Contents>"
        return xml("ListBucketResult", content)

    def CreateMultipartUpload(self, request):
        name = f"upload-{len(self.content.uploads)}-{time.monotonic_ns()}"
        self.content.uploads[name] = (request.key, time.time(), {})
        return xml("InitiateMultipartUploadResult", f"<UploadId>{name}</UploadId>")

    def parts(self, request):
        return self.content.uploads[request.query["uploadId"]][2]

    def UploadPart(self, request):
        try:
            self.parts(request)[int(request.query["partNumber"])] = request.body
        except KeyError:
            return refusal(404, "NoSuchUpload")
        return Answer(200, headers={"ETag": etag_of(request.body)})

    def ListParts(self, request):
        try:
            parts = self.parts(request)
        except KeyError:
            return refusal(404, "NoSuchUpload")
        content = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{html.escape(etag_of(part))}</ETag>"
            f"<Size>{len(part)}</Size></Part>"
            for number, part in sorted(parts.items())
        )
        return xml("ListPartsResult", content)

    def CompleteMultipartUpload(self, request):
        try:
            parts = self.parts(request)
            listed = request.body.decode().split("<Part>")[1:]
            named = [(int(text_of("PartNumber", part)), text_of("ETag", part)) for part in listed]
            if any(etag_of(parts[number]) != etag for number, etag in named):
                return refusal(400, "InvalidPart")
        except KeyError:
            return refusal(404, "NoSuchUpload")
        del self.content.uploads[request.query["uploadId"]]
        stored = self.store(request.key, b"".join(parts[number] for number, _ in named))
        return xml("CompleteMultipartUploadResult", f"<ETag>{html.escape(stored.headers['ETag'])}</ETag>")

    def AbortMultipartUpload(self, request):
        gone = self.content.uploads.pop(request.query["uploadId"], None)
        return Answer(204) if gone else refusal(404, "NoSuchUpload")

    def ListMultipartUploads(self, request):
        content = "".join(
            f"<Upload><Key>{html.escape(key)}</Key><UploadId>{name}</UploadId>"
            f"<Initiated>{iso(begun)}</Initiated></Upload>"
            for name, (key, begun, _) in sorted(self.content.uploads.items())
            if key.startswith(request.query.get("prefix", ""))
        )
        return xml("ListMultipartUploadsResult", content)
