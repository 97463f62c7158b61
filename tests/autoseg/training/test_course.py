import pytest

from autoseg.training.course import Address, Course

COURSE = Course(steps_per_epoch=3, validation_steps=2)


def training(epoch, step):
    return Address(purpose="training", epoch=epoch, step=step)


def validation(epoch, step):
    return Address(purpose="validation", epoch=epoch, step=step)


def test_validation_follows_the_training_of_its_epoch():
    onwards = COURSE.onwards(training(4, 2))
    assert [next(onwards) for _ in range(4)] == [
        training(4, 2),
        validation(4, 0),
        validation(4, 1),
        training(5, 0),
    ]


def test_course_without_validation_goes_from_epoch_to_epoch():
    course = Course(steps_per_epoch=2)
    assert [course.at(place) for place in (0, 1, 2, 5)] == [
        training(0, 0),
        training(0, 1),
        training(1, 0),
        training(2, 1),
    ]


def test_place_is_the_inverse_of_at():
    assert [COURSE.place(COURSE.at(place)) for place in range(23)] == list(range(23))


@pytest.mark.parametrize("address", [training(0, 3), validation(1, 2), training(-1, 0)])
def test_address_off_the_course_has_no_place(address):
    assert not COURSE.holds(address)
    with pytest.raises(ValueError, match=f"{address}: is not part of Course"):
        COURSE.place(address)


@pytest.mark.parametrize("steps", [(0, 2), (3, -1)])
def test_course_needs_a_step(steps):
    with pytest.raises(ValueError, match=f"course of {steps[0]} training and {steps[1]} validat"):
        Course(steps_per_epoch=steps[0], validation_steps=steps[1])


def test_address_reads_as_a_phrase():
    assert str(validation(2, 1)) == "validation batch of epoch 2, step 1"
