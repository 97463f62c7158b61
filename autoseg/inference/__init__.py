"""From a trained model and an image to a segmentation on the image's own grid."""
