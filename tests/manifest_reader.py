#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""manifest_reader.py: the records of a data directory's newest manifest as JSON
lines, in the order of their versions, read by docs/format.md alone."""
import json
import os
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from xxh3 import u64, xxh3  # noqa: E402: python -I knows no other way

CONFIG, ATTR = 'IIIIBBBBIB', 'III'
STRIDE = {'meta': 8, 'version': 48, 'end': 16}


class Body:
    def __init__(self, b):
        self.b, self.at = b, 0

    def get(self, fmt):
        got = struct.unpack_from('<' + fmt, self.b, self.at)
        self.at += struct.calcsize('<' + fmt)
        return got if len(got) > 1 else got[0]

    def text(self):
        return self.get(f'{self.get("I")}s').decode('utf-8', 'surrogateescape')

    def config(self):
        c = self.get(CONFIG)
        return c + self.get('4I') if c[9] & 128 else c

    def parts(self):
        return [self.get('IIIQQ') for _ in range(self.get('I'))]


def snapshot(m):
    snap = dict(zip(('no', 'uuid'), m.get('I16s')))
    snap['name'] = m.text()
    snap['config'], snap['attr'] = m.config(), m.get(ATTR)
    m.get('qq')
    snap['n_live'], snap['meta_bytes'] = m.get('QQ')
    snap['seq'] = m.get('272Q')
    return snap


def manifest(root):
    """The newest: its generations, those of one collection side by side, each
    with its snapshots; its aliases as {name: target}."""
    n = max(int(f[9:]) for f in os.listdir(root) if f.startswith('MANIFEST.')
            and f[9:].isdigit())
    b = open(f'{root}/MANIFEST.{n}', 'rb').read()
    if b[:8] != b'vgman\r\n\x1a' or xxh3(b[:24] + b[32:]) != u64(b, 24):
        sys.exit(f'MANIFEST.{n} is damaged')
    version, zero = struct.unpack_from('<II', b, 8)
    if version not in (1, 2) or zero or u64(b, 16) != len(b) - 32:
        sys.exit(f'MANIFEST.{n} is of a later version')
    m = Body(b[32:])
    number, store, *_ = m.get('Q16sqQQQ')
    assert number == n
    m.get('272Q')
    m.get('IIQq')
    if m.get('B'):
        m.get(ATTR)
    gens, aliases = [], {}
    for _ in range(m.get('I')):
        c = dict(zip(('no', 'gen', 'uuid', 'cursor'), m.get('II16sQ')))
        c['name'] = m.text()
        c['config'], c['attr'] = m.config(), m.get(ATTR)
        m.get('qq')
        c['dim'] = m.get('I')
        if c['dim']:
            c['cell'] = m.get('BBBIII')[5]
            for column in 'vec', 'version', 'meta', 'end':
                c[column] = m.parts()
            m.get('IQQ')
            for _ in range(m.get('I')):
                m.get('IQQ')
            c['fields'] = m.get('IQQ') if version == 2 else (0, 0, 0)
        c['is_past'] = not c['name']
        if c['is_past']:
            assert c['uuid'] == gens[-1]['uuid']
            c['name'] = gens[-1]['name']
        c['snaps'] = [snapshot(m) for _ in range(m.get('I'))]
        gens.append(c)
    for _ in range(m.get('I')):
        m.get('Qq')
        name = m.text()
        aliases[name] = m.text()
    for _ in range(m.get('I')):
        m.get('QQi')
    if m.at != len(m.b):
        sys.exit('a manifest with bytes left over')
    return store, gens, aliases


def column(root, store, c, name):
    """All rows of a column, as bytes, each sum looked at."""
    rows = b''
    stride = STRIDE.get(name, 4 * c['dim'])
    for number, first, n, sums_hash, tail_hash in c[name]:
        path = f'{root}/c/{c["uuid"].hex()}/{name}.{number:04}'
        b = open(path, 'rb').read()
        sums = open(path + '.sum', 'rb').read()
        head = struct.unpack_from('<8sII16s16sIII', b)
        if head[3:] != (store, c['uuid'], number, first, stride) or \
                xxh3(b[:4088]) != u64(b, 4088):
            sys.exit(f'{path} is not what the manifest names')
        data = b[4096:4096 + n * stride]
        whole = len(data) // 4096
        if xxh3(sums[64:64 + 8 * whole]) != sums_hash and whole or any(
                xxh3(data[4096 * i:4096 * i + 4096]) != u64(sums, 64 + 8 * i)
                for i in range(whole)):
            sys.exit(f'{path} is damaged')
        tail = data[4096 * whole:]
        if (xxh3(tail) if tail else 0) != tail_hash or len(data) != n * stride:
            sys.exit(f'{path} ends in damage')
        rows += data
    return rows


def records(root, store, c):
    """Of a generation, each with its partition, begin and end."""
    vec, meta, versions, ends = (column(root, store, c, name) for name in
                                 ('vec', 'meta', 'version', 'end'))
    ended = {no: at for no, _, at in struct.iter_unpack('<IIQ', ends)}
    for no, v in enumerate(struct.iter_unpack('<QqIIIIIIII', versions)):
        at, size, slot = 8 * v[2], 4 * c['dim'], v[5]
        key = meta[at + 1:at + 1 + meta[at]]
        if xxh3(key) >> 8 & 0xffffffff != v[7] or xxh3(key) % 271 != v[9]:
            sys.exit(f'version {no} has another id')
        yield v[9], v[0], ended.get(no), {
            'id': key.decode('utf-8', 'surrogateescape'),
            'vec': vec[slot * size:slot * size + size].hex(),
            'meta': meta[8 * v[3]:8 * v[3] + v[4]].decode()}


class Stream:
    """Pieces, each in the sum that stands behind them."""

    def __init__(self, path, length, whole):
        self.path, self.b, self.at = path, open(path, 'rb').read(length), 0
        self.sum = 0
        if len(self.b) != length or xxh3(self.b) != whole:
            sys.exit(f'{path} is damaged')

    def get(self, length):
        out = self.b[self.at:self.at + length]
        for i in range(0, length, 1 << 20):
            self.sum = xxh3(struct.pack('<Q', self.sum) + out[i:i + (1 << 20)])
        self.at += length
        return out

    def u32s(self, n):
        return struct.unpack(f'<{n}I', self.get(4 * n))

    def check(self):
        self.at += 8
        if u64(self.b, self.at - 8) != self.sum:
            sys.exit(f'{self.path}: a sum is wrong')


def run(s, end_before):
    """The versions of a run, and {key: those that have it}."""
    begin, end, keys, keys_len, n_list, n_bits = s.u32s(6)
    s.check()
    assert begin == end_before < end
    at, names = s.u32s(keys + 1), s.get(keys_len)
    list_at, those = s.u32s(keys + 1), s.u32s(n_list)
    bits = list(struct.iter_unpack('<II', s.get(8 * n_bits)))
    words = (end - 1) // 64 - begin // 64 + 1
    sets = s.get(8 * words * n_bits)
    s.check()
    out = {names[at[i]:at[i + 1]]: set(those[list_at[i]:list_at[i + 1]])
           for i in range(keys)}
    assert list(out) == sorted(out) and len(out) == keys
    for i, (key, n) in enumerate(bits):
        word = int.from_bytes(sets[8 * words * i:8 * words * (i + 1)], 'little')
        out[names[at[key]:at[key + 1]]] = has = {
            begin // 64 * 64 + k for k in range(64 * words) if word >> k & 1}
        assert len(has) == n
    return end, out


def number_key(text):
    """A number of JSON, as its text has it."""
    mantissa, _, exp = text.lower().partition('e')
    whole, _, part = mantissa.lstrip('-').partition('.')
    digits, exp = (whole + part).lstrip('0'), int(exp or 0)
    exp += len(whole) - len(whole + part) + len(digits)
    digits = digits.rstrip('0')
    if not digits:
        return b'\2'
    key = bytes([0x80 + exp]) if abs(exp) <= 100 else \
        bytes([0x10 if exp < 0 else 0xf0]) + struct.pack('>Q', exp + (1 << 63))
    digits = [int(d) + 1 for d in digits] + [0] * (len(digits) % 2)
    key += bytes(16 * a + b for a, b in zip(digits[::2], digits[1::2]))
    if text[0] == '-':
        return b'\1' + bytes(255 - k for k in key) + b'\xff'
    return b'\3' + key


def keys_of(value, element=0):
    """Of a value of a field, a number being ('number', text)."""
    if isinstance(value, list):
        return set().union(*(keys_of(v, 8) for v in value if v is not None))
    if isinstance(value, dict):
        return set()
    if isinstance(value, bool):
        return {bytes([element + 1 + value])}
    tag, payload = (3, number_key(value[1])) if isinstance(value, tuple) \
        else (4, value.encode())
    if len(payload) > 128:
        payload = payload[:128] + struct.pack('>Q', xxh3(payload))
    return {bytes([element + tag]) + payload}


def value_of(meta, field):
    for key in field.split('.'):
        meta = meta.get(key) if isinstance(meta, dict) else None
    return meta


def indexes(root, c, versions):
    """(field, how many versions have it) of a generation's file, each run
    being compared with the metadata of its versions."""
    if not c['fields'][0]:
        return
    metas = [json.loads(r['meta'] or '{}', parse_int=lambda t: ('number', t),
                        parse_float=lambda t: ('number', t))
             for _, _, _, r in versions]
    number, length, whole = c['fields']
    path = f'{root}/c/{c["uuid"].hex()}/fields.{number:04}'
    s = Stream(path, length, whole)
    magic, version, n_fields = struct.unpack('<8sII', s.get(16))
    s.check()
    if magic != b'vgfld\r\n\x1a' or version != 1:
        sys.exit(f'{path} has no indexes that this page knows')
    for _ in range(n_fields):
        name_len, runs = s.u32s(2)
        s.check()
        field = s.get(name_len).decode()
        s.check()
        end, has = 0, 0
        for _ in range(runs):
            begin = end
            end, got = run(s, end)
            want = {}
            for no in range(begin, end):
                value = value_of(metas[no], field)
                for key in set() if value is None else keys_of(value) | {b'\0'}:
                    want.setdefault(key, set()).add(no)
            if got != want:
                sys.exit(f'{path}: {field} is not what the metadata says')
            has += len(got.get(b'\0', ()))
        yield field, has
    if s.at != len(s.b):
        sys.exit(f'{path} with bytes left over')


def shown(snap, versions):
    """What a snapshot shows of its generation."""
    out = [r for partition, begin, end, r in versions
           if begin <= snap['seq'][partition] < (end or 1 << 64)]
    if len(out) != snap['n_live'] or \
            sum(len(r['meta'].encode()) for r in out) != snap['meta_bytes']:
        sys.exit(f'snapshot {snap["name"]} had other records')
    return out


if __name__ == '__main__':
    uuid, generations, links = manifest(sys.argv[1])
    found, fields = [], []
    for gen in generations:
        rows = list(records(sys.argv[1], uuid, gen)) if gen['dim'] else []
        fields += [(gen['gen'], *f) for f in indexes(sys.argv[1], gen, rows)] \
            if gen['dim'] else []
        if not gen['is_past']:
            found.append((gen['name'], 0, gen['name'],
                          [r for _, _, end, r in rows if end is None]))
        for s in gen['snaps']:
            found.append((gen['name'], s['no'], gen['name'] + '/.snap/' +
                          s['name'], shown(s, rows)))
    for _, _, title, those in sorted(found):
        for r in those:
            print(json.dumps({'in': title, **r}, ensure_ascii=False))
    for title, target in sorted(links.items()):
        print(json.dumps({'link': title, 'to': target}, ensure_ascii=False))
    for no, field, has in fields:
        print(json.dumps({'generation': no, 'field': field, 'has': has}))
