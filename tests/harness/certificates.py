"""Certificates made with openssl."""

from harness.process import run

EC_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
RSA_KEY = ["-newkey", "rsa:2048", "-nodes"]


def self_signed(folder, name, common_name, kind=EC_KEY):
    """A certificate that signs itself, for two days; returns the paths of the certificate and of the key."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    subject = ["-days", "2", "-subj", f"/CN={common_name}"]
    run("openssl", "req", "-x509", *kind, *subject, "-keyout", key, "-out", certificate)
    return certificate, key


class Authority:
    """A certificate authority."""

    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        self.certificate, self.key = self_signed(folder, name, name)

    def issue(self, name, extensions, days="1"):
        """A certificate; returns the paths of the certificate and of the key."""
        files = {end: self.folder / f"{self.name}-{name}.{end}" for end in ["key", "csr", "ext", "crt"]}
        run("openssl", "req", *EC_KEY, "-subj", f"/CN={name}", "-keyout", files["key"], "-out", files["csr"])
        files["ext"].write_text(extensions)
        signer = ["-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial"]
        form = ["-days", days, "-extfile", files["ext"]]
        run("openssl", "x509", "-req", "-in", files["csr"], *signer, *form, "-out", files["crt"])
        return files["crt"], files["key"]
