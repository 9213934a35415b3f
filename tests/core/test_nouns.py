"""Samples are called by one noun for each stream."""

from manyviews.core.nouns import IMAGE, NOUNS, SAMPLE, common, noun_of
from manyviews.data.streams.files import STREAMS


def test_every_stream_has_its_noun():
    assert set(NOUNS) == {"image", *(stream for form in STREAMS.values() for stream in form.has)}
    assert len(set(NOUNS.values())) == len(NOUNS)


def test_a_video_with_its_sound_is_a_video():
    assert noun_of(("audio", "video")) == noun_of(["video"]) == NOUNS["video"]
    assert noun_of(()) == noun_of(["smell"]) == SAMPLE


def test_several_kinds_together_are_samples():
    assert common([IMAGE, IMAGE]) == IMAGE
    assert common([IMAGE, NOUNS["audio"]]) == common([]) == SAMPLE


def test_other_braces_of_a_template_stay():
    assert IMAGE.fill("{sample}, {samples}: {used:.3f}") == "image, images: {used:.3f}"
