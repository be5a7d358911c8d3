"""Scalars of an event file, read without our library: python3 scalars.py FILE prints "step tag value" a line.

Frames and checksums as TFRecord has them, messages by Google's protobuf from the field numbers of event.proto and
summary.proto.
"""
import struct
import sys

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

F = descriptor_pb2.FieldDescriptorProto


def message(file, name, fields):
    m = file.message_type.add(name=name)
    for number, field, kind, repeated, of in fields:
        f = m.field.add(name=field, number=number, type=kind, label=F.LABEL_REPEATED if repeated else F.LABEL_OPTIONAL)
        if of:
            f.type_name = of


def event_class():
    file = descriptor_pb2.FileDescriptorProto(name="event.proto", package="t")
    message(file, "Value", [(1, "tag", F.TYPE_STRING, False, ""), (2, "simple_value", F.TYPE_FLOAT, False, "")])
    message(file, "Summary", [(1, "value", F.TYPE_MESSAGE, True, ".t.Value")])
    message(file, "Event", [(1, "wall_time", F.TYPE_DOUBLE, False, ""), (2, "step", F.TYPE_INT64, False, ""),
                            (3, "file_version", F.TYPE_STRING, False, ""),
                            (5, "summary", F.TYPE_MESSAGE, False, ".t.Summary")])
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.MessageFactory(pool).GetPrototype(pool.FindMessageTypeByName("t.Event"))


def masked_crc32c(data):
    c = 0xFFFFFFFF
    for byte in data:
        c ^= byte
        for _ in range(8):
            c = c >> 1 ^ (0x82F63B78 if c & 1 else 0)
    c ^= 0xFFFFFFFF
    return ((c >> 15 | c << 17) + 0xA282EAD8) & 0xFFFFFFFF


def frames(data):
    at = 0
    while at < len(data):
        length, crc = struct.unpack_from("<QI", data, at)
        assert crc == masked_crc32c(data[at:at + 8]), "checksum of a length"
        body = data[at + 12:at + 12 + length]
        assert len(body) == length, "cut short"
        assert struct.unpack_from("<I", data, at + 12 + length)[0] == masked_crc32c(body), "checksum of an event"
        yield body
        at += 16 + length


def main(path):
    event = event_class()
    with open(path, "rb") as f:
        events = [event.FromString(body) for body in frames(f.read())]
    assert events[0].file_version == "brain.Event:2", "no version"
    assert all(e.wall_time > 1.5e9 for e in events), "no time"
    for e in events[1:]:
        for v in e.summary.value:
            print(e.step, v.tag, repr(v.simple_value))


main(sys.argv[1])
