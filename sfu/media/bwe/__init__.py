"""Bandwidth estimation of one subscribe transport: send-side, from its transport-wide feedback.

`estimator.Estimator` is the whole; the other modules are its parts, but for `reported.ReportedRate`, which
stands in where the viewer tells no packet's fate. Everything is sans-IO: time is
passed in as `now_us`, nothing is random. Sources are named where they are used, and all of them in
docs/bandwidth.md.
"""

from sfu.media.bwe.estimator import Estimator as Estimator
from sfu.media.bwe.estimator import EstimatorStatus as EstimatorStatus
from sfu.media.bwe.reported import UNLIMITED_BPS as UNLIMITED_BPS
from sfu.media.bwe.reported import ReportedRate as ReportedRate
