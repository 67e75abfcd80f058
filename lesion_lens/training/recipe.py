"""The recipe: the hyperparameters of training, with their meanings or reasons."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """The settings of a training; docs/experiments.md says how they were chosen."""

    teachers: int = 2  # networks of the same shape whose mean prediction the student learns
    epochs: int = 200  # of each network
    batch_size: int = 64
    learning_rate: float = 2e-3  # the peak, reached after the warm-up; a cosine then takes it to 0
    warm_up_epochs: int = 5  # lets BatchNormalization's averages settle before large steps
    weight_decay: float = 0.05  # AdamW's; strong because there are 77 parameters for each image
    dropout: float = 0.1  # more would hurt the rare classes: docs/experiments.md
    mixup: float = 0.2  # both parameters of the Beta distribution (Zhang et al., ICLR 2018)
    weight_average: float = 0.999  # decay of the weights' moving average, per step
    min_scale: float = 0.8  # of the lesion's size
    max_scale: float = 1.15
    max_stretch: float = 0.1  # of one axis against the other
    max_shift: float = 2.5  # pixels, of 28
    max_brightness: float = 0.15  # range of the contrast around 1; half of it for the brightness
    max_colour: float = 0.08  # the range of each channel's own factor around 1
    teacher_share: float = 0.7  # of the loss; the labels have the rest
    temperature: float = 2.0  # of the predictions in that share (Hinton et al., 2015)


SEED = 1
QUICK = Recipe(teachers=0, epochs=20)  # too few for the best scores, but under two minutes
