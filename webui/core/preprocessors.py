"""Which preprocessors there are: what each is called, which numbers it takes, and which files it needs. They run in engine/annotators.py.

Names, labels and ranges are those of sd-webui-controlnet, whose clients and infotexts use them.
"""

from __future__ import annotations

from dataclasses import dataclass

from webui.core.errors import UnknownName
from webui.core.extension_points import is_added

NONE = "none"
FOLDER = "models/ControlNetPreprocessor"


@dataclass(frozen=True)
class Slider:
    """A number that a preprocessor takes."""

    label: str
    value: float
    minimum: float
    maximum: float
    step: float = 0.01

    def holds(self, value: float) -> bool:
        """Whether the number is one that it takes."""
        return self.minimum <= value <= self.maximum


RESOLUTION = Slider("Resolution", 512, 64, 2048, 8)


@dataclass(frozen=True)
class Preprocessor:
    """One way to make a control picture of a picture.

    name: sd-webui-controlnet's key.   label: what its page shows and its infotexts say.   types: the control types it is for.
    resolution, a, b: the numbers it takes; None where one has no effect.   files: what must be in `folder` below FOLDER.
    takes_mask: a mask goes with its picture.   softer_in_hires: its thin lines are followed less strictly in a hires fix.
    """

    name: str
    label: str
    types: tuple[str, ...] = ()
    resolution: Slider | None = RESOLUTION
    a: Slider | None = None
    b: Slider | None = None
    folder: str = ""
    files: tuple[str, ...] = ()
    takes_mask: bool = False
    softer_in_hires: bool = False

    @property
    def sliders(self) -> tuple[Slider | None, ...]:
        """Resolution and both thresholds."""
        return self.resolution, self.a, self.b


_GAMMA = Slider("Gamma Correction", 1.0, 0.1, 2.0, 0.001)
_NEAR = Slider("Remove Near %", 0, 0, 100, 0.1)
_FAR = Slider("Remove Background %", 0, 0, 100, 0.1)
_LINES = ("Canny", "Lineart", "Scribble", "Sketch", "MLSD")
_SCRIBBLE = ("Scribble", "Sketch")
_HED = ("ControlNetHED.pth",)
_PIDI = ("table5_pidinet.pth",)
_MIDAS = ("dpt_hybrid-midas-501f0c75.pt",)
_BODY, _HAND, _FACE = "body_pose_model.pth", "hand_pose_model.pth", "facenet.pth"

PREPROCESSORS = (
    Preprocessor(NONE, NONE),
    Preprocessor(
        "canny", "canny", ("Canny",), a=Slider("Low Threshold", 100, 0, 256, 1), b=Slider("High Threshold", 200, 0, 256, 1),
        softer_in_hires=True,
    ),
    Preprocessor("invert", "invert (from white bg & black line)", _LINES, resolution=None),
    Preprocessor("lineart_standard", "lineart_standard (from white bg & black line)", ("Lineart",)),
    Preprocessor("lineart", "lineart_realistic", ("Lineart",), folder="lineart", files=("sk_model.pth",)),
    Preprocessor("lineart_coarse", "lineart_coarse", ("Lineart",), folder="lineart", files=("sk_model2.pth",)),
    Preprocessor("lineart_anime", "lineart_anime", ("Lineart",), folder="lineart_anime", files=("netG.pth",)),
    Preprocessor("hed", "softedge_hed", ("SoftEdge",), folder="hed", files=_HED),
    Preprocessor("hed_safe", "softedge_hedsafe", ("SoftEdge",), folder="hed", files=_HED),
    Preprocessor("pidinet", "softedge_pidinet", ("SoftEdge",), folder="pidinet", files=_PIDI),
    Preprocessor("pidinet_safe", "softedge_pidisafe", ("SoftEdge",), folder="pidinet", files=_PIDI),
    Preprocessor(
        "te_hed", "softedge_teed", ("SoftEdge",), a=Slider("Safe Steps", 2, 0, 10, 1), folder="TEED", files=("7_model.pth",)
    ),
    Preprocessor("scribble_hed", "scribble_hed", _SCRIBBLE, folder="hed", files=_HED),
    Preprocessor("pidinet_scribble", "scribble_pidinet", _SCRIBBLE, folder="pidinet", files=_PIDI),
    Preprocessor("scribble_xdog", "scribble_xdog", _SCRIBBLE, a=Slider("XDoG Threshold", 32, 1, 64, 1)),
    Preprocessor("depth", "depth_midas", ("Depth",), folder="midas", files=_MIDAS),
    Preprocessor("depth_zoe", "depth_zoe", ("Depth",), folder="zoedepth", files=("ZoeD_M12_N.pt",)),
    Preprocessor("depth_leres", "depth_leres", ("Depth",), a=_NEAR, b=_FAR, folder="leres", files=("res101.pth",)),
    Preprocessor(
        "normal_map", "normal_midas", ("NormalMap",), a=Slider("Normal Background Threshold", 0.4, 0.0, 1.0), folder="midas",
        files=_MIDAS,
    ),
    Preprocessor("normal_bae", "normal_bae", ("NormalMap",), folder="normal_bae", files=("scannet.pt",)),
    Preprocessor("openpose", "openpose", ("OpenPose",), folder="openpose", files=(_BODY,)),
    Preprocessor("openpose_hand", "openpose_hand", ("OpenPose",), folder="openpose", files=(_BODY, _HAND)),
    Preprocessor("openpose_face", "openpose_face", ("OpenPose",), folder="openpose", files=(_BODY, _FACE)),
    Preprocessor("openpose_faceonly", "openpose_faceonly", ("OpenPose",), folder="openpose", files=(_BODY, _FACE)),
    Preprocessor("openpose_full", "openpose_full", ("OpenPose",), folder="openpose", files=(_BODY, _HAND, _FACE)),
    Preprocessor(
        "mlsd", "mlsd", ("MLSD",), a=Slider("MLSD Value Threshold", 0.1, 0.01, 2.0), b=Slider("MLSD Distance Threshold", 0.1, 0.01, 20.0),
        folder="mlsd", files=("mlsd_large_512_fp32.pth",), softer_in_hires=True,
    ),
    Preprocessor("shuffle", "shuffle", ("Shuffle",)),
    Preprocessor("tile_resample", "tile_resample", ("Tile",), resolution=None, a=Slider("Down Sampling Rate", 1.0, 1.0, 8.0)),
    Preprocessor("blur_gaussian", "blur_gaussian", ("Tile", "Blur"), a=Slider("Sigma", 9.0, 0.01, 64.0)),
    Preprocessor("threshold", "threshold", a=Slider("Binarization Threshold", 127, 0, 255, 1)),
    Preprocessor("inpaint", "inpaint_global_harmonious", ("Inpaint",), resolution=None, takes_mask=True),
    Preprocessor("inpaint_only", "inpaint_only", ("Inpaint",), resolution=None, takes_mask=True),
    Preprocessor("recolor_luminance", "recolor_luminance", ("Recolor",), resolution=None, a=_GAMMA),
    Preprocessor("recolor_intensity", "recolor_intensity", ("Recolor",), resolution=None, a=_GAMMA),
)  # fmt: skip

CONTROL_TYPES = ("All", *sorted({one for preprocessor in PREPROCESSORS for one in preprocessor.types}))


def find_preprocessor(name: str) -> Preprocessor:
    """By key or label, whatever the case; "" is none. What an extension adds, whether that is there or not.  Raises UnknownName."""
    wanted = (name or NONE).strip().lower()
    for preprocessor in PREPROCESSORS:
        if wanted in (preprocessor.name.lower(), preprocessor.label.lower()):
            return preprocessor
    if is_added(name):
        return Preprocessor(name.strip(), name.strip())
    raise UnknownName("preprocessor", name, [preprocessor.label for preprocessor in PREPROCESSORS])
