"""Frames of a game with a mask and boxes of every creature, for segmentation and detection.

    pip install vizdoom                     # MIT; brings Freedoom's maps, no further download
    python bench/game.py OUT [--images 600] [--test 200] [--plain 1500] [--seed 0]

Writes OUT/plain (frames to train on without labels), OUT/masked/{images,masks}/{train,test} and
OUT/boxed/{train,test} with a COCO-style JSON. The test frames are of other maps. A mask's numbers
are creatures, by `KINDS`, and 0 for all else; what is smaller than 40 pixels is 255, no class, and
has no box.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image

KINDS = ("Zombieman", "ChaingunGuy", "DoomImp", "Demon", "Cacodemon", "HellKnight", "Revenant")
SIDE, LEAST, UNKNOWN = 96, 40, 255
MAPS = tuple(f"MAP{i:02}" for i in range(1, 33))
TESTED = MAPS[::4]
FRAMES = 12
"""Of each walk, after which a game begins anew."""


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--test", type=int, default=200)
    parser.add_argument("--plain", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    rng = np.random.default_rng(options.seed)
    learnt = [name for name in MAPS if name not in TESTED]
    for number, frame in enumerate(frames(learnt, options.plain, rng)):
        save(frame[0], options.out / "plain" / f"{number:05}.png")
    for split, maps, count in (("train", learnt, options.images), ("test", TESTED, options.test)):
        write(options.out, split, frames(maps, count, rng))


def frames(maps, count, rng):
    """(pixels [S, S, 3], numbers of things [S, S], number -> kind) of `count` frames."""
    made, each = 0, -(-count // len(maps))
    for name in maps:
        game = begun(name, int(rng.integers(1 << 30)))
        for number in range(min(each, count - made)):
            if number % FRAMES == 0:
                game.new_episode()
                game.send_game_command("god")
            yield frame(game, rng)
            made += 1
        game.close()


def begun(name, seed):
    """A game on a map, without sound, weapon or messages."""
    import vizdoom

    game = vizdoom.DoomGame()
    game.set_doom_game_path(str(Path(vizdoom.__file__).with_name("freedoom2.wad")))
    game.set_doom_map(name)
    game.set_window_visible(False)
    game.set_screen_resolution(vizdoom.ScreenResolution.RES_160X120)
    game.set_screen_format(vizdoom.ScreenFormat.RGB24)
    for quiet in ("hud", "weapon", "crosshair", "messages", "screen_flashes"):
        getattr(game, f"set_render_{quiet}")(False)  # noqa: FBT003 - vizdoom takes it by position
    game.set_labels_buffer_enabled(True)
    game.set_audio_buffer_enabled(False)
    for told in ("+sv_cheats 1", "+cl_blockcheats 0", "-nomonsters", "-nosound"):
        game.add_game_args(told)
    moves = vizdoom.Button
    game.set_available_buttons([moves.MOVE_FORWARD_BACKWARD_DELTA, moves.TURN_LEFT_RIGHT_DELTA])
    game.set_seed(seed)
    game.set_episode_timeout(10**9)
    game.init()
    return game


def frame(game, rng):
    """Walk on, summon one to three creatures, look."""
    game.send_game_command("kill monsters")
    for _ in range(6):
        game.make_action([25, 8 * rng.normal()], 4)
    for _ in range(int(rng.integers(1, 4))):
        game.send_game_command(f"summon {KINDS[int(rng.integers(len(KINDS)))]}")
        game.make_action([-10, 15 * rng.normal()], 3)
    state = game.get_state()
    named = {label.value: label.object_name.lower() for label in state.labels}
    known = {kind.lower(): number for number, kind in enumerate(KINDS, 1)}
    things = {value: known[name] for value, name in named.items() if name in known}
    middle = slice(20, 140)  # of 160 columns, so that what is squashed keeps its form
    return state.screen_buffer[:, middle], state.labels_buffer[:, middle], things


def write(out, split, found):
    """Images with masks, and the same with a JSON of boxes."""
    images, boxes = [], []
    for number, (pixels, numbers, things) in enumerate(found):
        small = Image.fromarray(numbers).resize((SIDE, SIDE), Image.Resampling.NEAREST)
        numbers, name = np.asarray(small), f"{number:05}.png"
        mask = np.zeros((SIDE, SIDE), "u1")
        for value, kind in things.items():
            rows, columns = np.nonzero(numbers == value)
            mask[rows, columns] = kind if len(rows) >= LEAST else UNKNOWN
            if len(rows) >= LEAST:
                left, top = int(columns.min()), int(rows.min())
                size = [int(columns.max()) + 1 - left, int(rows.max()) + 1 - top]
                boxes.append((number, kind, [left, top, *size], len(rows)))
        save(pixels, out / "masked" / "images" / split / name)
        save(pixels, out / "boxed" / split / name)
        path = out / "masked" / "masks" / split / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(path)
        images.append({"id": number, "file_name": name, "width": SIDE, "height": SIDE})
    annotations = [
        {"id": i, "image_id": n, "category_id": k, "bbox": box, "area": area, "iscrowd": 0}
        for i, (n, k, box, area) in enumerate(boxes, 1)
    ]
    kinds = [{"id": number, "name": kind} for number, kind in enumerate(KINDS, 1)]
    told = {"images": images, "annotations": annotations, "categories": kinds}
    (out / "boxed" / split / "_annotations.coco.json").write_text(json.dumps(told))
    (out / "masked" / "classes.txt").write_text("\n".join(["ground", *KINDS]) + "\n")


def save(pixels, path):
    """As PNG, of the side that encoders are fed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BOX).save(path)


if __name__ == "__main__":
    main()
