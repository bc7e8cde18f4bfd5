# SPDX-License-Identifier: Apache-2.0
"""xxh3.py: XXH3_64bits in plain Python, as xxHash's specification has it."""
import struct

M = (1 << 64) - 1
SECRET = bytes.fromhex(
    'b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f'
    'cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c'
    '3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8'
    'a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364'
    'eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e'
    '2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e')
P32 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
P64 = (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9,
       0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5)


def u64(b, i):
    return struct.unpack_from('<Q', b, i)[0]


def fold(a, b):
    p = a * b
    return (p ^ p >> 64) & M


def avalanche(h):
    h &= M
    h = (h ^ h >> 37) * 0x165667919E3779F9 & M
    return h ^ h >> 32


def u32(b, i):
    return struct.unpack_from('<I', b, i)[0]


def avalanche64(h):
    h = (h ^ h >> 33) * P64[1] & M
    h = (h ^ h >> 29) * P64[2] & M
    return h ^ h >> 32


def short(d):
    """Of at most 16 bytes: each length has a formula of its own."""
    n = len(d)
    if n > 8:
        lo = u64(d, 0) ^ u64(SECRET, 24) ^ u64(SECRET, 32)
        hi = u64(d, n - 8) ^ u64(SECRET, 40) ^ u64(SECRET, 48)
        swapped = int.from_bytes(lo.to_bytes(8, 'little'), 'big')
        return avalanche(n + swapped + hi + fold(lo, hi))
    if n > 3:
        h = u32(d, n - 4) + (u32(d, 0) << 32)
        h ^= u64(SECRET, 8) ^ u64(SECRET, 16)
        h ^= (h << 49 | h >> 15) & M ^ (h << 24 | h >> 40) & M
        h = h * 0x9FB21C651E98DF25 & M
        h = (h ^ (h >> 35) + n) * 0x9FB21C651E98DF25 & M
        return h ^ h >> 28
    if n > 0:
        h = d[0] << 16 | d[n >> 1] << 24 | d[n - 1] | n << 8
        return avalanche64(h ^ u32(SECRET, 0) ^ u32(SECRET, 4))
    return avalanche64(u64(SECRET, 56) ^ u64(SECRET, 64))


def xxh3(d):
    """XXH3_64bits of bytes, seed 0."""
    n = len(d)
    if n <= 16:
        return short(d)

    def mix(i, s):
        return fold(u64(d, i) ^ u64(SECRET, s), u64(d, i + 8) ^ u64(SECRET, s + 8))
    acc = n * P64[0]
    if n <= 128:
        for i in range((n - 1) // 32 + 1):
            acc += mix(16 * i, 32 * i) + mix(n - 16 * (i + 1), 32 * i + 16)
        return avalanche(acc)
    if n <= 240:
        acc = avalanche(acc + sum(mix(16 * i, 16 * i) for i in range(8)))
        acc += sum(mix(16 * i, 16 * i - 125) for i in range(8, n // 16))
        return avalanche(acc + mix(n - 16, 119))
    a = [P32[2], P64[0], P64[1], P64[2], P64[3], P32[1], P64[4], P32[0]]

    def stripe(at, s):
        for i in range(8):
            v = u64(d, at + 8 * i)
            k = v ^ u64(SECRET, s + 8 * i)
            a[i ^ 1] += v
            a[i] = a[i] + (k & 0xffffffff) * (k >> 32) & M
        a[:] = [x & M for x in a]
    for at in range(0, (n - 1) // 64 * 64, 64):
        stripe(at, at // 64 % 16 * 8)
        if at % 1024 == 960:
            a = [((x ^ x >> 47) ^ u64(SECRET, 128 + 8 * i)) * P32[0] & M
                 for i, x in enumerate(a)]
    stripe(n - 64, 121)
    for i in range(4):
        acc += fold(a[2 * i] ^ u64(SECRET, 11 + 16 * i),
                    a[2 * i + 1] ^ u64(SECRET, 19 + 16 * i))
    return avalanche(acc)
