"""Networks of timm's families with few channels and small pictures: their operations, at a thousandth of their arithmetic."""

from __future__ import annotations

from timm.models._efficientnet_builder import decode_arch_def
from timm.models.convnext import ConvNeXt
from timm.models.efficientnet import EfficientNet
from timm.models.resnet import BasicBlock, ResNet
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer

SIZE = 32
_BLOCKS = [["ds_r1_k3_s1_e1_c8_se0.25"], ["ir_r1_k3_s2_e4_c8_se0.25"]]
SMALL = {
    "resnet": lambda: ResNet(BasicBlock, (1, 1, 1, 1), num_classes=5, channels=(8, 8, 8, 8)),
    "vit": lambda: VisionTransformer(img_size=SIZE, patch_size=8, embed_dim=16, depth=2, num_heads=2, num_classes=5),
    "convnext": lambda: ConvNeXt(num_classes=5, depths=(1, 1, 1, 1), dims=(8, 8, 8, 8)),
    "efficientnet": lambda: EfficientNet(decode_arch_def(_BLOCKS), num_classes=5, num_features=16, stem_size=8),
    "swin": lambda: SwinTransformer(
        img_size=SIZE, patch_size=2, embed_dim=8, depths=(2, 1), num_heads=(2, 2), window_size=4, num_classes=5
    ),
}
