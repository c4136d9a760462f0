"""What an exported segmentation model sees in a photo: python onnx_labels.py model_fp32.onnx photo.jpg labels.png"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

model, source, target = sys.argv[1:]
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
said = session.get_modelmeta().custom_metadata_map
labels, palette, (height, width) = (json.loads(said[key]) for key in ("labels", "palette", "image_size"))

photo = ImageOps.exif_transpose(Image.open(source)).convert("RGB")
pixels = np.asarray(photo.resize((width, height), Image.Resampling.BILINEAR))
(scores,) = session.run(["logits"], {"images": pixels[None]})  # (1, classes, height, width), any size will do

large = [Image.fromarray(one).resize(photo.size, Image.Resampling.BILINEAR) for one in scores[0]]
ids = np.argmax(np.stack(large), axis=0).astype(np.uint8)
picture = Image.fromarray(ids)
picture.putpalette(np.uint8(palette).tobytes())
picture.save(target)
shares = np.bincount(ids.ravel(), minlength=len(labels)) / ids.size
for share, label in sorted(zip(shares, labels, strict=True), reverse=True):
    print(f"{share:6.1%} {label}")
