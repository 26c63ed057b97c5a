"""Writes fixtures/events.tfevents with TensorBoard's own classes; test_events.c writes the same bytes.

    .venv/bin/python tests/io/make_events.py
"""

import os

from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

here = os.path.dirname(os.path.abspath(__file__))
# The smallest head of a PNG file that says 2x3 pixels in colour, and what stands for the rest.
png = (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (3).to_bytes(4, "big") + (2).to_bytes(4, "big") + b"\x08\x02"
       + bytes(range(200)))


def value(tag, number):
    return summary_pb2.Summary.Value(tag=tag, simple_value=number)


with open(os.path.join(here, "fixtures", "events.tfevents"), "wb") as file:
    writer = RecordWriter(file)
    image = summary_pb2.Summary.Image(height=2, width=3, colorspace=3, encoded_image_string=png)
    for event in [
        event_pb2.Event(wall_time=1700000000.5, file_version="brain.Event:2"),
        event_pb2.Event(wall_time=1700000001.25, step=1, summary=summary_pb2.Summary(
            value=[value("loss", 0.5), value("lr", 0.001)])),
        event_pb2.Event(wall_time=1700000002, step=300, summary=summary_pb2.Summary(
            value=[value("loss", -1e30)])),
        event_pb2.Event(wall_time=1700000003, step=4294967295, summary=summary_pb2.Summary(
            value=[summary_pb2.Summary.Value(tag="samples", image=image)])),
    ]:
        writer.write(event.SerializeToString())
