"""What resolution a mark needs: small classifiers that see objects of scenes with fine detail as each part of the model does.

python benchmarks/detail_probe.py

One sees the object in the image of 96 pixels, one in four tiles of 64 pixels with a thumbnail, one in its view of 64 pixels.
Shape and mark are independent here, so what a classifier has right beyond the most frequent answer it has seen.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from lira_plugin.datasets.transforms.image import tile_grid
from lira_plugin.scenes.scene_drawing import Scene
from lira_plugin.scenes.scene_marks import MARKS, make_marked_scene
from lira_plugin.structures import Letterbox, region_view, resize_image

SIGHTS = ("image", "tiles", "view")
IMAGE_SIZE, TILE_SIZE, MAX_TILES, CROP = 96, 64, 4, 64


def sights(scene: Scene) -> dict[str, list[np.ndarray]]:
    """Each object as it is seen, (64, 64, 3) uint8; crops of image and tiles are enlarged without smoothing."""
    image = scene.image
    height, width = image.shape[:2]
    square = Letterbox(height, width, IMAGE_SIZE).apply_image(image, (122, 116, 104))
    rows, columns = tile_grid(height, width, 1, MAX_TILES, TILE_SIZE)
    tiles = resize_image(image, rows * TILE_SIZE, columns * TILE_SIZE)
    seen: dict[str, list[np.ndarray]] = {name: [] for name in SIGHTS}
    scale = IMAGE_SIZE / max(height, width)
    offset = ((max(height, width) - height) // 2 * scale, (max(height, width) - width) // 2 * scale)
    for thing in scene.objects:
        x, y, w, h = thing.bbox
        seen["view"].append(region_view(image, thing.mask, TILE_SIZE))
        seen["image"].append(_crop(square, (y, x, h, w), (scale, scale), offset))
        seen["tiles"].append(
            _crop(tiles, (y, x, h, w), (rows * TILE_SIZE / height, columns * TILE_SIZE / width), (0.0, 0.0))
        )
    return seen


def _crop(image: np.ndarray, box: Sequence[int], scale: tuple[float, float], offset: tuple[float, float]) -> np.ndarray:
    y, x, height, width = box
    top, left = int(y * scale[0] + offset[0]), int(x * scale[1] + offset[1])
    bottom, right = int((y + height) * scale[0] + offset[0]) + 1, int((x + width) * scale[1] + offset[1]) + 1
    return cv2.resize(image[top:bottom, left:right], (CROP, CROP), interpolation=cv2.INTER_NEAREST)


def draw(count: int, seed: int) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """What is seen of the objects of ``count`` scenes as JPEG files, (n, 3, 64, 64) in -1..1, and their marks."""
    seen: dict[str, list[np.ndarray]] = {name: [] for name in SIGHTS}
    labels: list[int] = []
    for index in range(count):
        marked = make_marked_scene(np.random.default_rng((seed, index)), "even")
        data = cv2.imencode(".jpg", marked.scene.image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
        marked.scene.image[:] = cv2.imdecode(data, cv2.IMREAD_COLOR)[:, :, ::-1]
        for name, crops in sights(marked.scene).items():
            seen[name] += crops
        labels += [("", *MARKS).index(mark) for mark in marked.marks]
    images = {name: np.stack(crops).transpose(0, 3, 1, 2) for name, crops in seen.items()}
    return {name: torch.from_numpy(own).float() / 127.5 - 1 for name, own in images.items()}, torch.tensor(labels)


def probe(train: torch.Tensor, labels: torch.Tensor, test: torch.Tensor, truth: torch.Tensor, epochs: int) -> float:
    """Accuracy of a small convolutional network."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for before, after in ((3, 24), (24, 48), (48, 64)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, len(MARKS) + 1))
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    steps = epochs * (len(train) // 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=max(2, steps))
    for _ in range(epochs):
        for batch in torch.randperm(len(train))[: len(train) // 64 * 64].split(64):
            loss = F.cross_entropy(network(train[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    network.eval()
    with torch.no_grad():
        said = torch.cat([network(part).argmax(1) for part in test.split(256)])
    return float((said == truth).float().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=600, help="to train on; a third as many are tested")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--out", type=Path, help="JSON file for the accuracies")
    args = parser.parse_args()
    train, labels = draw(args.scenes, 1)
    test, truth = draw(max(1, args.scenes // 3), 2)
    found = {"most frequent answer": float(torch.bincount(truth).max() / len(truth)), "objects": len(truth)}
    found |= {name: probe(train[name], labels, test[name], truth, args.epochs) for name in SIGHTS}
    print(json.dumps({name: round(value, 3) for name, value in found.items()}))
    if args.out is not None:
        args.out.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
