"""ECDSA over P-256, verification only, in whole numbers: the Lambda layer is pure Python, and nothing is asked of KMS.

Nothing here is secret, so nothing here must take constant time. SEC 1 (2009) 4.1.4, curve of FIPS 186-4 D.1.2.3.
"""

from __future__ import annotations

from lambdas.shared.errors import SignatureInvalid

_P = 2**256 - 2**224 + 2**192 + 2**96 - 1
_N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
_G = (0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
      0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5)
# SubjectPublicKeyInfo of an uncompressed point: id-ecPublicKey, prime256v1, 66 bytes of key (RFC 5480).
_SPKI = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200") + b"\x04"

Point = tuple[int, int] | None  # None is the point at infinity


def verify(public_key: bytes, digest: bytes, signature: bytes) -> bool:
    """Whether `signature` (DER) of a 32-byte `digest` is by the owner of `public_key` (DER SubjectPublicKeyInfo).

    Raises
    ------
    SignatureInvalid
        The key is no P-256 key.
    """
    key = _point(public_key)
    numbers = _two_integers(signature)
    if numbers is None or len(digest) != 32 or not all(1 <= number < _N for number in numbers):
        return False
    r, s = numbers
    w = pow(s, -1, _N)
    found = _add(_times(int.from_bytes(digest) * w % _N, _G), _times(r * w % _N, key))
    return found is not None and found[0] % _N == r


def _point(public_key: bytes) -> tuple[int, int]:
    x, y = int.from_bytes(public_key[27:59]), int.from_bytes(public_key[59:])
    on_curve = x < _P and y < _P and (y * y - (x * x * x - 3 * x + _B)) % _P == 0
    if len(public_key) != 91 or not public_key.startswith(_SPKI) or not on_curve:
        raise SignatureInvalid("the public key is no DER SubjectPublicKeyInfo of a P-256 key")
    return x, y


def _two_integers(der: bytes) -> tuple[int, int] | None:
    """SEQUENCE { INTEGER r, INTEGER s }, each in its one shortest form; None for anything else."""
    if len(der) < 2 or der[0] != 0x30 or der[1] != len(der) - 2:
        return None
    found, rest = [], der[2:]
    while rest:
        if len(rest) < 3 or rest[0] != 0x02 or not 1 <= rest[1] <= len(rest) - 2:
            return None
        body, rest = rest[2 : 2 + rest[1]], rest[2 + rest[1] :]
        if body[0] & 0x80 or (body[0] == 0 and (len(body) == 1 or not body[1] & 0x80)):
            return None
        found.append(int.from_bytes(body))
    return (found[0], found[1]) if len(found) == 2 else None


def _times(factor: int, point: Point) -> Point:
    total: Point = None
    for bit in f"{factor:b}":
        total = _add(total, total)
        if bit == "1":
            total = _add(total, point)
    return total


def _add(a: Point, b: Point) -> Point:
    if a is None or b is None:
        return a or b
    if a[0] == b[0]:
        if (a[1] + b[1]) % _P == 0:
            return None
        slope = 3 * (a[0] * a[0] - 1) * pow(2 * a[1], -1, _P)
    else:
        slope = (b[1] - a[1]) * pow(b[0] - a[0], -1, _P)
    x = (slope * slope - a[0] - b[0]) % _P
    return x, (slope * (a[0] - x) - a[1]) % _P
