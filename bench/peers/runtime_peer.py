"""ONNX Runtime and OpenVINO as peers: network evaluations in eval mode (they do not train).

OpenVINO is asked for float32; as `openvino_default` it chooses by itself, which on processors with
AVX512_BF16 or AMX is bfloat16: less exact, and named in the note.
"""

import os
import tempfile

import numpy as np
import torch

from peer import arguments, network, serve


def export(model, x, t, path):
    torch.onnx.export(model, (x, t), path, input_names=["x", "t"], output_names=["eps"],
                      dynamo=False)


def onnxruntime_step(path, feeds, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return (lambda: session.run(None, feeds)[0]), onnxruntime.__version__, ""


def openvino_step(path, feeds, threads, single_precision):
    import openvino

    config = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
    if single_precision:
        config["INFERENCE_PRECISION_HINT"] = "f32"
    compiled = openvino.compile_model(path, "CPU", config)
    request, out = compiled.create_infer_request(), compiled.output(0)
    precision = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    version = openvino.__version__.split("-")[0]
    return (lambda: request.infer(feeds)[out]), version, precision


def main():
    args = arguments(["onnxruntime", "openvino", "openvino_default"])
    assert args.what == "sample", "it does not train"
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    model = network(args).eval()
    x = torch.rand(args.batch, 1, args.height, args.width)
    t = torch.arange(args.batch) * 999 // args.batch + 1
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        path = os.path.join(folder, "network.onnx")
        export(model, x, t, path)
        feeds = {"x": x.numpy(), "t": t.numpy()}
        if args.variant == "onnxruntime":
            step, version, note = onnxruntime_step(path, feeds, args.threads)
        else:
            step, version, note = openvino_step(path, feeds, args.threads,
                                                args.variant == "openvino")
        error = float(np.abs(step() - model(x, t).numpy()).max())
    serve(step, version, f"{note + ', ' if note else ''}{error:.0e} from PyTorch")


main()
