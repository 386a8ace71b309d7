#!/usr/bin/env python3
"""Makes an envelope of Notation for each algorithm, and the certificate of the authority that its chain leads to.

Not a part of raas: pyca/cryptography makes the keys, the certificates and the signatures, so the tests do not compare
raas with itself. Prints nothing, and overwrites the files beside it.
"""

import base64
import datetime
import json
import pathlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

FOLDER = pathlib.Path(__file__).parent
BEGIN, END = datetime.datetime(2024, 1, 1), datetime.datetime(2124, 1, 1)
TARGET = {
    "mediaType": "application/vnd.oci.image.manifest.v1+json",
    # The digest of b"image".
    "digest": "sha256:6105d6cc76af400325e94d588ce511be5bfdbb73b437dc51eca43917d7a43e3d",
    "size": 5,
}


def certificate(name, key, issuer, issuer_key, is_authority):
    named = lambda text: x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])  # noqa: E731
    usage = dict.fromkeys(
        ["content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign"], False
    )
    usage |= {"encipher_only": False, "decipher_only": False}
    usage |= {"digital_signature": not is_authority, "key_cert_sign": is_authority}
    builder = x509.CertificateBuilder(named(issuer), named(name), key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(BEGIN).not_valid_after(END)
    builder = builder.add_extension(x509.BasicConstraints(is_authority, None), True)
    builder = builder.add_extension(x509.KeyUsage(**usage), True)
    if not is_authority:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False)
    return builder.sign(issuer_key, hashes.SHA256())


def url_safe(content):
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def signature(key, algorithm, message):
    digest = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}[algorithm[2:]]
    if algorithm.startswith("PS"):
        return key.sign(message, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
    r, s = utils.decode_dss_signature(key.sign(message, ec.ECDSA(digest)))
    size = (key.key_size + 7) // 8
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def envelope(algorithm, key):
    root_key = ec.generate_private_key(ec.SECP256R1())
    root = certificate("Test authority", root_key, "Test authority", root_key, True)
    leaf = certificate("Test signer", key, "Test authority", root_key, False)
    protected = {
        "alg": algorithm,
        "cty": "application/vnd.cncf.notary.payload.v1+json",
        "crit": ["io.cncf.notary.signingScheme"],
        "io.cncf.notary.signingScheme": "notary.x509",
        "io.cncf.notary.signingTime": "2024-06-01T12:00:00+02:00",
    }
    payload = url_safe(json.dumps({"targetArtifact": TARGET}).encode())
    protected = url_safe(json.dumps(protected).encode())
    der = serialization.Encoding.DER
    chain = [base64.b64encode(one.public_bytes(der)).decode() for one in (leaf, root)]
    document = {
        "payload": payload,
        "protected": protected,
        "header": {"x5c": chain, "io.cncf.notary.signingAgent": "make.py"},
        "signature": url_safe(signature(key, algorithm, f"{protected}.{payload}".encode())),
    }
    name = algorithm.lower()
    (FOLDER / f"{name}.json").write_text(json.dumps(document))
    (FOLDER / f"{name}.pem").write_bytes(root.public_bytes(serialization.Encoding.PEM))


if __name__ == "__main__":
    for bits, algorithm in [(2048, "PS256"), (3072, "PS384"), (4096, "PS512")]:
        envelope(algorithm, rsa.generate_private_key(65537, bits))
    envelope("ES256", ec.generate_private_key(ec.SECP256R1()))
    envelope("ES384", ec.generate_private_key(ec.SECP384R1()))
    envelope("ES512", ec.generate_private_key(ec.SECP521R1()))
