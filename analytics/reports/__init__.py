"""The registry of reports: a report exists when it is in this tuple."""

from analytics.report import Report
from analytics.reports.activity import ACTIVITY
from analytics.reports.coverage import COVERAGE
from analytics.reports.spend import SPEND

REPORTS: tuple[Report, ...] = (SPEND, COVERAGE, ACTIVITY)
