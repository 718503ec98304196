"""The data sets of the paper's mixture as their owners lay them out, a few records each, with images."""

import json
import pickle
from pathlib import Path

import numpy as np
from PIL import Image

from lira_plugin.structures import encode_mask

SIZE = (64, 48)  # width, height
POLYGON = [[8, 8, 40, 8, 40, 30, 8, 30]]
NAMES = ["vqav2", "okvqa", "textvqa", "vizwiz", "aokvqa", "scienceqa", "dvqa", "ai2d", "chartqa", "gqa", "llava_150k"]


def write(path: Path, content) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def image(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(path.name)).integers(0, 255, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def people(*answers: str) -> list[dict]:
    return [{"answer": answer, "answer_confidence": "yes", "answer_id": n} for n, answer in enumerate(answers, 1)]


def write_vqa(root: Path, questions: str, annotations: str, entries: list[dict], subtype: str = "train2014") -> None:
    """Files of questions and annotations; an entry has ``question_id``, ``image_id``, ``question`` and what is annotated."""
    head = {"info": {"year": 2017, "version": "2.0"}, "license": {"name": "CC"}, "data_subtype": subtype}
    asked = [{key: entry[key] for key in ("image_id", "question", "question_id")} for entry in entries]
    answered = [{key: value for key, value in entry.items() if key != "question"} for entry in entries]
    write(root / questions, head | {"task_type": "Open-Ended", "data_type": "mscoco", "questions": asked})
    write(root / annotations, head | {"data_type": "mscoco", "annotations": answered})


def write_vqav2(root: Path, count: int = 3, subtype: str = "train2014") -> None:
    entries = [
        {
            "question_id": 4580000 + n,
            "image_id": 458 + n,
            "question": "What is this photo taken looking through?",
            "question_type": "what is this",
            "answer_type": "other",
            "multiple_choice_answer": "net",
            "answers": people("netting", "net", "mesh", "net", "net", "net", "screen", "net", "net", "net"),
        }
        for n in range(count)
    ]
    files = ("vqav2/v2_OpenEnded_mscoco_train2014_questions.json", "vqav2/v2_mscoco_train2014_annotations.json")
    write_vqa(root, *files, entries, subtype)
    for entry in entries:
        image(root / f"coco/train2014/COCO_train2014_{entry['image_id']:012}.jpg")


def write_okvqa(root: Path) -> None:
    answers = [["race", "race", "race", "motocross"], ["surf", "swim", "swim", "surf"]]  # the second is a tie
    entries = [
        {
            "question_id": 516065 + n,
            "image_id": 51606 + n,
            "question": "What is the sport?",
            "question_type": "four",
            "answer_type": "other",
            "confidence": 3,
            "answers": [{**given, "raw_answer": f"{given['answer']}ing"} for given in people(*texts)],
        }
        for n, texts in enumerate(answers)
    ]
    files = ("okvqa/OpenEnded_mscoco_train2014_questions.json", "okvqa/mscoco_train2014_annotations.json")
    write_vqa(root, *files, entries)
    for entry in entries:
        image(root / f"coco/train2014/COCO_train2014_{entry['image_id']:012}.jpg")


def write_textvqa(root: Path) -> None:
    data = [
        {
            "question": "what is the brand of phone?",
            "image_id": f"0054c91397f2fe0{n}",
            "image_classes": ["Belt", "Mobile phone"],
            "flickr_original_url": "https://farm6.staticflickr.com/a.jpg",
            "flickr_300k_url": "https://c5.staticflickr.com/b.jpg",
            "image_width": 1024,
            "image_height": 730,
            "answers": ["nokia", "toshiba", "nokia", "nokia", "nokia", "nokia", "nokia", "nokia", "nokia", "nokia"],
            "question_tokens": ["what", "is", "the", "brand", "of", "phone"],
            "question_id": n,
            "set_name": "train",
        }
        for n in range(2)
    ]
    content = {"dataset_type": "train", "dataset_name": "textvqa", "dataset_version": "0.5.1", "data": data}
    write(root / "textvqa/TextVQA_0.5.1_train.json", content)
    for entry in data:
        image(root / f"textvqa/train_images/{entry['image_id']}.jpg")


def write_vizwiz(root: Path) -> None:
    entries = [
        {
            "image": "VizWiz_train_00000000.jpg",
            "question": "What's the name of this product?",
            "answers": people("basil leaves", "basil", "basil", "basil leaves", "basil leaves"),
            "answer_type": "other",
            "answerable": 1,
        },
        {
            "image": "VizWiz_train_00000001.jpg",
            "question": "Can you tell me what is in this can please?",
            "answers": people("unsuitable", "unsuitable image", "unsuitable", "unanswerable", "soda"),
            "answer_type": "unanswerable",
            "answerable": 0,
        },
    ]
    write(root / "vizwiz/Annotations/train.json", entries)
    for entry in entries:
        image(root / "vizwiz/train" / entry["image"])


def write_aokvqa(root: Path) -> None:
    entries = [
        {
            "split": "train",
            "image_id": 299207,
            "question_id": "22MexNkBPpdZGX6sxbxVBH",
            "question": "What is the man by the bags awaiting?",
            "choices": ["skateboarder", "train", "delivery", "cab"],
            "correct_choice_idx": 3,
            "direct_answers": ["ride", "ride", "bus", "taxi", "travelling", "traffic", "taxi", "cab", "cab", "ride"],
            "difficult_direct_answer": False,
            "rationales": ["A train would not be on the street."],
        },
        {
            "split": "train",
            "image_id": 299208,
            "question_id": "2aVHXZEpNPEE49XVHJ2NKd",
            "question": "Where does this man eat dinner?",
            "choices": ["home", "bar", "car", "boat"],
            "correct_choice_idx": 0,
            "direct_answers": ["here", "there", "home", "at home"],
            "difficult_direct_answer": True,
            "rationales": ["He is in his kitchen."],
        },
    ]
    write(root / "aokvqa/aokvqa_v1p0_train.json", entries)
    for entry in entries:
        image(root / f"coco/train2017/{entry['image_id']:012}.jpg")


def write_scienceqa(root: Path) -> None:
    def problem(split: str, picture: str | None, hint: str = "", answer: int = 0) -> dict:
        return {
            "question": "Which of these states is farthest north?",
            "choices": ["West Virginia", "Louisiana", "Arizona"],
            "answer": answer,
            "hint": hint,
            "image": picture,
            "task": "closed choice",
            "grade": "grade2",
            "subject": "social science",
            "topic": "geography",
            "category": "Geography",
            "skill": "Read a map: cardinal directions",
            "lecture": "Maps have four cardinal directions.",
            "solution": "To find the answer, look at the compass rose.",
            "split": split,
        }

    problems = {
        "1": problem("train", "image.png"),
        "4": problem("train", None, "Look at the passage.", 2),
        "5": problem("test", "image.png"),
        "7": problem("val", None),
    }
    splits = {
        "train": ["1", "4"],
        "val": ["7"],
        "test": ["5"],
        "trainval": ["1", "4", "7"],
        "minival": [],
        "minitest": [],
    }
    write(root / "scienceqa/problems.json", problems)
    write(root / "scienceqa/pid_splits.json", splits)
    image(root / "scienceqa/images/train/1/image.png")


def dvqa_question(picture: str, question_id: int) -> dict:
    return {
        "question_id": question_id,
        "question": "How many bars are there?",
        "answer": "two",
        "question_type": "structure",
        "bbox_answer": [],
        "image": picture,
    }


def write_dvqa(root: Path) -> None:
    for split in ("train", "val_easy", "val_hard"):
        pictures = [f"bar_{split}_0000000{n}.png" for n in (1, 1, 2)]
        write(root / f"dvqa/{split}_qa.json", [dvqa_question(name, n) for n, name in enumerate(pictures)])
        for name in pictures:
            image(root / "dvqa/images" / name)


def write_ai2d(root: Path) -> None:
    def question(name: str, index: int, abc: bool, answer: int) -> dict:
        choices = ["a", "c", "b", "d"] if abc else ["ears", "nose", "mouth", "face"]
        return {"abcLabel": abc, "answerTexts": choices, "correctAnswer": answer, "questionId": f"{name}-{index}"}

    for name in ("0.png", "1.png", "2.png"):
        questions = {
            "What is in the middle?": question(name, 0, False, 0),
            "Which letter is the nose?": question(name, 1, True, 3),
        }
        write(root / f"ai2d/questions/{name}.json", {"imageName": name, "questions": questions})
        image(root / "ai2d/images" / name)
        image(root / "ai2d/abc_images" / name)
    (root / "ai2d/ai2d_test_ids.csv").write_text("2\n17\n")


def write_chartqa(root: Path) -> None:
    folder = root / "chartqa/ChartQA Dataset/train"
    human = [{"imgname": "41699051005347.png", "query": "How many food items are shown?", "label": "14"}]
    made = [
        {"imgname": f"two_col_2064{n}.png", "query": "What was the share in 2018?", "label": "57.3"} for n in (3, 4)
    ]
    write(folder / "train_human.json", human)
    write(folder / "train_augmented.json", made)
    for entry in (*human, *made):
        image(folder / "png" / entry["imgname"])


def gqa_question(picture: str, balanced: bool = True) -> dict:
    return {
        "semantic": [{"operation": "select", "dependencies": [], "argument": "sky (2486325)"}],
        "entailed": [],
        "equivalent": [],
        "question": "Is the sky dark?",
        "imageId": picture,
        "isBalanced": balanced,
        "groups": {"global": None, "local": "06-sky_dark"},
        "answer": "yes",
        "semanticStr": "select: sky (2486325)->verify color: dark [0]",
        "annotations": {"answer": {}, "question": {}, "fullAnswer": {}},
        "types": {"detailed": "verifyAttr", "semantic": "attr", "structural": "verify"},
        "fullAnswer": "Yes, the sky is dark.",
    }


def write_gqa(root: Path) -> None:
    write(root / "gqa/train_balanced_questions.json", {f"0293015{n}": gqa_question(f"235478{n}") for n in range(3)})
    for n in range(3):
        image(root / f"gqa/images/235478{n}.jpg")


def write_llava_150k(root: Path) -> None:
    def entry(picture: str, *texts: str) -> dict:
        turns = [{"from": ("human", "gpt")[n % 2], "value": text} for n, text in enumerate(texts)]
        return {"id": picture, "image": f"{picture}.jpg", "conversations": turns}

    name = "000000033471"  # its conversation and its description share the id
    entries = [
        entry(name, "<image>\nWhat are the colors of the bus?", "White and red.", "Is it moving?", "It is parked."),
        entry(name, "Describe the bus.\n<image>", "A bus in white and red stands at a stop."),
        entry("000000052846", "Where is the cat?\n<image>", "On a shelf."),
    ]
    write(root / "llava/llava_instruct_150k.json", entries)
    for record in entries:
        image(root / "coco/train2017" / record["image"])


def write_question_sets(root: Path) -> Path:
    """All eleven question sets below one root."""
    for name in NAMES:
        globals()[f"write_{name}"](root)
    return root


def write_refer(root: Path, images: Path, name: str, split_by: str, no_target: bool = False) -> None:
    """``refs(...)`` and ``instances.json`` of a data set in the layout of the REFER toolbox."""
    pictures = [f"COCO_train2014_{n:012}.jpg" for n in (901, 902)]
    refs = [
        {
            "ref_id": n,
            "ann_id": [55 + n] if no_target else 55 + n,
            "image_id": 901 + n,
            "category_id": 1,
            "split": ("train", "val")[n],
            "file_name": pictures[n],
            "sent_ids": [3 * n],
            "sentences": [{"sent_id": 3 * n, "sent": "left boy", "raw": "Left boy", "tokens": ["left", "boy"]}],
        }
        for n in range(2)
    ]
    if no_target:
        refs.append(
            {**refs[0], "ref_id": 9, "ann_id": [-1], "sent_ids": [8], "sentences": [{"sent": "a cow", "sent_id": 8}]}
        )
    annotation = {"category_id": 1, "bbox": [8, 8, 32, 22], "area": 704, "iscrowd": 0, "segmentation": POLYGON}
    instances = {
        "images": [{"id": 901 + n, "file_name": pictures[n], "height": SIZE[1], "width": SIZE[0]} for n in range(2)],
        "annotations": [{**annotation, "id": 55 + n, "image_id": 901 + n} for n in range(2)],
        "categories": [{"id": 1, "name": "person", "supercategory": "person"}],
    }
    write(root / name / "instances.json", instances)
    if no_target:
        write(root / name / f"grefs({split_by}).json", refs)
    else:
        (root / name / f"refs({split_by}).p").write_bytes(pickle.dumps(refs))
    for picture in pictures:
        image(images / picture)


def write_caption_sets(glamm: Path) -> None:
    """The four caption sets in GLaMM's layouts, below the folders that the recipes read."""
    mask = np.zeros((SIZE[1], SIZE[0]), bool)
    mask[10:30, 12:40] = True
    rle = encode_mask(mask)
    annotations, images = glamm / "annotations", glamm / "images"
    refs = [{"sentence": "a man", "bbox": [8, 8, 32, 22], "segmentation": POLYGON}]
    refcocog = {"img_file_name": "COCO_train2014_000000000901.jpg", "caption": "A man near a dog.", "refs": refs}
    write(annotations / "RefCOCOg_GCG_train_highlight_bg.json", [{"12": refcocog}])
    for file, folder, picture in (
        ("GranDf_HA_GCG", "grandf/train", "sa_1.jpg"),
        ("OpenPsgGCG", "coco2017", "train2017/9.jpg"),
    ):
        grounding = {"token_positives": [0, 3], "rle_masks": [rle], "seg_img_path": "a.png"}
        caption = {
            "file_name": picture,
            "height": SIZE[1],
            "width": SIZE[0],
            "image_id": "1",
            "caption": "Sky above sea.",
        }
        write(annotations / f"{file}_train_highlight_bg.json", [{**caption, "groundings": {"Sky": grounding}}])
        image(images / folder / picture)
    annotation = {
        "id": 0,
        "image_id": 3,
        "bbox": [12, 10, 28, 20],
        "area": 560,
        "tokens_positive": [[0, 5]],
        "sam_mask": rle,
    }
    pictured = {
        "id": 3,
        "file_name": "36979.jpg",
        "height": SIZE[1],
        "width": SIZE[0],
        "caption": "A man in a green hat.",
    }
    flickr = {"images": [pictured], "annotations": [annotation], "categories": [{"id": 1, "name": "object"}]}
    write(annotations / "flickr_mergedGT_GCG_train_highlight_bg.json", flickr)
    image(images / "flickr30k/Flickr30K/36979.jpg")
    image(images / "coco2014/train2014/COCO_train2014_000000000901.jpg")


def write_region_sets(root: Path) -> Path:
    """The referring and the caption sets, below the folder that the recipes read."""
    images = root / "glamm_data/images/coco2014/train2014"
    for name, split_by in (("refcoco", "unc"), ("refcoco+", "unc"), ("refcocog", "umd")):
        write_refer(root / "ref_seg", images, name, split_by)
    write_caption_sets(root / "glamm_data")
    return root


def write_coco_instances(path: Path, images: Path) -> None:
    """COCO's instances with two categories; the second image has no object."""
    content = {
        "info": {"year": 2017},
        "licenses": [],
        "images": [{"id": n, "file_name": f"{n:012}.jpg", "height": SIZE[1], "width": SIZE[0]} for n in (9, 25)],
        "annotations": [
            {"id": n, "image_id": 9, "category_id": category, "bbox": [8, 8, 32, 22], "area": 704, "iscrowd": crowd,
             "segmentation": POLYGON}
            for n, (category, crowd) in enumerate([(18, 0), (1, 0), (18, 0), (1, 1)])
        ],
        "categories": [{"id": 18, "name": "dog", "supercategory": "animal"}, {"id": 1, "name": "person", "supercategory": "p"}],
    }  # fmt: skip
    write(path, content)
    for entry in content["images"]:
        image(images / entry["file_name"])
