"""Many trainings: packs x recipes x settings x seeds, the winner chosen on images held out of the training pack."""
