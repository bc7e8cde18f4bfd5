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

    def parts(self):
        return [self.get('IIIQQ') for _ in range(self.get('I'))]


def snapshot(m):
    snap = dict(zip(('no', 'uuid'), m.get('I16s')))
    snap['name'] = m.text()
    snap['config'], snap['attr'] = m.get(CONFIG), m.get(ATTR)
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
    if struct.unpack_from('<II', b, 8) != (1, 0) or u64(b, 16) != len(b) - 32:
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
        c['config'], c['attr'] = m.get(CONFIG), m.get(ATTR)
        m.get('qq')
        c['dim'] = m.get('I')
        if c['dim']:
            c['cell'] = m.get('BBBIII')[5]
            for column in 'vec', 'version', 'meta', 'end':
                c[column] = m.parts()
            m.get('IQQ')
            for _ in range(m.get('I')):
                m.get('IQQ')
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
    found = []
    for gen in generations:
        rows = list(records(sys.argv[1], uuid, gen)) if gen['dim'] else []
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
