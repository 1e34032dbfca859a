"""Our verification of ECDSA signatures against those that the cryptography library makes."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lambdas.shared import p256
from lambdas.shared.errors import SignatureInvalid

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
DIGEST = hashlib.sha256(b"what was signed").digest()


def public(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def signed(key: ec.EllipticCurvePrivateKey, digest: bytes = DIGEST) -> bytes:
    return key.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256())))


KEY = ec.derive_private_key(0xC0FFEE, ec.SECP256R1())
SIGNATURE = signed(KEY)


@pytest.mark.parametrize("secret", [1, 2, 0xBEEF, ORDER - 1])
def test_what_a_key_signed_verifies_and_nothing_else_does(secret: int) -> None:
    key = ec.derive_private_key(secret, ec.SECP256R1())
    for number in range(2):
        digest = hashlib.sha256(bytes([number])).digest()
        signature = signed(key, digest)
        assert p256.verify(public(key), digest, signature)
        assert not p256.verify(public(key), DIGEST, signature)
        assert not p256.verify(public(KEY), digest, signature)


def test_a_flipped_bit_of_a_signature_and_of_a_digest_is_noticed() -> None:
    for place in range(0, len(SIGNATURE) * 8, 53):
        spoilt = bytearray(SIGNATURE)
        spoilt[place // 8] ^= 1 << place % 8
        assert not p256.verify(public(KEY), DIGEST, bytes(spoilt)), place
    for place in range(0, 256, 61):
        spoilt = bytearray(DIGEST)
        spoilt[place // 8] ^= 1 << place % 8
        assert not p256.verify(public(KEY), bytes(spoilt), SIGNATURE), place


@pytest.mark.parametrize(("r", "s"), [(0, 1), (1, 0), (ORDER, 1), (1, ORDER), (ORDER + 5, 7)])
def test_numbers_outside_the_group_are_no_signature(r: int, s: int) -> None:
    assert not p256.verify(public(KEY), DIGEST, encode_dss_signature(r, s))


def test_only_the_shortest_der_of_two_numbers_is_a_signature() -> None:
    r, s = decode_dss_signature(SIGNATURE)
    assert p256.verify(public(KEY), DIGEST, encode_dss_signature(r, s))

    def der(*bodies: bytes) -> bytes:
        inner = b"".join(b"\x02" + bytes([len(body)]) + body for body in bodies)
        return b"\x30" + bytes([len(inner)]) + inner

    long = [b"\x00\x00" + number.to_bytes(32) for number in (r, s)]
    for spoilt in (b"", b"\x30", SIGNATURE + b"\x00", SIGNATURE[:-1], der(*long), der(b"\x01"), der(),
                   b"\x30\x02\x02\x01", der(b"\x01", b"\x01", b"\x01"), der(b"\x80", b"\x01"), der(b"", b"\x01")):
        assert not p256.verify(public(KEY), DIGEST, spoilt), spoilt.hex()


def test_a_digest_has_32_bytes() -> None:
    assert not p256.verify(public(KEY), DIGEST[:31], SIGNATURE)


@pytest.mark.parametrize("key", [
    b"", public(KEY)[:-1], public(KEY) + b"\x00", public(KEY)[:-1] + bytes([public(KEY)[-1] ^ 1]),
    public(ec.derive_private_key(5, ec.SECP384R1())), public(KEY)[:27] + b"\xff" * 64,
])
def test_a_key_that_is_no_point_of_the_curve_is_refused(key: bytes) -> None:
    with pytest.raises(SignatureInvalid, match="no DER SubjectPublicKeyInfo of a P-256 key"):
        p256.verify(key, DIGEST, SIGNATURE)
