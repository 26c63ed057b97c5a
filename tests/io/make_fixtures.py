#!/usr/bin/env python3
"""Makes the files in tests/io/fixtures, and checks .pth files that sumi wrote.

    make_fixtures.py [DIR]          writes the fixtures (needs torch, numpy, safetensors, Pillow)
    make_fixtures.py --verify FILE  loads a .pth or .safetensors as PyTorch's users do and prints it
    make_fixtures.py --strict FILE  the same, into the network of state_dict.pth, strictly

The tests know the values: every tensor counts up from 0, and pictures follow `picture`.
"""
import collections
import io
import os
import pickle
import struct
import sys
import tarfile
import zipfile

import numpy as np
import torch


def network():
    return torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))


def counted(shape, dtype=torch.float32):
    count = int(np.prod(shape, dtype=np.int64))
    return torch.arange(count).reshape(shape).to(dtype)


DTYPES = {
    "f32": torch.float32, "f64": torch.float64, "f16": torch.float16, "bf16": torch.bfloat16,
    "i64": torch.int64, "i32": torch.int32, "u8": torch.uint8, "bool": torch.bool,
}


def rezip(source, target, change=lambda name, data: data, method=zipfile.ZIP_STORED, root=None):
    """Copies an archive through Python's zipfile, changing entries on the way."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", method) as new:
        for info in old.infolist():
            data = change(info.filename, old.read(info.filename))
            name = info.filename
            if root is not None:
                name = root + "/" + name.split("/", 1)[1]
            entry = zipfile.ZipInfo(name)
            entry.compress_type = method
            new.writestr(entry, data)


def make_pth(at):
    model = network()
    state = model.state_dict()
    for name, value in state.items():
        state[name] = counted(value.shape, value.dtype)
    torch.save(state, at("state_dict.pth"))
    torch.save({k: counted((2, 3), d) for k, d in DTYPES.items()}, at("dtypes.pth"))
    base = counted((4, 6))
    torch.save({
        "whole": base, "transposed": base.t(), "rows": base[1:3], "columns": base[:, 2:4],
        "repeated": counted((3,)).expand(2, 3), "steps": base[::2, ::3],
        "scalar": torch.tensor(7, dtype=torch.int64), "empty": torch.zeros(0, 5),
    }, at("views.pth"))
    torch.save(state, at("legacy.pth"), _use_new_zipfile_serialization=False)
    torch.save(state, at("protocol4.pth"), pickle_protocol=4)
    torch.save(model, at("module.pth"))
    torch.save({"epoch": 3, "model": dict(state)}, at("checkpoint.pth"))
    torch.save([counted((2,))], at("list.pth"))
    torch.save({1: counted((2,))}, at("int_key.pth"))
    torch.save({"w": torch.nn.Parameter(counted((2,)))}, at("parameter.pth"))
    torch.save({"w": counted((2,), torch.int8)}, at("int8.pth"))
    torch.save({"w": counted((2,), torch.uint16)}, at("uint16.pth"))
    torch.save({"w": counted((3,)).untyped_storage()}, at("untyped.pth"))
    torch.save({"epoch": 3, "args": [1, 2.5, None]}, at("nothing.pth"))
    torch.jit.save(torch.jit.script(torch.nn.ReLU()), at("torchscript.pth"))
    rezip(at("state_dict.pth"), at("rezipped.pth"))
    rezip(at("state_dict.pth"), at("compressed.pth"), method=zipfile.ZIP_DEFLATED)

    class Evil:
        def __reduce__(self):
            return os.system, ("touch /tmp/sumi-was-here",)

    evil = pickle.dumps({"w": Evil()}, protocol=2)
    rezip(at("dtypes.pth"), at("os_system.pth"),
          lambda name, data: evil if name.endswith("/data.pkl") else data)
    # The pickle says 6 floats; the entry keeps only 5.
    rezip(at("dtypes.pth"), at("short_storage.pth"),
          lambda name, data: data[:20] if name.endswith("/data/0") else data)
    rezip(at("dtypes.pth"), at("big_endian.pth"),
          lambda name, data: b"big" if name.endswith("/byteorder") else data)
    with tarfile.open(at("tar.pth"), "w") as tar:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())


def tiny(seed):
    """The tutorial's network as small as it gets, with running statistics of its own."""
    sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "golden"))
    from torch_seed import UNetWithTime
    torch.manual_seed(seed)
    model = UNetWithTime(time_dim=2, width=1)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-1, 1)
            module.running_var.uniform_(0.5, 2)
            module.num_batches_tracked.fill_(100 + seed)
    return model


def make_wrapped(at):
    """A tiny model as programs save it: plain, wrapped, beside an optimiser, halved."""
    model, ema = tiny(1), tiny(2)
    state, other = model.state_dict(), ema.state_dict()
    module = {"module." + name: value for name, value in state.items()}
    torch.save(state, at("tiny.pth"))
    torch.save(other, at("tiny_ema.pth"))
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-3)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    before = [parameter.detach().clone() for parameter in parameters]
    optimizer.step()
    with torch.no_grad():
        for parameter, value in zip(parameters, before):
            parameter.copy_(value)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    torch.save({"epoch": 3, "loss": 0.25, "model": module, "optimizer": optimizer.state_dict(),
                "scheduler": schedule.state_dict(), "rng": torch.get_rng_state()[:16]},
               at("tiny_training.pth"))
    torch.save({"state_dict": {**{"model.unet." + k: v for k, v in state.items()},
                               "criterion.weight": torch.ones(3)}, "global_step": 7,
                "shape": torch.Size([1, 28, 28]), "device": torch.device("cpu"),
                "dtype": torch.float16}, at("tiny_nested.pth"))
    torch.save({"model": module, "ema": {"shadow": other, "decay": 0.999}}, at("tiny_two.pth"))
    torch.save({"state_dict": state, "model": state}, at("tiny_shared.pth"))
    flagged = model.state_dict(keep_vars=True)
    flagged["out.bias"].no_decay = True
    torch.save(flagged, at("tiny_parameters.pth"))
    halved = {k: v.half() for k, v in state.items()}
    torch.save({"_orig_mod." + k: v for k, v in halved.items()}, at("tiny_half.pth"))
    averaged = torch.optim.swa_utils.AveragedModel(model)
    torch.save({k: v for k, v in averaged.state_dict().items()
                if not k.endswith("num_batches_tracked")}, at("tiny_averaged.pth"))
    from safetensors.torch import save_file
    save_file({k: v.bfloat16().contiguous() for k, v in module.items()},
              at("tiny_prefix.safetensors"))
    np.savez(at("arrays.npz"), a=np.zeros((2, 2)))
    np.savez_compressed(at("packed.npz"), a=np.zeros((2, 2)))
    with zipfile.ZipFile(at("pictures.zip"), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cats/", "")
        archive.writestr("cats/1.PNG", b"\x89PNG\r\n\x1a\n")
    for protocol in (2, 4):
        with open(at("bare%d.pkl" % protocol), "wb") as file:
            pickle.dump({"w": [1, 2]}, file, protocol)
    scripted = torch.jit.script(torch.nn.Conv2d(1, 1, 1))
    torch.jit.save(scripted, at("script.pt"))


def make_npy(at):
    for name in ("float32", "float64", "uint8", "int32", "int64"):
        np.save(at(name + ".npy"), np.arange(6, dtype=name).reshape(2, 3))
    for name in ("float16", "int8", "bool", "complex64"):
        np.save(at("bad_" + name + ".npy"), np.arange(6).reshape(2, 3).astype(name))
    np.save(at("bad_fortran.npy"), np.asfortranarray(np.arange(6, dtype="f4").reshape(2, 3)))
    np.save(at("bad_big_endian.npy"), np.arange(6, dtype=">f4"))
    np.save(at("bad_record.npy"), np.zeros(2, dtype=[("a", "f4"), ("b", "i4")]))
    np.save(at("bad_object.npy"), np.array([None, {}], dtype=object), allow_pickle=True)
    np.save(at("scalar.npy"), np.float32(7))
    np.save(at("empty.npy"), np.zeros((0, 4), dtype="f4"))
    np.save(at("vector.npy"), np.arange(5, dtype="i8"))
    for version in ((2, 0), (3, 0)):
        with open(at("version%d.npy" % version[0]), "wb") as file:
            np.lib.format.write_array(file, np.arange(6, dtype="f4").reshape(2, 3), version)


def make_safetensors(at):
    from safetensors.torch import save_file
    save_file({k: counted((2, 3), d) for k, d in DTYPES.items()}, at("dtypes.safetensors"),
              metadata={"format": "pt", "note": "caf\u00e9"})
    save_file({"scalar": torch.tensor(7, dtype=torch.int64), "empty": torch.zeros(0, 5),
               "w": counted((2, 3))}, at("odd.safetensors"))
    save_file({"w": counted((2, 3), torch.int8)}, at("int8.safetensors"))


def picture(h, w, c, top=255):
    """Row y, column x, channel k has the value (40 y + 9 x + 70 k) modulo 256, scaled to top."""
    y, x, k = np.meshgrid(np.arange(h), np.arange(w), np.arange(c), indexing="ij")
    return ((40 * y + 9 * x + 70 * k) % 256 * (top // 255)).squeeze()


def png_chunk(kind, data):
    import zlib
    return (struct.pack(">I", len(data)) + kind + data +
            struct.pack(">I", zlib.crc32(kind + data)))


def write_png(path, width, height, depth, colour, rows, extra=b"", interlace=0):
    import zlib
    raw = b"".join(b"\0" + row for row in rows)
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
        file.write(png_chunk(b"IHDR", head) + extra)
        file.write(png_chunk(b"IDAT", zlib.compress(raw)) + png_chunk(b"IEND", b""))


def make_pictures(at):
    from PIL import Image
    gray, rgb = picture(6, 7, 1).astype("u1"), picture(6, 7, 3).astype("u1")
    alpha = np.tile(np.array([0, 51, 102, 153, 204, 255, 255], "u1"), (6, 1))
    Image.fromarray(gray, "L").save(at("gray8.png"))
    Image.fromarray(rgb, "RGB").save(at("rgb8.png"))
    Image.fromarray(np.dstack([gray, alpha]), "LA").save(at("gray_alpha.png"))
    Image.fromarray(np.dstack([rgb, alpha]), "RGBA").save(at("rgb_alpha.png"))
    deep = picture(6, 7, 1, 65535).astype(">u2")
    write_png(at("gray16.png"), 7, 6, 16, 0, [row.tobytes() for row in deep])
    deep = picture(6, 7, 3, 65535).astype(">u2")
    write_png(at("rgb16.png"), 7, 6, 16, 2, [row.tobytes() for row in deep])
    bits = [bytes([0b10100100]), bytes([0b01011010])]
    write_png(at("gray1.png"), 7, 2, 1, 0, bits)
    palette = png_chunk(b"PLTE", bytes([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9]))
    write_png(at("palette.png"), 4, 1, 2, 3, [bytes([0b00011011])], palette)
    clear = palette + png_chunk(b"tRNS", bytes([0, 255]))
    write_png(at("palette_clear.png"), 4, 1, 2, 3, [bytes([0b00011011])], clear)
    # Adam7 of a picture of one pixel is that pixel.
    write_png(at("interlaced.png"), 1, 1, 8, 0, [bytes([77])], interlace=1)
    soft = np.outer(np.linspace(20, 230, 16), np.linspace(0.5, 1, 16)).astype("u1")
    colour = np.dstack([soft, 255 - soft, soft.T])
    Image.fromarray(soft, "L").save(at("gray.jpg"), quality=95)
    Image.fromarray(colour, "RGB").save(at("rgb.jpg"), quality=95, subsampling=0)
    Image.fromarray(colour, "RGB").save(at("progressive.jpg"), quality=95, progressive=True)
    Image.fromarray(colour, "RGB").convert("CMYK").save(at("cmyk.jpg"))


def as_seen(image):
    from PIL import ImageOps
    return np.asarray(ImageOps.exif_transpose(image)).ravel()


def make_turned(at):
    """A picture for each of Exif's orientations, and the pixels that Pillow shows for it."""
    from PIL import Image
    small = Image.fromarray((np.arange(6, dtype="u1") * 40).reshape(2, 3), "L")
    soft = np.outer(np.linspace(20, 230, 16), np.linspace(0.5, 1, 24)).astype("u1")
    photo = Image.fromarray(soft, "L")
    seen = {".png": [], ".jpg": []}
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x010F] = "a camera"
        exif[0x0112] = orientation
        exif.endian = ">" if orientation % 2 else "<"
        for ending, image in ((".png", small), (".jpg", photo)):
            path = at("turned_%d%s" % (orientation, ending))
            image.save(path, exif=exif.tobytes())
            seen[ending].append(as_seen(Image.open(path)))
    np.save(at("turned_png.npy"), np.stack(seen[".png"]))
    np.save(at("turned_jpg.npy"), np.stack(seen[".jpg"]))


def make_ink(at):
    """CMYK and YCCK, with and without Adobe's marker, and the colours that Pillow makes of them."""
    from PIL import Image
    with open(at("cmyk.jpg"), "rb") as file:
        cmyk = file.read()
    adobe = cmyk.index(b"\xff\xee\x00\x0eAdobe")
    with open(at("ycck.jpg"), "wb") as file:
        file.write(cmyk[:adobe + 15] + b"\2" + cmyk[adobe + 16:])
    with open(at("cmyk_bare.jpg"), "wb") as file:
        file.write(cmyk[:adobe] + cmyk[adobe + 16:])
    names = ("cmyk", "ycck", "cmyk_bare")
    np.save(at("ink.npy"), np.stack([np.asarray(Image.open(at(name + ".jpg")).convert("RGB"))
                                     for name in names]))


def verify(path, strict):
    if path.endswith(".safetensors"):
        from safetensors.torch import load_file
        state = load_file(path)
    else:
        state = torch.load(path, weights_only=True)
    for name, tensor in state.items():
        print(name, str(tensor.dtype), list(tensor.shape), tensor.flatten().tolist()[:8])
    if strict:
        print(network().load_state_dict(collections.OrderedDict(state), strict=True))


def main():
    if len(sys.argv) == 3 and sys.argv[1] in ("--verify", "--strict"):
        verify(sys.argv[2], sys.argv[1] == "--strict")
        return
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__),
                                                                "fixtures")
    os.makedirs(folder, exist_ok=True)
    torch.manual_seed(0)

    def at(name):
        return os.path.join(folder, name)
    make_pth(at)
    make_npy(at)
    make_safetensors(at)
    make_pictures(at)
    make_turned(at)
    make_ink(at)
    make_wrapped(at)


main()
