"""A DATA argument becomes images, and images become micro-batches, without labels."""

from manyviews.data.checkup import Report as Report
from manyviews.data.checkup import doctor as doctor
from manyviews.data.decode import Unreadable as Unreadable
from manyviews.data.quarantine import Bad as Bad
from manyviews.data.sources import Source as Source
from manyviews.data.sources import open_source as open_source
from manyviews.data.summary import Survey as Survey
from manyviews.data.summary import survey as survey
