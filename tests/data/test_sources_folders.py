"""Layouts that people have: what becomes of each, or what is asked.

A layout is written as a shell would expand it: `{train,test}/{cat,dog}/{1..3}.png`.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest

from imagemint import progress
from imagemint.data.packing import pack
from imagemint.data.sources.structure import is_nameless, part_called, split_word
from tests.data.test_sources_files import png, put, refused, zipped


def expand(layout: str) -> list[str]:
    """ "{a,b}/{1..2}.png" -> a/1.png, a/2.png, b/1.png, b/2.png.

    >>> expand("x/{a,b}.png y.txt")
    ['x/a.png', 'x/b.png', 'y.txt']
    """
    names = []
    for word in re.split(r"\s+(?![^{]*\})", layout.strip()):
        parts = re.split(r"\{([^}]*)\}", word)
        choices = []
        for k, part in enumerate(parts):
            if k % 2 == 0:
                choices.append([part])
            elif match := re.fullmatch(r"(\d+)\.\.(\d+)", part):
                choices.append([str(n) for n in range(int(match[1]), int(match[2]) + 1)])
            else:
                choices.append(part.split(","))
        names += ["".join(each) for each in itertools.product(*choices)]
    return names


def lay_out(root: Path, layout: str, texts: dict[str, str] | None = None) -> Path:
    names = expand(layout)
    images = {name: png(k % 256) for k, name in enumerate(names) if name.endswith((".png", ".jpg", ".tif", "~"))}
    images = {name.removesuffix("~"): data for name, data in images.items()}
    others = {name: b"text" for name in names if not name.endswith((".png", ".jpg", ".tif", "~", "/"))}
    put(root, images | others | {name: text.encode() for name, text in (texts or {}).items()})
    for name in names:
        if name.endswith("/"):
            (root / name).mkdir(parents=True)
    return root


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(progress, "say", lines.append)
    return lines


def each(names: str, count: int) -> dict[str, int]:
    return dict.fromkeys(names.split(), count)


CLASSES: dict[str, tuple[str, dict[str, int]]] = {
    "a class called test": ("{test,rest}/{1..2}.png", each("rest test", 2)),
    "a class called train among vehicles": ("{bus,train,tram}/{1..2}.png", each("bus train tram", 2)),
    "a train, with years below every vehicle": ("{bus,train}/{2019,2020}/{1..2}.png", each("bus train", 4)),
    "a class called labels": ("{bottles,labels}/{1..2}.png", each("bottles labels", 2)),
    "years below classes": ("{cat,dog}/{2019,2020,2021}/{1..2}.png", each("cat dog", 6)),
    "cameras below classes": ("{cat,dog}/{cam1,cam2}/{1..2}.png", each("cat dog", 4)),
    "images below every class": ("{n01,n02,n03}/images/{1..2}.png", each("n01 n02 n03", 2)),
    "other folders below each class": ("cat/{tom,felix}/{1..2}.png dog/{rex,fido}/{1..2}.png", each("cat dog", 4)),
    "with and without a mask": ("{with_mask,without_mask}/{1..2}.png", each("with_mask without_mask", 2)),
    "mask and no mask": ("{mask,no_mask}/{1..2}.png", each("mask no_mask", 2)),
    "test tubes and bullet trains": ("{bullet_train,steam_train,test_tube}/{1..2}.png", {}),
    "originals and fakes": ("{fake,original}/{1..2}.png", each("fake original", 2)),
    "photos and paintings": ("{paintings,photos}/{1..2}.png", each("paintings photos", 2)),
    "numbered classes": ("class_{1..3}/{1..2}.png", {}),
    "numbers as classes, buckets apart": ("{0..3}/{1..2}.png", each("0 1 2 3", 2)),
    "one class": ("defect/{1..3}.png", {"defect": 3}),
    "Food-101": ("food-101/images/{pizza,ramen}/{1..2}.jpg food-101/meta/classes.txt", each("pizza ramen", 2)),
    "Stanford Dogs": ("Images/{pug,akita}/{1..2}.jpg Annotation/{pug,akita}/n{1..2} lists/file.mat", {}),
    "Caltech-101": ("101_ObjectCategories/{ant,bass}/{1..2}.jpg Annotations/{ant,bass}/x.mat", {}),
    "DTD": ("dtd/images/{dotted,lined}/{1..2}.jpg dtd/imdb/imdb.mat dtd/labels/{train1,test1}.txt", {}),
    "CUB": ("CUB/images/{001.A,002.B}/{1..2}.jpg CUB/parts/parts.txt CUB/attributes/x.txt CUB/classes.txt", {}),
    "EuroSAT": ("2750/{Forest,River}/{1..2}.jpg", each("Forest River", 2)),
    "class folders and a picture of them": ("{a,b}/{1..2}.png docs/readme.md", each("a b", 2)),
    "files without an ending": ("{a,b}/{001,002}~ a/notes", each("a b", 2)),
}


@pytest.mark.parametrize("name", CLASSES)
def test_folders_that_are_classes(tmp_path: Path, name: str) -> None:
    layout, counts = CLASSES[name]
    made = pack(lay_out(tmp_path / "in", layout), tmp_path / "p")
    tops = {part for path in expand(layout) if re.search("png|jpg|~", path) for part in [path.split("/")[-2]]}
    assert made.counts() == counts or (not counts and set(made.classes) == tops)
    assert not made.unlabelled()


QUESTIONS: dict[str, tuple[str, str, str, dict[str, int]]] = {
    # layout, words of the question, what answers it, classes then
    "train, test and unlabeled": (
        "{train,test}/{a,b}/{1..2}.png unlabeled/{1..2}.png",
        "splits train, test beside unlabeled; .*--split train;",
        "--split train",
        each("a b", 2),
    ),
    "train, test, flat, beside others": (
        "{train,test,extra}/{1..2}.png",
        "splits train, test beside extra",
        "--split test",
        {},
    ),
    "one split beside another folder of the same classes": (
        "{extra,train}/{a,b}/{1..2}.png",
        "split",
        "--split train",
        each("a b", 2),
    ),
    "splits beside a loose image": ("{train,test}/{a,b}/1.png x.png", "splits train, test", "--split test", {}),
    "seg_train": (
        "seg_train/seg_train/{sea,street}/{1..2}.png seg_test/seg_test/{sea,street}/1.png seg_pred/seg_pred/1.png",
        "named as the parts of a data set",
        "--split seg_train",
        {},
    ),
    "train_images and test_images": (
        "{train,test}_images/{1..2}.png",
        "parts of a data set .train_images, test_images",
        "--split train",
        {},
    ),
    "COCO's train2017": ("{train,val}2017/{1..2}.jpg", "parts of a data set", "--split val2017", {}),
    "a data set inside itself": (
        "chest/{train,test,chest/train,chest/test}/{ill,well}/{1..2}.png",
        "beside chest; .*--split train",
        "--split train",
        each("ill well", 2),
    ),
    "casting products": (
        "casting/casting/{train,test}/{def,ok}/{1..2}.png casting_512/{def,ok}/{1..2}.png",
        "a data set of its own in casting",
        "pack casting_512",
        each("def ok", 2),
    ),
    "MVTec, an object": (
        "train/good/{1..2}.png test/{good,crack}/{1..2}.png ground_truth/crack/{1..2}_mask.png",
        "splits train, test beside masks or annotations .ground_truth",
        "--split test",
        each("crack good", 2),
    ),
    "MVTec, all": (
        "{bottle,cable}/train/good/{1..3}.png {bottle,cable}/{test,ground_truth}/crack/{1..2}.png",
        "splits inside its folders .*--split train",
        "--split train",
        each("bottle cable", 3),
    ),
    "DAGM": (
        "Class{1..2}/{Train,Test}/{1..3}.png Class{1..2}/Train/Label/{1..3}_label.png",
        "splits inside its folders",
        "--split Test",
        each("Class1 Class2", 3),
    ),
    "VisA": (
        "{candle,fryum}/Data/Images/{Normal,Anomaly}/{1..2}.png {candle,fryum}/Data/Masks/Anomaly/{1..2}.png",
        "masks or annotations inside its folders .*--split Images",
        "--split Images",
        each("candle fryum", 4),
    ),
    "PlantVillage": (
        "{color,grayscale,segmented}/{apple,corn,grape}/{1..2}.png",
        "same folders in each .apple, corn, grape",
        "--split color",
        each("apple corn grape", 2),
    ),
    "Office-31": (
        "{amazon,dslr,webcam}/images/{bike,mug}/{1..2}.jpg",
        "amazon, dslr, webcam with the same folders",
        "pack amazon",
        each("bike mug", 2),
    ),
    "HAM10000": ("HAM10000_images_part_{1..2}/ISIC_{1..2}.jpg", "numbered parts", "pack HAM10000_images_part_1", {}),
    "folds": ("fold{1..3}/{1..2}.png", "numbered parts", "pack fold2", {}),
    "Oxford Pets": (
        "images/{pug,beagle}_{1..2}.jpg annotations/trimaps/{pug,beagle}_{1..2}.png annotations/list.md",
        "masks or annotations .*annotations .4 images.*imagemint pack .*in/images DEST",
        "pack images",
        {},
    ),
    "Carvana": ("train/{1..2}.jpg train_masks/{1..2}_mask.png", "masks or annotations", "--split train", {}),
    "VOC": (
        "JPEGImages/{1..2}.jpg SegmentationClass/{1..2}.png Annotations/{1..2}.xml",
        "masks",
        "pack JPEGImages",
        {},
    ),
    "masks that are named as their images": (
        "cats/c{1..2}.png dogs/d{1..2}.png masks/{c,d}{1..2}.png",
        "masks or annotations .*masks .4 images",
        "move",
        {},
    ),
    "masks in every class": ("{a,b}/x{1..2}.png {a,b}/mask/x{1..2}.png", "masks or annotations inside", "move", {}),
    "nuclei": (
        "{h1,h2}/{images,masks}/{1..2}.png",
        "masks or annotations inside",
        "--split images",
        each("h1 h2", 2),
    ),
    "ultrasound with masks beside": (
        "{benign,normal}/{1..2}.png benign/{1..2}_mask.png",
        "has masks among",
        "move",
        {},
    ),
    "images beside a class": ("{images,cats}/{1..2}.png", "a folder whose name is no class .images", "pack cats", {}),
    "a wrapper and a preview": (
        "flowers/{rose,tulip}/{1..2}.jpg preview.jpg",
        "one folder, flowers",
        "pack flowers",
        {},
    ),
    "the classes once more in a folder beside them": (
        "{yes,no,brain/yes,brain/no}/{1..2}.png",
        "has no, yes twice: at the top and in brain",
        "pack brain",
        each("no yes", 2),
    ),
    "GTSRB": (
        "{Train,Test}/{0..2}/{1..2}.png Meta/{0..2}.png",
        "splits Train, Test beside Meta",
        "--split Train",
        {},
    ),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_folders_that_may_be_no_classes_are_asked_about(tmp_path: Path, name: str) -> None:
    layout, words, answer, counts = QUESTIONS[name]
    source = lay_out(tmp_path / "in", layout)
    refused(source, tmp_path, rf"{words}.*--folders-are-classes|splits train, test; wanted one of them")
    as_classes = pack(source, tmp_path / "as", folders_are_classes=True)
    assert sum(as_classes.counts().values()) + as_classes.unlabelled() == len(as_classes)
    kind, _, value = answer.partition(" ")
    if kind == "--split":
        made = pack(source, tmp_path / "p", split=value)
    elif kind == "pack":
        made = pack(source / value, tmp_path / "p")
    else:
        return
    assert made.counts() == counts or not counts


def test_the_way_named_for_an_archive_is_one_that_an_archive_has(tmp_path: Path) -> None:
    names = expand("{bottle,cable}/{train,test}/{good,crack}/{1..2}.png")
    archive = zipped(tmp_path / "a.zip", {name: png(k) for k, name in enumerate(names)})
    refused(archive, tmp_path, "--split train")
    refused(archive, tmp_path, "a.zip/bottle has the splits train, test; .*--split bottle/train", split="bottle")
    assert pack(archive, tmp_path / "p", split="bottle/test").counts() == {"crack": 2, "good": 2}
    names = expand("{color,gray}/{apple,corn}/{1..2}.png")
    archive = zipped(tmp_path / "b.zip", {name: png(k) for k, name in enumerate(names)})
    refused(archive, tmp_path, "choose, for example --split color")
    assert pack(archive, tmp_path / "q", split="gray").counts() == {"apple": 2, "corn": 2}


LISTS: dict[str, tuple[str, dict[str, str], dict[str, Any], dict[str, int], str]] = {
    # layout, lists, options, classes, what is said
    "images/ and labels.csv": (
        "images/{1..4}.png",
        {"labels.csv": "file_name,label\n" + "".join(f"images/{k}.png,{'ab'[k % 2]}\n" for k in range(1, 5))},
        {},
        {"a": 2, "b": 2},
        "labels are those of labels.csv",
    ),
    "Tiny ImageNet's val": (
        "train/{n1,n2}/images/{1..2}.png val/images/val_{1..2}.png",
        {"val/val_annotations.txt": "val_1.png\tn2\t0\t0\t7\t7\nval_2.png\tn1\t0\t0\t7\t7\n"},
        {"split": "val"},
        {"n1": 1, "n2": 1},
        "labels are those of val/val_annotations.txt",
    ),
    "Places' val": (
        "val_256/Places365_{1..2}.jpg",
        {"places365_val.txt": "Places365_1.jpg 165\nPlaces365_2.jpg 7\n"},
        {},
        {"7": 1, "165": 1},
        "labels are those of places365_val.txt",
    ),
    "train_images/ and train.csv of ids": (
        "train_images/{ab,cd,ef,gh}.jpg test_images/{x1,x2}.jpg",
        {"train.csv": "image_id,dx\nab,0\ncd,1\nef,1\ngh,0\n", "sample_submission.csv": "image_id,dx\nx1,0\nx2,0\n"},
        {"split": "train"},
        {"0": 2, "1": 2},
        "labels are those of train.csv",
    ),
    "a submission's labels are nobody's": (
        "train_images/{ab,cd}.jpg test_images/{x1,x2}.jpg",
        {"sample_submission.csv": "image_id,dx\nx1,0\nx2,0\n"},
        {"split": "test"},
        {},
        "all images are unlabelled",
    ),
    "parts and a list of all of them": (
        "HAM_images_part_{1..2}/ISIC_{1..2}.jpg".replace("part_{1..2}/ISIC_{1..2}", "part_1/ISIC_{1..3}")
        + " HAM_images_part_2/ISIC_{4..6}.jpg",
        {
            "meta.csv": "lesion,image_id,dx\n"
            + "".join(f"L{k},ISIC_{k},{'nv' if k < 5 else 'mel'}\n" for k in range(1, 7))
        },
        {},
        {"mel": 2, "nv": 4},
        "labels are those of meta.csv",
    ),
    "one column per class": (
        "{1..3}.jpg",
        {"_classes.csv": "filename,cat,dog\n1.jpg,1,0\n2.jpg,0,1\n3.jpg,0,1\n"},
        {},
        {"cat": 1, "dog": 2},
        "columns cat, dog, one per class",
    ),
    "a list that agrees with the folders": (
        "{cat,dog}/{1..2}.png",
        {"all.csv": "path,label\ncat/1.png,0\ncat/2.png,0\ndog/1.png,1\ndog/2.png,1\n"},
        {},
        {"cat": 2, "dog": 2},
        "",
    ),
    "a list of some of the images": (
        "{cat,dog}/{1..2}.png",
        {"some.csv": "path,label\ncat/1.png,0\n"},
        {},
        {"cat": 2, "dog": 2},
        "some.csv names 1 of 4 images and is not used",
    ),
    "captions": (
        "{1..2}.png",
        {"metadata.jsonl": '{"file_name": "1.png", "text": "a cat"}\n{"file_name": "2.png", "text": "a dog"}\n'},
        {},
        {},
        "all images are unlabelled",
    ),
    "missing labels": (
        "{1..3}.png",
        {"l.csv": "path,label\n1.png,1.0\n2.png,nan\n3.png,0.0\n"},
        {},
        {"0": 1, "1": 1},
        "1 of 3 images have no label (1 nan)",
    ),
    "ISIC, whose list lies beside its one folder": (
        "Training_Input/ISIC_{1..3}.jpg",
        {"Training_GroundTruth/GT.csv": "image,MEL,NV\nISIC_1,1.0,0.0\nISIC_2,0.0,1.0\nISIC_3,0.0,1.0\n"},
        {},
        {"MEL": 1, "NV": 2},
        "labels are those of Training_GroundTruth/GT.csv",
    ),
    "GTSRB's test images": (
        "Train/{0..2}/{1..2}.png Test/0{0..1}.png",
        {"Test.csv": "Width,ClassId,Path\n8,2,Test/00.png\n8,0,Test/01.png\n"},
        {"split": "test"},
        {"0": 1, "2": 1},
        "labels are those of Test.csv",
    ),
    "a list in each part": (
        "data/{train,test}/{1..2}.png",
        {
            "data/train/metadata.csv": "file_name,label\n1.png,a\n2.png,b\n",
            "data/test/metadata.csv": "file_name,label\n1.png,b\n2.png,b\n",
        },
        {"split": "train"},
        {"a": 1, "b": 1},
        "labels are those of data/train/metadata.csv",
    ),
    "YOLO": ("images/{1..3}.jpg labels/{1..3}.txt data.yaml", {}, {}, {}, "all images are unlabelled"),
    "COCO": (
        "{1..2}.jpg",
        {"_annotations.coco.json": '{"images": [{"id": 1, "file_name": "1.jpg"}], "annotations": [{"image_id": 1}]}'},
        {},
        {},
        "_annotations.coco.json is not read",
    ),
}


@pytest.mark.parametrize("name", LISTS)
def test_lists_beside_images(tmp_path: Path, said: list[str], name: str) -> None:
    layout, texts, options, counts, words = LISTS[name]
    made = pack(lay_out(tmp_path / "in", layout, texts), tmp_path / "p", **options)
    assert made.counts() == counts
    assert any(words in line for line in said) or not words


def test_a_list_that_disagrees_with_the_folders_is_asked_about(tmp_path: Path) -> None:
    texts = {"in.csv": "path,label\ncat/1.png,x\ncat/2.png,y\ndog/1.png,x\ndog/2.png,y\n"}
    source = lay_out(tmp_path / "in", "{cat,dog}/{1..2}.png", texts)
    refused(source, tmp_path, "otherwise than their folders .*imagemint pack .*in/in.csv DEST takes the list")
    assert pack(source, tmp_path / "p", folders_are_classes=True).counts() == {"cat": 2, "dog": 2}
    assert pack(source / "in.csv", tmp_path / "q").counts() == {"x": 2, "y": 2}


def test_one_folder_beside_an_unclear_list_is_asked_about(tmp_path: Path) -> None:
    texts = {"attributes.csv": "image_id,Smiling,Young\n1.jpg,1,-1\n2.jpg,-1,1\n"}
    source = lay_out(tmp_path / "in", "faces/{1..2}.jpg", texts)
    refused(source, tmp_path, "all its images in one folder, faces, .*in/attributes.csv DEST --label-column NAME")
    assert pack(source / "attributes.csv", tmp_path / "p", label_column="Young").counts() == {"1": 1}
    assert pack(source, tmp_path / "q", folders_are_classes=True).counts() == {"faces": 2}


def test_a_list_in_a_folder_of_lists_finds_the_images_beside_it(tmp_path: Path) -> None:
    texts = {"annotations/list.txt": "#Image CLASS\np_1 1 9\np_2 1 9\nb_1 2 9\n"}
    source = lay_out(tmp_path / "in", "images/{p_1,p_2,b_1}.jpg", texts)
    refused(source / "annotations/list.txt", tmp_path, "columns column 1, column 2, column 3")
    made = pack(source / "annotations/list.txt", tmp_path / "p", label_column="column 2")
    assert made.counts() == {"1": 2, "2": 1}


def test_two_lists_that_disagree_are_asked_about(tmp_path: Path) -> None:
    texts = {"a.csv": "path,label\n1.png,x\n2.png,y\n", "b.csv": "path,label\n1.png,y\n2.png,y\n"}
    refused(
        lay_out(tmp_path / "in", "{1..2}.png", texts), tmp_path, "a.csv and b.csv .* label the images differently"
    )


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        ("{cat,dog}/1.png birds/{1..3}.HEIC", "birds .3 .heic.*HEIC photos are not read: convert .*birds/.*HEIC"),
        ("scans/{1..3}.dcm", "no image .3 .dcm.*DICOM images are not read"),
        ("{train,test}.zip", "2 archives and no images.*imagemint pack .*in/test.zip"),
        ("{cat,dog}/1.png birds/", "birds; .*fill or remove what is empty"),
        ("{cat,dog}/1.png birds/notes.md", "birds .1 .md.*move what is no class out"),
        ("{cat,dog}/1.png birds/birds.zip", "birds .1 .zip.*unpack birds/birds.zip"),
    ],
)
def test_the_advice_fits_what_is_there(tmp_path: Path, layout: str, words: str) -> None:
    source = lay_out(tmp_path / "in", layout)
    refused(source, tmp_path, words)


def test_a_folder_of_pixels_in_a_csv_names_the_file(tmp_path: Path) -> None:
    header = "label," + ",".join(f"pixel{k}" for k in range(16)) + "\n"
    source = lay_out(tmp_path / "in", "readme.md", {"train.csv": header + "3" + ",0" * 16 + "\n"})
    refused(source, tmp_path, "pixels in train.csv; .*imagemint pack .*in/train.csv DEST")
    assert pack(source / "train.csv", tmp_path / "p").counts() == {"3": 1}


def test_what_was_understood_is_said(tmp_path: Path, said: list[str]) -> None:
    pack(lay_out(tmp_path / "a", "{cat,dog}/{2019,2020}/1.png"), tmp_path / "p")
    assert any("sub-folders belong to the class folder above, in 2 classes: cat holds 2019, 2020" in x for x in said)
    pack(lay_out(tmp_path / "b", "{cat,dog}/1.png cat/{2..3}.heic"), tmp_path / "q")
    assert any("2 images in another format are not read" in line for line in said)
    pack(lay_out(tmp_path / "c", "images/{1..2}.png"), tmp_path / "r")
    assert any("folder images is not taken for a class" in line for line in said)


def test_names_of_folders() -> None:
    assert [is_nameless(name) for name in ("images", "train_images", "JPEGImages", "my images", "cat")] == [
        True,
        True,
        True,
        False,
        False,
    ]
    assert split_word("Train-Set") == ("train", "set") and split_word("trainer") is None
    assert part_called(["seg_train", "seg_test"], "train") == "seg_train"
    assert part_called(["a_train", "b_train"], "train") is None
    assert part_called(["Train", "train"], "train") == "train"
