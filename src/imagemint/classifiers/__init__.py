"""Classifiers: metrics look at minted images with one, studies see with them what minted images are worth."""

from imagemint.classifiers.evaluation import Evaluation as Evaluation
from imagemint.classifiers.evaluation import evaluate as evaluate
from imagemint.classifiers.evaluation import features as features
from imagemint.classifiers.evaluation import judged as judged
from imagemint.classifiers.evaluation import predict as predict
from imagemint.classifiers.lenet import LeNet as LeNet
from imagemint.classifiers.training import AT_LEAST as AT_LEAST
from imagemint.classifiers.training import train_classifier as train_classifier
