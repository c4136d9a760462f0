"""Statistics on plain arrays: intervals and tests for one test set and a few seeds, and estimates of surveys.

- `intervals`: of a rate, of a ratio of two, of a mean over seeds, of a score between 0 and 1
- `calibration`: whether a classifier is as sure as it is right
- `scores`: accuracy, macro-F1 and mIoU of many resampled test sets at once
- `bootstrap`: resampling of duplicate groups within their class
- `differences`: two sets of runs on the same photos
- `significance`: McNemar's tests, Holm's correction
- `survey_sampling`: means over segments that were drawn at random
- `prediction_powered`: means of what people would say, from many predictions and few grades
- `misclassification`: class shares corrected for a classifier's errors
"""

from streetlab.metrics.statistics.intervals import wilson_interval

__all__ = ["wilson_interval"]
